//go:build linux

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// What the failover tests configure. Detection is late by at most the last probe
// before the fault (one interval), fall-1 more intervals, and the timeout of the
// last probe; slack is for scheduling and for the disk that the verdict is written to
// before it is in force, and less than an interval: one probe more than there should
// be is seen.
const (
	probeInterval = time.Second
	probeTimeout  = time.Second
	probeFall     = 2
	recoveryHold  = 2 * time.Second
	slack         = 500 * time.Millisecond

	detectWithin  = probeInterval*probeFall + probeTimeout + slack
	recoverWithin = recoveryHold + 2*probeInterval + probeTimeout + slack
)

// Clients by where they are; each ranks the three regions differently.
const (
	seattle   = "128.95.0.0/24"
	newYork   = "128.59.0.0/24"
	amsterdam = "145.18.0.0/24"
)

// The replicas of the failover tests, in the order in which Seattle ranks them.
var failoverRegions = []string{"westus", "eastus", "westeurope"}

// site is one registry with three replicas, and what a fault can be made with.
type site struct {
	t        *testing.T
	ns       *netns
	replicas [3]*registry
}

// fault is a way to fail and its end.
type fault struct {
	name string
	// inject and mend return the last moment at which nothing had changed yet.
	inject, mend func(*site) time.Time
}

// faults are different in what a prober sees: refused, silent after the
// connection, an answer that says no, silent before the connection, reset.
var faults = []fault{
	{
		"killed",
		func(s *site) time.Time { return since(s.replicas[0].kill) },
		func(s *site) time.Time {
			return since(func() { s.replicas[0].start(); s.replicas[0].await() })
		},
	},
	{
		"hanging",
		func(s *site) time.Time { return since(s.replicas[0].freeze) },
		func(s *site) time.Time { return since(s.replicas[0].thaw) },
	},
	{
		"unavailable",
		func(s *site) time.Time { return s.replicas[0].sicken() },
		func(s *site) time.Time { return s.replicas[0].cure() },
	},
	{
		"blackhole",
		func(s *site) time.Time { return s.firewall("add", "blackhole") },
		func(s *site) time.Time { return s.firewall("delete", "blackhole") },
	},
	{
		"closed",
		func(s *site) time.Time { return s.firewall("add", "closed") },
		func(s *site) time.Time { return s.firewall("delete", "closed") },
	},
}

func since(f func()) time.Time {
	at := time.Now()
	f()
	return at
}

// firewalls drop what comes to the addresses in one set and reset what comes to
// those in the other.
const firewalls = `table inet e2e {
	set blackhole { type ipv4_addr; }
	set closed { type ipv4_addr; }
	chain input {
		type filter hook input priority 0;
		ip daddr @blackhole tcp dport 5000 drop
		ip daddr @closed tcp dport 5000 reject with tcp reset
	}
}`

// firewall adds the first replica to a set, or deletes it.
func (s *site) firewall(verb, set string) time.Time {
	s.t.Helper()
	address, _, _ := strings.Cut(s.replicas[0].addr, ":")
	return since(func() { must(s.t, s.ns, "nft", verb, "element", "inet", "e2e", set, "{ "+address+" }") })
}

// failoverConfig has one registry for each name, and one more on the replicas of
// the last one. Without holds: what is measured is when the server would lead a
// client elsewhere that it has not seen before.
func failoverConfig(names []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `
server: {listen: ["127.0.0.1:53", "[::1]:53"], identity: e2e}
admin: {socket: $DIR/admin.sock, metrics: "127.0.0.1:0"}
state: {dir: $DIR}
zones: {example.io: {nameservers: {ns1: [192.0.2.53, "2001:db8::53"]}}}
probes:
  registry: {type: registry, tls: false, port: 5000, interval: %v, timeout: %v, fall: %d, rise: 2}
registries:
`, probeInterval, probeTimeout, probeFall)
	for i, name := range append(slices.Clone(names), "nodata") {
		fmt.Fprintf(&b, "  %s:\n    regional_endpoints: enabled\n    sticky: off\n    recovery_hold: %v\n", name, recoveryHold)
		if name == "nodata" {
			i-- // the same replicas as the one before
			b.WriteString("    all_down: nodata\n")
		}
		b.WriteString("    replicas:\n")
		for j, region := range failoverRegions {
			fmt.Fprintf(&b, "      %s: {addresses: [%s, \"fd00::%d:%d\"], probe: registry, probe_target: \"%[2]s:5000\"}\n",
				region, failoverAddr(i, j), i+1, j+11)
		}
	}
	return b.String()
}

func failoverAddr(registry, replica int) string {
	return fmt.Sprintf("127.0.%d.%d", registry+1, replica+11)
}

// TestFailover breaks a replica in every way and measures how long the global
// name goes on naming it; regional names do not move.
func TestFailover(t *testing.T) {
	t.Parallel()
	need(t, "docker-registry", "nft")
	n := newNetns(t, "127.0.0.1")
	must(t, n, "nft", firewalls)
	names := make([]string, 0, len(faults)+1)
	for _, f := range faults {
		names = append(names, f.name)
	}
	names = append(names, "all")
	sites := make([]*site, len(names))
	for i := range names {
		sites[i] = &site{t: t, ns: n}
		for j := range failoverRegions {
			sites[i].replicas[j] = prepareRegistry(t, n, failoverAddr(i, j)+":5000")
			sites[i].replicas[j].start()
		}
	}
	for _, s := range sites {
		for _, r := range s.replicas {
			r.await()
		}
	}
	s := serve(t, n, failoverConfig(names))
	// Every replica has been seen before any is broken, as in a server that has
	// run for a while: an endpoint that was never up counts as up already, so only
	// the probes tell.
	eventually(t, patience, "every replica has been probed", func() bool {
		return s.scrape().sum("portolan_probe_results_total", `verdict="pass"`) >= float64(2*3*len(sites))
	})
	for i, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			failover(t, s, sites[i], f)
		})
	}
	t.Run("all", func(t *testing.T) {
		t.Parallel()
		allDown(t, s, sites[len(sites)-1])
	})
}

// watch asks for one registry, keeps the books, and checks on the way what must
// not change.
type watch struct {
	*server
	registry string
	regional [][]byte // first answers, by regionalQuestions
	next     int      // in regional
	seen     map[string]float64
	machine  stalls
}

// stalls adds up for how long the machine did not run a test that does small things one
// after the other. It did not run the server then, either, or too late for its probes:
// on a busy machine that is more than nothing.
type stalls struct {
	total time.Duration
	last  time.Time
}

// atOnce is what a small thing may take without having been kept waiting.
const atOnce = 20 * time.Millisecond

// look is called before each small thing. It returns the time.
func (s *stalls) look() time.Time {
	now := time.Now()
	if !s.last.IsZero() {
		s.total += max(now.Sub(s.last)-atOnce, 0)
	}
	s.last = now
	return now
}

func newWatch(s *server, registry string) *watch {
	w := &watch{server: s, registry: registry, seen: make(map[string]float64)}
	w.regional = make([][]byte, len(w.regionalQuestions()))
	return w
}

// regionalQuestions are all regional names for all kinds of clients.
func (w *watch) regionalQuestions() []*dns.Msg {
	var out []*dns.Msg
	for _, region := range failoverRegions {
		name := w.registry + "." + region + ".geo.example.io"
		for _, qtype := range []string{"A", "AAAA"} {
			out = append(out, question(name, qtype))
			for _, client := range []string{seattle, amsterdam, "0.0.0.0/0", "10.0.0.0/8", "2001:db8::/48"} {
				out = append(out, question(name, qtype, subnet(client)))
			}
		}
	}
	return out
}

// turn asks the next regional question, and wants the bytes of the first time.
func (w *watch) turn(t *testing.T) {
	t.Helper()
	m := w.regionalQuestions()[w.next]
	m.Id = 0
	answer := w.client().wire(t, m)
	switch first := w.regional[w.next]; {
	case first == nil:
		w.regional[w.next] = answer
	case string(first) != string(answer):
		t.Errorf("the answer to %v has changed:\nwas %x\nis  %x", m.Question, first, answer)
	}
	w.next = (w.next + 1) % len(w.regional)
}

// round asks all regional questions once.
func (w *watch) round(t *testing.T) {
	t.Helper()
	for range w.regional {
		w.turn(t)
	}
}

// global returns the region that a client is led to, by the CNAME, and what else
// the answer says.
func (w *watch) global(t *testing.T, prefix string) (string, *dns.Msg) {
	t.Helper()
	m := w.client().ask(t, question(w.registry+".example.io", "A", subnet(prefix)))
	if len(m.Answer) != 2 || m.Rcode != dns.RcodeSuccess {
		t.Fatalf("%s for %s: %v", w.registry, prefix, m)
	}
	alias, ok := m.Answer[0].(*dns.CNAME)
	if !ok {
		t.Fatalf("no CNAME: %v", m)
	}
	region, _, _ := strings.Cut(strings.TrimPrefix(alias.Target, w.registry+"."), ".")
	want := failoverRegions
	if i := slices.Index(want, region); i < 0 || !strings.HasSuffix(addresses(m)[0], fmt.Sprint(".", i+11)) {
		t.Fatalf("CNAME and address name two replicas: %v", m)
	}
	w.seen[region]++
	return region, m
}

// until asks for a client in Seattle until it is led to region, and returns when
// it was asked. One in Amsterdam must not notice. Each question is a new socket:
// a pause of a millisecond between them resolves the time well enough.
func (w *watch) until(t *testing.T, region string, within time.Duration) time.Time {
	t.Helper()
	w.machine = stalls{}
	deadline := time.Now().Add(within + patience) // a number that is too high says more than none
	for {
		at := w.machine.look()
		if got, _ := w.global(t, seattle); got == region {
			return at
		}
		if got, _ := w.global(t, amsterdam); got != "westeurope" {
			t.Fatalf("Amsterdam is led to %s", got)
		}
		w.turn(t)
		if at.After(deadline) {
			t.Fatalf("Seattle is not led to %s", region)
		}
		time.Sleep(time.Millisecond)
	}
}

func failover(t *testing.T, s *server, site *site, f fault) {
	t.Helper()
	w := newWatch(s, f.name)
	before := s.scrape()
	serial := s.serial(t)
	w.round(t)
	if got, m := w.global(t, seattle); got != "westus" {
		t.Fatalf("before the fault Seattle is led to %s: %v", got, m)
	}
	at := f.inject(site)
	took := w.until(t, "eastus", detectWithin).Sub(at)
	if took > detectWithin+w.machine.total {
		t.Errorf("the answer moved after %v, want at most %v; the machine stood still for %v", took, detectWithin, w.machine.total)
	}
	t.Logf("%s: the answer moved after %v; the bound is %v", f.name, took.Round(time.Millisecond), detectWithin)
	w.round(t)
	w.down(t, serial)

	at = f.mend(site)
	mended := time.Now()
	back := w.until(t, "westus", recoverWithin)
	if held := back.Sub(at); held < recoveryHold {
		t.Errorf("the replica was used again after %v, before its recovery hold of %v", held, recoveryHold)
	}
	if late := back.Sub(mended); late > recoverWithin+w.machine.total {
		t.Errorf("the replica was used again only after %v, want at most %v; the machine stood still for %v", late, recoverWithin, w.machine.total)
	}
	t.Logf("%s: used again %v after it was mended; the bound is %v", f.name, back.Sub(mended).Round(time.Millisecond), recoverWithin)
	w.round(t)
	w.books(t, before)
}

// down checks everything that tells of a replica that is down.
func (w *watch) down(t *testing.T, serialBefore uint32) {
	t.Helper()
	if _, m := w.global(t, seattle); hasEDE(m) {
		t.Errorf("an answer with a healthy replica has an extended error: %v", m)
	}
	if now := w.serial(t); now <= serialBefore {
		t.Errorf("the serial was %d before the change and is %d", serialBefore, now)
	}
	after := w.scrape()
	for i, region := range failoverRegions {
		want := 1.0
		if i == 0 {
			want = 0
		}
		if up := after.get(t, w.series("portolan_replica_up", region)); up != want {
			t.Errorf("replica_up of %s is %v, want %v", region, up, want)
		}
	}
	why := w.client().ask(t, question("_explain."+w.registry+".example.io", "TXT", subnet(seattle)))
	if text := fmt.Sprint(records(why.Answer)); !strings.Contains(text, "excluded: down since") || !strings.Contains(text, "answer eastus") {
		t.Errorf("_explain does not say what happened: %s", text)
	}
	line := w.log.line(0, "registry="+w.registry+" region=westus")
	if !strings.Contains(line, `msg="replica is down"`) || !strings.Contains(line, "reason=") {
		t.Errorf("the log does not say what happened: %q", line)
	}
}

// books compares what was seen with what the server counted.
func (w *watch) books(t *testing.T, before samples) {
	t.Helper()
	after := w.scrape()
	for _, region := range failoverRegions {
		series := w.series("portolan_answers_total", region)
		if got := after.get(t, series) - before.get(t, series); got != w.seen[region] {
			t.Errorf("%s rose by %v, but %v such answers were seen", series, got, w.seen[region])
		}
	}
	if got := after.get(t, w.series("portolan_replica_up", "westus")); got != 1 {
		t.Errorf("replica_up is %v after recovery", got)
	}
}

func (w *watch) series(name, region string) string {
	return fmt.Sprintf("%s{region=%q,registry=%q}", name, region, w.registry)
}

// serial returns the serial of the SOA record.
func (s *server) serial(t *testing.T) uint32 {
	t.Helper()
	m := s.client().ask(t, question("example.io", "SOA"))
	soa, ok := m.Answer[0].(*dns.SOA)
	if !ok {
		t.Fatalf("no SOA: %v", m)
	}
	return soa.Serial
}

func hasEDE(m *dns.Msg) bool {
	_, ok := optionOf[*dns.EDNS0_EDE](m)
	return ok
}

// allDown takes all replicas away, one after the other: the last answer is
// better than none, and says so.
func allDown(t *testing.T, s *server, site *site) {
	t.Helper()
	const counter = "portolan_answers_all_down_total"
	w := newWatch(s, "all")
	w.round(t)
	before := s.scrape()
	for i, want := range []string{"eastus", "westeurope"} {
		site.replicas[i].kill()
		w.until(t, want, detectWithin)
	}
	site.replicas[2].freeze() // another way to be down than the others
	eventually(t, patience, "all replicas of both registries are down", func() bool {
		m := s.scrape()
		return m.sum("portolan_replica_up", `registry="all"`)+m.sum("portolan_replica_up", `registry="nodata"`) == 0
	})
	between := s.scrape()
	if n := between.get(t, counter) - before.get(t, counter); n != 0 {
		t.Errorf("%s rose by %v while a replica was up", counter, n)
	}
	asked := 0.0
	for _, c := range s.clients() {
		for client, want := range map[string]string{seattle: "westus", newYork: "eastus", amsterdam: "westeurope"} {
			m := c.ask(t, question("all.example.io", "A", subnet(client)))
			asked++
			ede, ok := optionOf[*dns.EDNS0_EDE](m)
			if len(m.Answer) != 2 || !strings.Contains(m.Answer[0].String(), want) || !ok || ede.InfoCode != 0 || ede.ExtraText != "no healthy replica" {
				t.Errorf("%v, %s, all down: want %s with EDE 0, got %v", c, client, want, m)
			}
		}
		m := c.ask(t, question("nodata.example.io", "A", subnet(seattle)))
		if ede, ok := optionOf[*dns.EDNS0_EDE](m); m.Rcode != dns.RcodeSuccess || len(m.Answer) != 0 || len(m.Ns) != 1 || !ok || ede.InfoCode != 0 {
			t.Errorf("%v, all down and all_down: nodata: %v", c, m)
		}
	}
	if n := s.scrape().get(t, counter) - between.get(t, counter); n != asked {
		t.Errorf("%s rose by %v, but %v such answers were seen", counter, n, asked)
	}
	w.round(t)
	site.replicas[2].signal(syscall.SIGCONT)
	eventually(t, patience, "the last replica is back and the extended error gone", func() bool {
		m := s.client().ask(t, question("all.example.io", "A", subnet(seattle)))
		return !hasEDE(m) && strings.Contains(m.Answer[0].String(), "westeurope")
	})
	w.round(t)
}
