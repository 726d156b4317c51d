package app

import (
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"portolan.dev/cmd/internal/version"
	"portolan.dev/resolver"
	"portolan.dev/resolver/compile"
)

// maxReplicaSeries bounds the replicas that are reported one by one. Beyond it a
// scrape would weigh tens of megabytes; answers and health are then added up by
// region, with an empty registry label.
const maxReplicaSeries = 10_000

// metrics is the registry of a server's metrics. What the query path counts is
// collected when asked for; nothing is pushed from there.
type metrics struct {
	a        *App
	registry *prometheus.Registry
	before   before
	probeMetrics

	reloadOK    prometheus.Gauge
	reloadAt    prometheus.Gauge
	reloadTook  prometheus.Gauge
	reloads     *prometheus.CounterVec
	lastFailure atomic.Bool

	queries, dropped, truncated, limited, answers, allDown *prometheus.Desc
	replicaUp, replicaRouted, certificateEnds              *prometheus.Desc
	generation, names                                      *prometheus.Desc
	serial, geoBuilt, geoRanges                            *prometheus.Desc
	tcpOpen, tcpTotal, tcpRefused, probeLate               *prometheus.Desc
	ledgerOK, notifyDeliveries, notifyQueue                *prometheus.Desc
	badProxy, badSource, panics, clockAhead, targets       *prometheus.Desc
	transfers, transferOctets, transfersRunning            *prometheus.Desc
	zoneNotifies, secondariesBehind, unitsForgotten        *prometheus.Desc
	socketErrors, reopened, unsent, tcpMost                *prometheus.Desc
}

func newMetrics(a *App) *metrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("portolan_"+name, help, labels, nil)
	}
	m := &metrics{
		a: a, registry: prometheus.NewRegistry(), probeMetrics: newProbeMetrics(desc),
		reloadOK: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "portolan_config_last_reload_successful", Help: "1 if the last load of the configuration succeeded.",
		}),
		reloadAt: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "portolan_config_last_reload_success_timestamp_seconds", Help: "When the configuration was last loaded successfully.",
		}),
		reloadTook: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "portolan_config_last_reload_duration_seconds", Help: "How long the last load of the configuration took.",
		}),
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "portolan_config_reloads_total", Help: "Reloads of the configuration by outcome.",
		}, []string{"outcome"}),

		queries:         desc("queries_total", "Queries answered.", "transport", "family", "rcode"),
		dropped:         desc("queries_dropped_total", "Messages that got no response: too short, or responses themselves.", "transport"),
		truncated:       desc("responses_truncated_total", "Responses sent with TC because they did not fit."),
		limited:         desc("responses_limited_total", "UDP responses over the rate limit: sent empty with TC, dropped, or in a dry run sent as they were.", "action"),
		answers:         desc("answers_total", "Global answers by the replica they name.", "registry", "region"),
		allDown:         desc("answers_all_down_total", "Global answers given although no replica was healthy."),
		certificateEnds: desc("replica_certificate_end_timestamp_seconds", "When the certificate ends that probes of the replica have seen, in Unix seconds; of several the first.", "registry", "region"),
		replicaUp:       desc("replica_up", "1 if health lets the replica be answered.", "registry", "region"),
		replicaRouted:   desc("replica_routed", "1 if the operator lets the global name answer the replica.", "registry", "region"),
		generation:      desc("snapshot_generation", "Number of the snapshot being served, from 1."),
		names:           desc("names", "Owner names and empty non-terminals served."),
		serial:          desc("zone_serial", "SOA serial of the zone.", "zone"),
		geoBuilt:        desc("geo_data_timestamp_seconds", "When the location data was built.", "source"),
		geoRanges:       desc("geo_data_ranges", "Ranges in the location data.", "family"),
		panics:          desc("panics_total", "Queries that the server could not take and dropped: faults of it, to be reported."),
		clockAhead:      desc("clock_ahead_seconds", "How far the clock of the system is ahead of that of the server, which nobody can set: a change is a step of the former."),
		probeLate:       desc("probe_lateness_seconds", "How late the schedule of probes has lately run."),

		targets: desc("targets", "Replicas whose addresses are resolved from a target: fresh, stale (served on though past their TTL), or unresolved.", "state"),

		transfers:         desc("transfers_total", "Requests of secondaries for a zone, by outcome.", "outcome"),
		transferOctets:    desc("transfer_bytes_total", "Octets of the messages of zone transfers."),
		transfersRunning:  desc("transfers_running", "Zone transfers under way."),
		zoneNotifies:      desc("zone_notifies_total", "NOTIFY messages to secondaries, by how they were taken.", "outcome"),
		unitsForgotten:    desc("client_units_forgotten_total", "Client units that the table of active clients did not remember, by reason: evicted (by a newer one), full (no room beside those that are held or asked often), source (the resolver that asked for them has brought in its share).", "reason"),
		secondariesBehind: desc("secondaries_behind", "Secondaries of zones that did not acknowledge the serial served, and will not be told of it again."),

		ledgerOK:         desc("ledger_writable", "1 if the last write to the ledger succeeded and none has waited for the disk for more than 2 s."),
		notifyDeliveries: desc("notify_deliveries_total", "Deliveries of events to receivers, and failed attempts at them, by outcome.", "outcome"),
		notifyQueue:      desc("notify_queue", "Deliveries of events that wait for receivers, those being tried included."),
	}
	m.describeSockets(desc)
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "portolan_build_info", Help: "Always 1; the labels say what runs.",
		ConstLabels: prometheus.Labels{"version": version.Version(), "go": runtime.Version()},
	})
	build.Set(1)
	m.registry.MustRegister(build, m.probeTime, m.probeResults, m.probeLocal, m.reloadOK, m.reloadAt, m.reloadTook, m.reloads, m,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.reloadOK.Set(1)
	m.reloadAt.Set(seconds(a.clock.wall()))
	return m
}

// describeSockets names what the sockets count.
func (m *metrics) describeSockets(desc func(name, help string, labels ...string) *prometheus.Desc) {
	m.tcpOpen = desc("tcp_connections", "TCP and TLS connections open now.")
	m.tcpTotal = desc("tcp_connections_total", "TCP and TLS connections accepted.")
	m.tcpRefused = desc("tcp_connections_refused_total", "TCP and TLS connections closed for a limit (the idlest is), a timeout, or a failed TLS handshake.", "reason")
	m.badProxy = desc("proxy_header_errors_total", "Connections and datagrams of a load balancer without a good PROXY header.")
	m.badSource = desc("datagrams_unanswerable_total", "Datagrams from port 0, to which nothing can be sent.")
	m.tcpMost = desc("tcp_connections_limit", "TCP and TLS connections that may be open at once: server.tcp.connections, or fewer where the process may not open as many files.")
	m.socketErrors = desc("socket_errors_total", "Errors of the system where datagrams are received (receive) and connections accepted (accept, admin); each is tried again.", "operation")
	m.reopened = desc("sockets_reopened_total", "UDP sockets that gave nothing but errors and were opened again.")
	m.unsent = desc("responses_unsent_total", "UDP responses that the system did not send: no route, a firewall's refusal, or a link that takes nothing.")
}

// reloaded notes the outcome of a reload.
func (m *metrics) reloaded(ok bool, at time.Time, took time.Duration) {
	m.reloadTook.Set(took.Seconds())
	m.lastFailure.Store(!ok)
	if !ok {
		m.reloadOK.Set(0)
		m.reloads.WithLabelValues("failure").Inc()
		return
	}
	m.reloadOK.Set(1)
	m.reloadAt.Set(seconds(at))
	m.reloads.WithLabelValues("success").Inc()
}

func seconds(t time.Time) float64 { return float64(t.UnixNano()) / 1e9 }

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		m.queries, m.dropped, m.truncated, m.limited, m.answers, m.allDown, m.replicaUp, m.replicaRouted, m.certificateEnds, m.generation, m.names,
		m.socketErrors, m.reopened, m.unsent, m.badProxy, m.badSource, m.panics, m.clockAhead, m.targets,
		m.serial, m.geoBuilt, m.geoRanges, m.tcpOpen, m.tcpMost, m.tcpTotal, m.tcpRefused, m.probeLate,
		m.impaired, m.anchors, m.unobserved,
		m.ledgerOK, m.notifyDeliveries, m.notifyQueue,
		m.transfers, m.transferOctets, m.transfersRunning, m.zoneNotifies, m.secondariesBehind, m.unitsForgotten,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	w := m.a.world.Load()
	if w == nil || m.a.server == nil {
		return
	}
	m.collectQueries(ch)
	m.collectReplicas(ch, w)
	s := w.Compiled.Snapshot
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(m.generation, float64(s.Generation))
	gauge(m.names, float64(s.Names.Names()))
	if len(w.Config.Zones) <= maxReplicaSeries {
		for i := range w.Config.Zones {
			gauge(m.serial, float64(s.Serials[i].Load()), w.Config.Zones[i].Name)
		}
	}
	gauge(m.geoBuilt, seconds(w.Table.Built()), w.Table.Source())
	gauge(m.geoRanges, float64(w.Table.Len4()), "ipv4")
	gauge(m.geoRanges, float64(w.Table.Len6()), "ipv6")
	m.collectSockets(ch)
	gauge(m.clockAhead, time.Duration(m.a.clock.ahead.Load()).Seconds())
	m.collectProber(ch, w)
	gauge(m.probeLate, m.a.monitor.Stats().Late.Seconds())
	gauge(m.ledgerOK, bit(m.a.record.err() == nil))
	lost := m.a.holds.Losses()
	for reason, n := range map[string]uint64{"evicted": lost.Evicted, "full": lost.Full, "source": lost.Source} {
		ch <- prometheus.MustNewConstMetric(m.unitsForgotten, prometheus.CounterValue, float64(n), reason)
	}
	for state, n := range targetStates(w, m.a.o.Now()) {
		gauge(m.targets, float64(n), state)
	}
	m.collectNotify(ch)
	m.collectTransfers(ch)
}

// collectSockets reports what the sockets count.
func (m *metrics) collectSockets(ch chan<- prometheus.Metric) {
	ch <- prometheus.MustNewConstMetric(m.tcpOpen, prometheus.GaugeValue, float64(m.a.server.Open()))
	ch <- prometheus.MustNewConstMetric(m.tcpMost, prometheus.GaugeValue, float64(m.a.connections.Load()))
	counter := func(d *prometheus.Desc, v *atomic.Uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v.Load()), labels...)
	}
	st := m.a.server.Stats()
	counter(m.tcpTotal, &st.Accepted)
	counter(m.tcpRefused, &st.EvictedFull, "full")
	counter(m.tcpRefused, &st.EvictedPrefix, "prefix")
	counter(m.tcpRefused, &st.Handshakes, "handshake")
	counter(m.tcpRefused, &st.TimedOut, "timeout")
	counter(m.socketErrors, &st.ReceiveErrors, "receive")
	counter(m.socketErrors, &st.AcceptErrors, "accept")
	counter(m.socketErrors, &m.a.adminErrors, "admin")
	counter(m.reopened, &st.Reopened)
	counter(m.unsent, &st.Unsent)
	counter(m.badProxy, &st.BadProxy)
	counter(m.badSource, &st.BadSource)
	counter(m.panics, &st.Panics)
}

// The labels of the places in resolver.Totals.
var (
	transportNames = [resolver.Transports]string{"udp", "tcp", "tls"} //nolint:gochecknoglobals // a constant list
	familyNames    = [2]string{"ipv4", "ipv6"}                        //nolint:gochecknoglobals // a constant list
)

func (m *metrics) collectQueries(ch chan<- prometheus.Metric) {
	t := m.a.resolver.Totals()
	for transport := range t.Responses {
		for family := range t.Responses[transport] {
			for code, n := range t.Responses[transport][family] {
				// The codes of every day are there from the start, so that rates begin
				// at 0.
				if n == 0 && code > dns.RcodeRefused {
					continue
				}
				ch <- prometheus.MustNewConstMetric(m.queries, prometheus.CounterValue, float64(n),
					transportNames[transport], familyNames[family], rcodeName(code))
			}
		}
		ch <- prometheus.MustNewConstMetric(m.dropped, prometheus.CounterValue, float64(t.Dropped[transport]), transportNames[transport])
	}
	ch <- prometheus.MustNewConstMetric(m.truncated, prometheus.CounterValue, float64(t.Truncated))
	for action, n := range limitedBy(&t) {
		ch <- prometheus.MustNewConstMetric(m.limited, prometheus.CounterValue, float64(n), action)
	}
	ch <- prometheus.MustNewConstMetric(m.allDown, prometheus.CounterValue, float64(t.AllDown))
	m.collectAnswers(ch, t.Answers)
}

// limitedBy sorts the responses over the limit by what came of them.
func limitedBy(t *resolver.Totals) map[string]uint64 {
	return map[string]uint64{"truncated": t.Slipped, "dropped": t.Limited - t.Slipped - t.Spared, "none": t.Spared}
}

func rcodeName(code int) string {
	if code == dns.RcodeBadVers {
		return "BADVERS" // the number is BADSIG too, in another record
	}
	if name, ok := dns.RcodeToString[code]; ok {
		return name
	}
	return "RCODE" + strconv.Itoa(code)
}

// key labels one replica's series.
type seriesKey struct{ registry, region string }

func (m *metrics) collectAnswers(ch chan<- prometheus.Metric, counts []uint64) {
	sums := make(map[seriesKey]uint64)
	each := m.a.slots.Len() <= maxReplicaSeries
	for _, b := range m.a.slots.Blocks() {
		for i, region := range b.Regions {
			k := seriesKey{"", region}
			if each {
				k.registry = b.Registry
			}
			if slot := int(b.First) + i; slot < len(counts) {
				sums[k] += counts[slot]
			}
		}
	}
	for k, n := range sums {
		ch <- prometheus.MustNewConstMetric(m.answers, prometheus.CounterValue, float64(n), k.registry, k.region)
	}
}

// collectReplicas reports health and routing: one by one, or beyond
// [maxReplicaSeries] as counts by region.
func (m *metrics) collectReplicas(ch chan<- prometheus.Metric, w *World) {
	s := w.Compiled.Snapshot
	up, routed := make(map[seriesKey]float64), make(map[seriesKey]float64)
	each := len(s.Replicas) <= maxReplicaSeries
	for i := range s.Registries {
		masks := s.Live[i].Masks()
		for region := range s.Regions {
			if !s.Registries[i].Configured.Has(uint8(region)) {
				continue
			}
			k := seriesKey{"", s.Regions[region].Label}
			if each {
				k.registry = s.Registries[i].Key
			}
			up[k] += bit(masks.Up.Has(uint8(region)))
			routed[k] += bit(masks.Routed.Has(uint8(region)))
		}
	}
	key := func(r compile.Member) seriesKey {
		k := seriesKey{"", s.Regions[r.Region].Label}
		if each {
			k.registry = s.Registries[r.Registry].Key
		}
		return k
	}
	for k, end := range m.a.certificateEnds(w, key) {
		ch <- prometheus.MustNewConstMetric(m.certificateEnds, prometheus.GaugeValue, float64(end.Unix()), k.registry, k.region)
	}
	for k := range up {
		ch <- prometheus.MustNewConstMetric(m.replicaUp, prometheus.GaugeValue, up[k], k.registry, k.region)
		ch <- prometheus.MustNewConstMetric(m.replicaRouted, prometheus.GaugeValue, routed[k], k.registry, k.region)
	}
}

func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
