package compile_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"

	"portolan.dev/resolver"
	"portolan.dev/resolver/decide"
	"portolan.dev/resolver/wire"
)

// The policy of the registry in networksConfig, in seconds.
const (
	idle  = 300
	limit = 4 * 900 // of a hold on a replica that is out of routing
)

// party is a client, as the model knows it: what it was given last, and when. It has a
// resolver of its own, whose address is its own where it has no subnet.
type party struct {
	asker, subnet netip.Addr
	region        string
	seen          int64 // 0 for never
}

// history is a server that is given one configuration after the other, and its clients.
type history struct {
	t        *testing.T
	rnd      *rand.Rand
	seed     uint64
	networks []network
	ecs      bool
	s        *resolver.Snapshot
	w        *resolver.Worker
	now      int64
	parties  []party
	died     map[string]int64
	// together is what the clients of a resolver were given last since subnets ceased to
	// count: they are one as long as they do not.
	together map[netip.Addr]party
	log      []string
	// kept counts the answers that the model foretold.
	kept int
	// lost says that a change was one too many.
	lost bool
}

func newHistory(t *testing.T, seed uint64) *history {
	t.Helper()
	h := &history{t: t, seed: seed, rnd: rand.New(rand.NewPCG(seed, 15)), ecs: true, now: clock.Unix(), died: make(map[string]int64), together: make(map[netip.Addr]party)}
	h.networks = randomNetworks(h.rnd)
	for i, a := range clientsAround(h.rnd, h.networks) {
		p := party{asker: a}
		switch {
		case i%3 == 0:
		case seed%2 == 0: // with a resolver of its own
			p = party{asker: netip.AddrFrom4([4]byte{9, byte(i >> 8), byte(i), 1}), subnet: a}
		default: // one of a few resolvers
			p = party{asker: netip.AddrFrom4([4]byte{9, 77, byte(i % 4), 1}), subnet: a}
		}
		h.parties = append(h.parties, p)
	}
	h.take()
	return h
}

// take gives the server the configuration of now.
func (h *history) take() {
	h.t.Helper()
	before := h.s
	r := run{}.must(h.t, networksConfig(h.networks, h.ecs))
	h.s = r.Snapshot
	h.s.UnitSeed = 42
	if before == nil {
		h.s.Holds = decide.NewHolds(20_000)
		h.w = resolver.New(h.s, wire.CookieSecret{}).Worker(resolver.UDP)
		return
	}
	h.s.Holds, h.s.Swaps = before.Holds, append(slices.Clone(before.Swaps), uint32(h.now))
	var same [decide.MaxRegions]uint8
	for i := range same {
		same[i] = uint8(i)
	}
	for i := range h.s.Live {
		h.s.Live[i].History.Carry(&before.Live[i].History, &same)
		h.s.Live[i].Set(before.Live[i].Masks())
	}
	h.lost = h.s.Follow(before, uint32(h.now))
	h.w = resolver.New(h.s, wire.CookieSecret{}).Worker(resolver.UDP)
}

// reconfigure changes what may change which clients are one.
func (h *history) reconfigure() {
	h.t.Helper()
	var out []network
	for _, n := range h.networks {
		n.prefixes = slices.Clone(n.prefixes)
		switch h.rnd.IntN(8) {
		case 0:
			if n.name != "" {
				n.name += "-renamed"
			}
		case 1:
			continue
		case 2: // a site of a plain entry, and the other way around
			if n.name == "" {
				n.name = fmt.Sprint("made-", len(out))
			} else if len(n.prefixes) == 1 {
				n.name = ""
			}
		case 3:
			if k := len(out); k > 0 && n.name != "" && out[k-1].name != "" && len(n.prefixes) > 1 {
				out[k-1].prefixes = append(out[k-1].prefixes, n.prefixes[0])
				n.prefixes = n.prefixes[1:]
			}
		case 4:
			n.region = worldRegions[h.rnd.IntN(3)]
		}
		out = append(out, n)
	}
	if h.rnd.IntN(2) == 0 {
		out = append(out, h.covering(len(out)))
	}
	if h.rnd.IntN(5) == 0 {
		h.ecs = !h.ecs
		clear(h.together)
	}
	h.networks = withoutTwice(out)
	h.note("configured: ecs %v, %v", h.ecs, h.networks)
	h.take()
}

// covering is a new network with a client in it.
func (h *history) covering(number int) network {
	p := h.parties[h.rnd.IntN(min(10, len(h.parties)))]
	a, bits := p.asker, 8+h.rnd.IntN(25)
	if p.subnet.IsValid() {
		a = p.subnet
	}
	switch {
	case carries(a): // its networks are IPv4
		a = netip.MustParseAddr("128.95.0.0")
	case a.Is6():
		bits = 32 + h.rnd.IntN(97)
	}
	n := network{prefixes: []netip.Prefix{netip.PrefixFrom(a, bits).Masked()}, region: worldRegions[h.rnd.IntN(3)]}
	if h.rnd.IntN(3) > 0 {
		n.name = fmt.Sprint("covering-", number, "-", h.now)
	}
	return n
}

// withoutTwice leaves out networks and names that are there already.
func withoutTwice(networks []network) []network {
	seen := make(map[string]bool)
	return slices.DeleteFunc(networks, func(n network) bool {
		twice := n.name != "" && seen[n.name]
		for _, p := range n.prefixes {
			twice = twice || seen[p.String()]
		}
		seen[n.name] = true
		for _, p := range n.prefixes {
			seen[p.String()] = true
		}
		return twice
	})
}

func (h *history) note(format string, args ...any) {
	h.log = append(h.log, fmt.Sprintf("%4d ", h.now-clock.Unix())+fmt.Sprintf(format, args...))
}

// turn takes a replica out of routing or back in, or lets one die or recover.
func (h *history) turn() {
	m := h.s.Live[0].Masks()
	region := uint8(h.rnd.IntN(len(worldRegions)))
	if h.rnd.IntN(3) > 0 {
		m.Routed = m.Routed.With(region, !m.Routed.Has(region))
	} else {
		m.Up = m.Up.With(region, !m.Up.Has(region))
	}
	if m.Routed&m.Up == 0 || !h.s.Live[0].Change(m, time.Unix(h.now, 0), false) {
		return
	}
	if !m.Up.Has(region) {
		h.died[worldRegions[region]] = h.now
	}
	h.note("routed %b, up %b", m.Routed, m.Up)
}

// visit has a client ask, and compares with the model: who was seen within the idle time
// is given what it had, unless that is dead.
func (h *history) visit(p *party) {
	h.t.Helper()
	subnet := netip.Prefix{}
	if p.subnet.IsValid() {
		subnet = netip.PrefixFrom(p.subnet, p.subnet.BitLen())
	}
	foretold := h.s.Trace(0, p.asker, subnet, h.now)
	got := ask(h.t, h.w, "held", p.asker, p.subnet, h.now)
	h.note("%v/%v gets %s", p.asker, p.subnet, got)
	if foretold.Region != got {
		h.fail("%v/%v gets %s, and explain says %s", p.asker, p.subnet, got, foretold.Region)
	}
	up := h.s.Live[0].Masks().Up
	if !up.Has(uint8(slices.Index(worldRegions, got))) {
		h.fail("%v/%v gets %s, which is down", p.asker, p.subnet, got)
	}
	if one, ok := h.together[p.asker]; ok && p.subnet.IsValid() && !h.ecs {
		p.region, p.seen = one.region, one.seen
	}
	lives := up.Has(uint8(slices.Index(worldRegions, p.region))) && h.died[p.region] < p.seen
	if p.seen != 0 && h.now-p.seen <= idle && lives {
		h.kept++
		if got != p.region {
			h.fail("%v/%v had %s at %d and gets %s", p.asker, p.subnet, p.region, p.seen-clock.Unix(), got)
		}
	}
	if !h.ecs && p.subnet.IsValid() { // the others are one with it, whatever they had
		for i := range h.parties {
			if q := &h.parties[i]; q.asker == p.asker && q.subnet.IsValid() {
				q.seen = 0
			}
		}
		h.together[p.asker] = party{region: got, seen: h.now}
	}
	p.region, p.seen = got, h.now
}

func (h *history) fail(format string, args ...any) {
	h.t.Helper()
	for _, line := range h.log[max(0, len(h.log)-400):] {
		h.t.Log(line)
	}
	h.t.Fatalf("seed %d at %d: "+format, append([]any{h.seed, h.now - clock.Unix()}, args...)...)
}

// scopes wants no answers that overlap in one cache, where subnets count.
func (h *history) scopes() {
	h.t.Helper()
	if !h.ecs {
		return
	}
	cache := netip.MustParseAddr("9.9.9.9")
	var v4, v6 []answered
	for i := range h.parties {
		c := h.parties[i].subnet
		if !c.IsValid() {
			continue
		}
		trace := h.s.Trace(0, cache, netip.PrefixFrom(c, c.BitLen()), h.now)
		a := answered{netip.PrefixFrom(c, int(trace.Scope)).Masked(), trace.Region, c}
		if c.Is4() {
			v4 = append(v4, a)
		} else {
			v6 = append(v6, a)
		}
	}
	for _, answers := range [][]answered{v4, v6} {
		if a, b, found := overlapping(answers); found {
			h.fail("%s for %s, shared by %s, and %s for %s, shared by %s", a.region, a.client, a.block, b.region, b.client, b.block)
		}
	}
}

// TestUnitsAreCarried changes networks, sites and the use of client subnets at random
// while clients ask and replicas come and go. Nobody who was seen within the idle time
// gets another replica, unless its own has died, whatever its unit is by then.
func TestUnitsAreCarried(t *testing.T) {
	t.Parallel()
	kept := 0
	seeds := uint64(150)
	if testing.Short() {
		seeds = 30
	}
	for seed := range seeds {
		if seed == 0 {
			seed = 4730 // a unit that others go by again, with clients that this one was never with
		}
		h := newHistory(t, seed)
		begin, changes := h.now, 0
		for h.now < begin+limit-idle {
			h.now += 1 + h.rnd.Int64N(60)
			switch h.rnd.IntN(20) {
			case 0, 1:
				if changes < resolver.MaxUnits && h.rnd.IntN(2) == 0 {
					h.reconfigure()
					changes++
				}
			case 2:
				h.turn()
			case 3:
				h.scopes()
			}
			for range 1 + h.rnd.IntN(len(h.parties)/4+1) {
				// A few ask often, the others are silent for long.
				n := len(h.parties)
				if h.rnd.IntN(3) > 0 {
					n = min(n, 10)
				}
				h.visit(&h.parties[h.rnd.IntN(n)])
			}
		}
		kept += h.kept
	}
	t.Logf("%d answers were foretold", kept)
	if kept < 10_000 && !testing.Short() {
		t.Errorf("%d answers were foretold: too few", kept)
	}
}

// TestManyChanges is TestUnitsAreCarried with as many changes of others' networks as are
// followed: who is in none of those networks is where it was, whoever asks for whom.
func TestManyChanges(t *testing.T) {
	t.Parallel()
	h := newHistoryOf(t, site("", "westus", "203.7.1.0/24"), site("", "eastus", "203.7.2.0/24"))
	h.gives("203.7.1.1", "westus", "203.7.2.1", "eastus")
	h.networks = []network{site("all", "westeurope", "203.7.0.0/16")}
	h.now++
	h.take()
	h.gives("203.7.1.1", "westus", "203.7.2.1", "eastus")
	for i := range 31 { // as configuration.md promises
		h.networks = []network{h.networks[0], site("", "eastus", fmt.Sprintf("203.9.%d.128/25", i))}
		if i >= 24 { // the rest changes what the client is of
			h.networks[0] = site("all", "westeurope", fmt.Sprintf("203.%d.0.0/16", 40+i), "203.7.0.0/16")
		}
		h.now += 100
		h.take()
		if h.lost {
			t.Fatalf("change %d is one too many", i+2)
		}
		h.gives("203.7.1.1", "westus", "203.7.2.1", "eastus", "203.7.3.1", "westeurope")
	}
	h.networks = append(h.networks, site("", "eastus", "203.9.77.128/25"))
	h.take()
	if !h.lost {
		t.Error("nothing is said of a change that is one too many")
	}
}

// newHistoryOf is a history that does as it is told: with networks, and nobody yet.
func newHistoryOf(t *testing.T, networks ...network) *history {
	t.Helper()
	h := &history{t: t, rnd: rand.New(rand.NewPCG(1, 2)), ecs: true, now: clock.Unix(), died: make(map[string]int64), together: make(map[netip.Addr]party), networks: networks}
	h.take()
	return h
}

func site(name, region string, prefixes ...string) network {
	n := network{name: name, region: region}
	for _, p := range prefixes {
		n.prefixes = append(n.prefixes, netip.MustParsePrefix(p))
	}
	return n
}

// gives wants what clients, asked for by a subnet of a host each, are given at once.
func (h *history) gives(want ...string) {
	h.t.Helper()
	for i := 0; i < len(want); i += 2 {
		subnet := netip.MustParseAddr(want[i])
		if got := ask(h.t, h.w, "held", netip.MustParseAddr("9.9.9.9"), subnet, h.now); got != want[i+1] {
			h.t.Errorf("at %d %s gets %s, want %s", h.now-clock.Unix(), subnet, got, want[i+1])
		}
	}
}

// A site that takes in clients of several replicas leaves each with what it had as long
// as it is active. Who comes only then gets the site's, and so do the others once they
// have been silent.
func TestSiteTakesIn(t *testing.T) {
	t.Parallel()
	h := newHistoryOf(t, site("", "westus", "203.7.1.0/24"), site("", "eastus", "203.7.2.0/24"))
	h.gives("203.7.1.1", "westus", "203.7.2.1", "eastus")
	h.networks = []network{site("all", "westeurope", "203.7.0.0/16")}
	for range 10 {
		h.now += 100
		h.take() // the first changes something, the others nothing
		h.gives("203.7.3.1", "westeurope", "203.7.1.1", "westus", "203.7.2.1", "eastus", "203.7.1.200", "westus")
	}
	h.now += 1000 // the holds are over
	h.gives("203.7.1.1", "westeurope", "203.7.2.1", "westeurope")
}

// What is renamed, listed otherwise or only placed makes no other units.
func TestSameUnits(t *testing.T) {
	t.Parallel()
	h := newHistoryOf(t, site("a", "westus", "203.7.1.0/25", "203.7.1.128/25"), site("b", "westus", "203.7.2.0/26"))
	h.networks = []network{
		site("b-renamed", "eastus", "203.7.2.0/26"), site("a", "westus", "203.7.1.0/24"), site("", "westus", "203.4.0.0/14"), site("", "eastus", "203.7.2.0/24"),
	}
	h.take()
	if n := len(h.s.Earlier()); n != 0 {
		t.Errorf("%d earlier partitions, want none", n)
	}
	h.networks = append(h.networks, site("", "eastus", "203.7.2.128/25"))
	h.take()
	if n := len(h.s.Earlier()); n != 1 {
		t.Errorf("%d earlier partitions, want 1", n)
	}
}

// A hold that outlives the memory of earlier identities is still carried: here it may
// last for three hours.
func TestCarriedBeyondMemory(t *testing.T) {
	t.Parallel()
	h := newHistoryOf(t, site("", "westus", "203.7.1.0/24"))
	for i := range h.s.Registries {
		h.s.Registries[i].Policy.Hold = 2700
	}
	h.gives("203.7.1.1", "westus")
	h.networks = []network{site("all", "westeurope", "203.7.0.0/16")}
	h.take()
	h.s.Registries[0].Policy.Hold = 2700
	for h.now < clock.Unix()+4*2700-100 {
		h.now += 100
		h.gives("203.7.1.1", "westus")
		h.s.Forget(uint32(h.now))
	}
}

// A process that is being replaced answers for a moment after its successor has begun:
// the change is one for its clients all the same.
func TestCarriedFromLateAnswers(t *testing.T) {
	t.Parallel()
	h := newHistoryOf(t, site("", "westus", "203.7.1.0/24"))
	old := *h
	h.networks = []network{site("all", "westeurope", "203.7.0.0/16")}
	h.take()
	old.now += 5
	old.gives("203.7.1.1", "westus")
	h.now += 10
	h.gives("203.7.1.1", "westus")
}

// Where client subnets count no more, all clients of a resolver have one answer in its
// cache: they must not take turns.
func TestMergedClientsAgree(t *testing.T) {
	t.Parallel()
	h := newHistoryOf(t, site("", "westus", "203.7.1.0/24"), site("", "eastus", "203.7.2.0/24"), site("", "westeurope", "9.9.9.0/24"))
	h.gives("203.7.1.1", "westus", "203.7.2.1", "eastus")
	h.ecs = false
	h.take()
	for range 10 {
		h.now += 100
		h.gives("203.7.2.1", "eastus", "203.7.1.1", "eastus", "203.7.3.1", "eastus")
	}
	h.now += 4000
	h.gives("203.7.2.1", "westeurope", "203.7.1.1", "westeurope")
}

// Clients of one resolver who were told apart by their subnets are so again, as they were,
// when subnets did not count for a while and nobody asked: also in one site.
func TestNobodyAskedWithoutSubnets(t *testing.T) {
	t.Parallel()
	h := newHistoryOf(t, site("", "westus", "203.7.1.0/24"), site("", "eastus", "203.7.2.0/24"))
	h.gives("203.7.1.1", "westus", "203.7.2.1", "eastus")
	h.ecs = false
	h.now++
	h.take()
	h.ecs = true
	h.networks = []network{site("all", "westeurope", "203.7.1.0/24", "203.7.2.0/24")}
	h.now++
	h.take()
	h.gives("203.7.1.1", "westus", "203.7.2.1", "eastus", "203.7.1.1", "westus")
}

// So are they when subnets did not count earlier, too, and somebody asked then.
func TestSomebodyAskedEarlierWithoutSubnets(t *testing.T) {
	t.Parallel()
	h := newHistoryOf(t, site("", "westus", "203.7.1.0/24"), site("", "eastus", "203.7.2.0/24"), site("", "westeurope", "9.9.9.0/24"))
	count := func(ecs bool) {
		h.ecs = ecs
		h.now++
		h.take()
	}
	count(false)
	h.gives("203.7.9.1", "westeurope")
	count(true)
	h.now += 1000 // what was given to all of them is over
	h.gives("203.7.1.1", "westus", "203.7.2.1", "eastus")
	count(false)
	h.networks = []network{site("all", "westeurope", "203.7.1.0/24", "203.7.2.0/24")}
	count(true)
	h.gives("203.7.1.1", "westus", "203.7.2.1", "eastus", "203.7.1.1", "westus")
}

// A client that is held on a replica that an outage still misses is given the first one
// meanwhile, and goes back.
func TestHeldOnAMissingReplica(t *testing.T) {
	t.Parallel()
	h := newHistoryOf(t, site("", "westus", "203.7.1.0/24"))
	live := &h.s.Live[0]
	all := live.Masks()
	west, east := regionNumber(t, h.s, "westus"), regionNumber(t, h.s, "eastus")
	change := func(m decide.Masks, free bool) {
		h.now++
		live.Change(m, time.Unix(h.now, 0), free)
		h.now++
	}
	change(decide.Masks{Routed: all.Routed.With(west, false).With(regionNumber(t, h.s, "westeurope"), false), Up: all.Up}, false)
	h.gives("203.7.1.1", "eastus")
	change(all, false)
	h.gives("203.7.1.1", "eastus")
	live.SetMissing(1 << east)
	change(decide.Masks{Routed: all.Routed, Up: all.Up.With(east, false)}, false)
	h.gives("203.7.1.1", "westus", "203.7.1.1", "westus")
	change(all, true)
	live.SetMissing(0)
	h.gives("203.7.1.1", "eastus")
}

// A client of a site that is gone keeps what it had there, and not what others have whose
// unit it is of now.
func TestASiteOfPrivateAddressesGoes(t *testing.T) {
	t.Parallel()
	h := newHistoryOf(t, site("", "eastus", "9.9.9.0/24"), site("lab", "westus", "10.2.1.0/24"))
	plain := func(want string) {
		t.Helper()
		if got := ask(t, h.w, "held", netip.MustParseAddr("9.9.9.9"), netip.Addr{}, h.now); got != want {
			t.Errorf("the resolver's own gets %s, want %s", got, want)
		}
	}
	plain("eastus")
	h.gives("10.2.1.7", "westus")
	h.networks = h.networks[:1] // a private network is nowhere again: its resolver counts
	h.now++
	h.take()
	h.gives("10.2.1.7", "westus")
	plain("eastus")
}

// The answer to a client that is carried costs no allocation.
func TestCarryDoesNotAllocate(t *testing.T) {
	h := newHistoryOf(t, site("", "westus", "203.7.1.0/24"))
	h.gives("203.7.1.1", "westus")
	for i := range resolver.MaxEarlier {
		h.now++
		h.networks = []network{site("all", "westeurope", fmt.Sprintf("203.7.0.0/%d", 16+i%3))}
		h.take()
	}
	m := new(dns.Msg).SetQuestion("held.example.io.", dns.TypeA)
	m.SetEdns0(1232, false)
	m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_SUBNET{
		Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 32, Address: net.IPv4(203, 7, 1, 1),
	})
	msg, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	dst, from := make([]byte, 0, 4096), netip.MustParseAddrPort("9.9.9.9:53")
	if n := testing.AllocsPerRun(100, func() { h.w.Answer(dst, msg, from, h.now) }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}
