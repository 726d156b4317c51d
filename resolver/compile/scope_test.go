package compile_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"portolan.dev/resolver"
	"portolan.dev/resolver/decide"
	"portolan.dev/resolver/wire"
)

// network is an entry of geo.networks as these tests make it.
type network struct {
	name     string // of a site, empty for a plain entry
	prefixes []netip.Prefix
	region   string
}

func (n *network) String() string {
	if n.name == "" {
		return fmt.Sprintf("%q: %s", n.prefixes[0], n.region)
	}
	var quoted []string
	for _, p := range n.prefixes {
		quoted = append(quoted, fmt.Sprintf("%q", p))
	}
	return fmt.Sprintf("%s: {prefixes: [%s], region: %s}", n.name, strings.Join(quoted, ", "), n.region)
}

var worldRegions = []string{"westus", "eastus", "westeurope"}

// networksConfig has a registry that holds clients and one that does not.
func networksConfig(networks []network, ecs bool) string {
	var entries []string
	for i := range networks {
		entries = append(entries, networks[i].String())
	}
	return fmt.Sprintf(`
server: {ecs: %v}
geo: {networks: {%s}}
zones: {example.io: {nameservers: {ns1: [192.0.2.53]}}}
regions: {westus: {}, eastus: {}, westeurope: {}}
registries:
  held: {replicas: {westus: {addresses: [192.0.2.1]}, eastus: {addresses: [192.0.2.2]}, westeurope: {addresses: [192.0.2.3]}}}
  open: {sticky: {hold: 0s}, replicas: {westus: {addresses: [192.0.2.1]}, eastus: {addresses: [192.0.2.2]}, westeurope: {addresses: [192.0.2.3]}}}
`, ecs, strings.Join(entries, ", "))
}

// around are places whose neighborhoods have many borders: of the location data, of
// special-purpose space, and of none.
var around = []string{"128.95.0.0", "128.94.255.255", "203.7.7.128", "10.20.0.0", "192.0.2.0", "2600:1700:abc:100::", "2600:1700:abc::", "100::", "2001:db8::", "fd00:1::"}

func randomAddr(rnd *rand.Rand) netip.Addr {
	a := netip.MustParseAddr(around[rnd.IntN(len(around))])
	b := a.AsSlice()
	lowest := 10
	if a.Is6() {
		lowest = 36
	}
	for range rnd.IntN(4) {
		bit := lowest + rnd.IntN(len(b)*8-lowest)
		b[bit/8] ^= 0x80 >> (bit % 8)
	}
	a, _ = netip.AddrFromSlice(b)
	return a
}

func randomNetworks(rnd *rand.Rand) []network {
	var networks []network
	taken := make(map[netip.Prefix]bool)
	for i := range rnd.IntN(9) {
		n := network{region: worldRegions[rnd.IntN(3)]}
		more := 1
		if rnd.IntN(2) == 0 {
			n.name, more = fmt.Sprint("site", i), 1+rnd.IntN(3)
		}
		for range more {
			a := randomAddr(rnd)
			if len(networks) > 0 && rnd.IntN(2) == 0 { // beside or in another
				a = networks[rnd.IntN(len(networks))].prefixes[0].Addr()
			}
			bits := 12 + rnd.IntN(21)
			if a.Is6() {
				bits = 32 + rnd.IntN(97)
			}
			if p := netip.PrefixFrom(a, bits).Masked(); !taken[p] {
				taken[p] = true
				n.prefixes = append(n.prefixes, p)
			}
		}
		if len(n.prefixes) > 0 {
			networks = append(networks, n)
		}
	}
	return networks
}

// clientsAround are clients at the borders of networks and of the prefixes in which
// these lie, and some elsewhere; of IPv4 ones also in the IPv6 forms that carry them.
func clientsAround(rnd *rand.Rand, networks []network) []netip.Addr {
	var addrs []netip.Addr
	add := func(p netip.Prefix) {
		first, last := p.Masked().Addr(), lastOf(p)
		for _, a := range []netip.Addr{first.Prev(), first, last, last.Next()} {
			if a.IsValid() {
				addrs = append(addrs, a)
			}
		}
	}
	for i := range networks {
		for _, p := range networks[i].prefixes {
			add(p)
			add(netip.PrefixFrom(p.Addr(), min(p.Bits(), map[bool]int{true: 24, false: 48}[p.Addr().Is4()])))
		}
	}
	for range 20 {
		addrs = append(addrs, randomAddr(rnd))
	}
	for _, a := range slices.Clone(addrs) {
		if a.Is4() && rnd.IntN(2) == 0 {
			addrs = append(addrs, carrying(rnd.IntN(3), a))
		}
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return slices.Compact(addrs)
}

func lastOf(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for bit := p.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// carrying is an IPv6 address that carries an IPv4 address: by NAT64, 6to4, Teredo.
func carrying(form int, a netip.Addr) netip.Addr {
	v4 := binary.BigEndian.Uint32(a.AsSlice())
	var b [16]byte
	switch form {
	case 0:
		binary.BigEndian.PutUint32(b[0:], 0x0064ff9b)
		binary.BigEndian.PutUint32(b[12:], v4)
	case 1:
		binary.BigEndian.PutUint16(b[0:], 0x2002)
		binary.BigEndian.PutUint32(b[2:], v4)
	default:
		binary.BigEndian.PutUint32(b[0:], 0x20010000)
		binary.BigEndian.PutUint32(b[12:], ^v4)
	}
	return netip.AddrFrom16(b)
}

// carries reports whether an address carries an IPv4 address.
func carries(a netip.Addr) bool {
	for _, p := range []string{"64:ff9b::/96", "2002::/16", "2001::/32"} {
		if netip.MustParsePrefix(p).Contains(a) {
			return true
		}
	}
	return false
}

// answered is what a cache may keep of an answer, and for whom.
type answered struct {
	block  netip.Prefix
	region string
	client netip.Addr
}

// overlapping returns two answers of which one cache would give the one to a client of
// the other.
func overlapping(answers []answered) (a, b answered, found bool) {
	slices.SortFunc(answers, func(a, b answered) int {
		if c := a.block.Addr().Compare(b.block.Addr()); c != 0 {
			return c
		}
		return a.block.Bits() - b.block.Bits()
	})
	for i := range answers {
		for j := i + 1; j < len(answers) && answers[i].block.Overlaps(answers[j].block); j++ {
			if answers[i].block != answers[j].block || answers[i].region != answers[j].region {
				return answers[i], answers[j], true
			}
		}
	}
	return a, b, false
}

// TestScopesNeverMix asks for many clients of random networks, some of whom are held
// since a replica went out of routing, and wants no two scopes that overlap: neither
// with different answers nor one within the other.
func TestScopesNeverMix(t *testing.T) {
	t.Parallel()
	held := 0
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 7871))
		networks := randomNetworks(rnd)
		s := run{}.must(t, networksConfig(networks, true)).Snapshot
		s.Holds = decide.NewHolds(10_000)
		w := resolver.New(s, wire.CookieSecret{}).Worker(resolver.UDP)
		asker := netip.MustParseAddr("128.95.1.1")
		clients := clientsAround(rnd, networks)
		now := clock.Unix()
		for _, name := range []string{"held", "open"} {
			n, r := registry(t, s, name)
			for _, c := range clients {
				if rnd.IntN(2) == 0 {
					ask(t, w, name, asker, c, now)
				}
			}
			m := s.Live[n].Masks()
			m.Routed = r.Configured &^ (1 << rnd.IntN(3))
			s.Live[n].Change(m, clock.Add(60e9), false)
			var v4, v6 []answered
			for _, c := range clients {
				trace := s.Trace(n, asker, netip.PrefixFrom(c, c.BitLen()), now+90)
				a := answered{netip.PrefixFrom(c, int(trace.Scope)).Masked(), trace.Region, c}
				if trace.Outcome == decide.Held {
					held++
				}
				if c.Is4() {
					v4 = append(v4, a)
				} else {
					v6 = append(v6, a)
				}
			}
			for _, answers := range [][]answered{v4, v6} {
				if a, b, found := overlapping(answers); found {
					t.Fatalf("seed %d, %s: %s for %s, shared by %s, and %s for %s, shared by %s; networks %v",
						seed, name, a.region, a.client, a.block, b.region, b.client, b.block, networks)
				}
			}
		}
	}
	if held < 100 {
		t.Errorf("%d clients were held: too few to prove anything", held)
	}
}

// ask asks a server for a registry's address, for a client that is known by a client
// subnet, or not if that is the zero Addr, and returns the region of the answer.
func ask(tb testing.TB, w *resolver.Worker, registry string, asker, client netip.Addr, now int64) (region string) {
	tb.Helper()
	m := new(dns.Msg)
	m.SetQuestion(registry+".example.io.", dns.TypeA)
	m.SetEdns0(1232, false)
	if client.IsValid() {
		e := &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: uint8(client.BitLen()), Address: net.IP(client.AsSlice())}
		if client.Is6() {
			e.Family = 2
		}
		m.IsEdns0().Option = append(m.IsEdns0().Option, e)
	}
	msg, err := m.Pack()
	if err != nil {
		tb.Fatal(err)
	}
	var r dns.Msg
	if err := r.Unpack(w.Answer(nil, msg, netip.AddrPortFrom(asker, 53), now)); err != nil {
		tb.Fatal(err)
	}
	if len(r.Answer) != 1 {
		tb.Fatalf("no single answer for %v: %v", client, &r)
	}
	a, ok := r.Answer[0].(*dns.A)
	if !ok {
		tb.Fatalf("no address: %v", &r)
	}
	return worldRegions[a.A.To4()[3]-1]
}
