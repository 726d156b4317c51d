//go:build linux

package e2e

import (
	"encoding/json"
	"net/netip"
	"slices"
	"testing"
	"time"
)

const (
	// loadedRounds are rounds of an upgrade and loadedReloads reloads each.
	loadedRounds  = 20
	loadedReloads = 10
	// roundTime is how long each is loaded: longer than an upgrade and the reloads take.
	roundTime = 10 * time.Second
)

// loaded is what a load has come to.
type loaded struct {
	Sent     float64 `json:"sent"`
	Answered float64 `json:"answered"`
	Lost     float64 `json:"lost"`
	Failed   float64 `json:"failed"`
	Stray    float64 `json:"stray"`
}

func (l *loaded) add(o loaded) {
	l.Sent += o.Sent
	l.Answered += o.Answered
	l.Lost += o.Lost
	l.Failed += o.Failed
	l.Stray += o.Stray
}

// missing is the share of queries without an answer.
func (l *loaded) missing() float64 { return (l.Lost + l.Failed) / max(l.Sent, 1) }

// loads drives the server as fast as it goes over UDP and TCP at once, and calls during
// meanwhile. It reports whether that was done before the end.
func (s *server) loads(t *testing.T, during func()) (out map[string]loaded, inTime bool) {
	t.Helper()
	var running []*process
	args := []string{
		"load", "-o", "json", "--name", "myregistry.example.io", "--mix", "global", "--duration", roundTime.String(), "--warmup", "200ms",
		"--timeout", "3s", "--sockets", "4", "--in-flight", "64", "--server",
	}
	for i, a := range []netip.AddrPort{s.addrs[0], s.addrs[len(s.addrs)-1]} {
		more := slices.Concat(args, []string{a.String()})
		if i == 1 {
			more = append(more, "--tcp")
		}
		p := start(t, s.ns, portolan(t), more...)
		p.mute = true
		running = append(running, p)
	}
	during()
	inTime = !running[0].ended() && !running[1].ended()
	out = make(map[string]loaded)
	for i, p := range running {
		if code := p.wait(patience + roundTime); code != 0 {
			t.Fatalf("load: exit code %d: %s", code, p.log.String())
		}
		var l loaded
		if err := json.Unmarshal([]byte(p.log.String()), &l); err != nil {
			t.Fatalf("load: %v: %s", err, p.log.String())
		}
		out[[]string{"udp", "tcp"}[i]] = l
	}
	return out, inTime
}

// TestUpgradesUnderLoad changes processes twenty times and reloads two hundred times
// while as many queries come as the machine can ask, over UDP and TCP: no more of them
// stay without an answer than without any of that.
func TestUpgradesUnderLoad(t *testing.T) {
	if !long() {
		t.Skip("takes minutes: PORTOLAN_LONG=1 runs it; TestUpgrade is its short form")
	}
	s := serve(t, nil, upgradable)
	control, changed := make(map[string]loaded), make(map[string]loaded)
	sum := func(total, round map[string]loaded) {
		for network, l := range round {
			o := total[network]
			o.add(l)
			total[network] = o
		}
	}
	for range 3 {
		l, _ := s.loads(t, func() {})
		sum(control, l)
	}
	var slowest time.Duration
	for round := range loadedRounds {
		l, inTime := s.loads(t, func() {
			begin := time.Now()
			s.upgrade()
			slowest = max(slowest, time.Since(begin))
			for range loadedReloads {
				s.hup()
			}
		})
		if !inTime {
			t.Errorf("round %d: the load was over before the reloads", round+1)
		}
		sum(changed, l)
	}
	for network, l := range changed {
		c := control[network]
		t.Logf("%s: %.0f queries, %.0f lost, %.0f failed; without changes %.0f, %.0f, %.0f", network, l.Sent, l.Lost, l.Failed, c.Sent, c.Lost, c.Failed)
		if l.Stray > 0 || l.missing() > c.missing() || l.Answered == 0 {
			t.Errorf("%s: %.3g of the queries missing in %d upgrades and %d reloads, %.3g without; %.0f strange answers",
				network, l.missing(), loadedRounds, loadedRounds*loadedReloads, c.missing(), l.Stray)
		}
	}
	t.Logf("the slowest upgrade took %v", slowest.Round(time.Millisecond))
}
