package app

import (
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"portolan.dev/resolver/transfer"
)

const (
	// notifyEvery is how soon secondaries hear of a new serial. Health can change it
	// several times a second; they are told of the last.
	notifyEvery = time.Second
	// notifyWait bounds one try and begins the pauses: 5, 10, 20, 40, 60 seconds.
	notifyWait = 5 * time.Second
	// notifyTries is the first try and as many more as RFC 1996 section 3.6 suggests.
	notifyTries = 6
)

// collectTransfers reports what secondaries got, and were told.
func (m *metrics) collectTransfers(ch chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	gauge := func(d *prometheus.Desc, n int) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n))
	}
	sent := m.a.transfers.Totals()
	for i, n := range sent.Requests {
		counter(m.transfers, n, transfer.Outcome(i).String())
	}
	counter(m.transferOctets, sent.Octets)
	gauge(m.transfersRunning, sent.Running)
	told := m.a.secondaries.Stats()
	counter(m.zoneNotifies, told.Acknowledged, "acknowledged")
	counter(m.zoneNotifies, told.Refused, "refused")
	counter(m.zoneNotifies, told.Unanswered, "unanswered")
	gauge(m.secondariesBehind, told.Behind)
}

// newSecondaries makes what tells secondaries of changes.
func (a *App) newSecondaries() *transfer.Notifier {
	return transfer.NewNotifier(transfer.NotifyOptions{
		Now: a.o.Now, Wall: a.clock.wall, Every: notifyEvery, Wait: notifyWait, Tries: notifyTries,
		Log: func(zone string, to netip.AddrPort, err error) {
			a.log.Warn("a secondary was not told of a change", "zone", zone, "secondary", to, "error", err)
		},
	})
}
