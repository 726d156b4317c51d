package compile_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"portolan.dev/resolver/compile"
	"portolan.dev/resolver/wire"
)

// Only names that answer addresses need those of a target, each replica its own.
func TestTargets(t *testing.T) {
	r := run{}.must(t, `
zones: {example.io: {nameservers: {ns1: [192.0.2.53]}}, own.test: {nameservers: {ns.test.: []}}}
registries:
  alias: {zone: example.io, replicas: {westus: {target: a.test}}}
  regional: {zone: example.io, regional_endpoints: enabled, replicas: {westus: {target: b.test}}}
  flat: {zone: example.io, answer: address, sticky: {ttl: 42s}, replicas: {westus: {addresses: [192.0.2.1]}, eastus: {target: C.test}}}
  apex: {zone: own.test, name: "@", families: dual, replicas: {eastus: {target: d.test}, westus: {target: e.test}}}
`)
	apex, _ := registry(t, r.Snapshot, "apex")
	flat, _ := registry(t, r.Snapshot, "flat")
	east, west := regionNumber(t, r.Snapshot, "eastus"), regionNumber(t, r.Snapshot, "westus")
	// By region number: westus is named first.
	want := []compile.Target{
		{Member: compile.Member{Registry: flat, Region: east}, Host: "c.test.", TTL: 42, IPv4: true, Resolved: 0},
		{Member: compile.Member{Registry: apex, Region: west}, Host: "e.test.", TTL: 60, IPv4: true, IPv6: true, Resolved: 1},
		{Member: compile.Member{Registry: apex, Region: east}, Host: "d.test.", TTL: 60, IPv4: true, IPv6: true, Resolved: 2},
	}
	if diff := cmp.Diff(want, r.Targets); diff != "" {
		t.Error(diff)
	}
	if len(r.Snapshot.Resolved) != 3 {
		t.Errorf("%d places for addresses", len(r.Snapshot.Resolved))
	}
	for _, tt := range []struct {
		key, region string
		resolved    uint32
		aliases     uint8
	}{
		{"alias", "westus", 0, 1},
		{"regional", "westus", 0, 2},
		{"flat", "westus", 0, 0},
		{"flat", "eastus", 1, 0},
		{"apex", "westus", 2, 0},
		{"apex", "eastus", 3, 0},
	} {
		if p := replica(t, r.Snapshot, tt.key, tt.region); p.Resolved != tt.resolved || p.AliasCount != tt.aliases {
			t.Errorf("%s/%s: %+v", tt.key, tt.region, *p)
		}
	}
}

// Where addresses of a target are answered, all replicas of the registry answer
// the same families: IPv4 unless the operator says what there is.
func TestFamiliesOfTargets(t *testing.T) {
	const dual = `{addresses: [192.0.2.1, "2001:db8::1"]}`
	for _, tt := range []struct {
		what, settings, other string
		ipv4, ipv6            bool  // of the target
		count4, count6        uint8 // of the other replica
	}{
		{"unset", "answer: address", dual, true, false, 1, 0},
		{"unset, only IPv4 there", "answer: address", "{addresses: [192.0.2.1]}", true, false, 1, 0},
		{"ipv4", "answer: address, families: ipv4", dual, true, false, 1, 0},
		{"ipv6", "answer: address, families: ipv6", dual, false, true, 0, 1},
		{"dual", "answer: address, families: dual", dual, true, true, 1, 1},
	} {
		t.Run(tt.what, func(t *testing.T) {
			text := fmt.Sprintf(`
zones: {example.io: {nameservers: {ns1: [192.0.2.53]}}}
registries: {a: {%s, regional_endpoints: enabled, replicas: {westus: {target: lb.test}, eastus: %s}}}`, tt.settings, tt.other)
			r := run{}.must(t, text)
			if got := r.Targets[0]; got.IPv4 != tt.ipv4 || got.IPv6 != tt.ipv6 {
				t.Errorf("target %+v", got)
			}
			if p := replica(t, r.Snapshot, "a", "eastus"); p.IPv4Count != tt.count4 || p.IPv6Count != tt.count6 {
				t.Errorf("%d IPv4 and %d IPv6 addresses", p.IPv4Count, p.IPv6Count)
			}
		})
	}
	// Names that lead to one replica whoever asks have all its addresses.
	const mixed = `
zones: {example.io: {nameservers: {ns1: [192.0.2.53]}}}
registries: {a: {answer: address, regional_endpoints: enabled, replicas: {westus: {target: lb.test}, eastus: {addresses: [192.0.2.1, "2001:db8::1"]}}}}`
	if got := types(t, run{}.must(t, mixed).Snapshot, "a.eastus.geo.example.io"); len(got) != 2 {
		t.Errorf("the regional name has types %v", got)
	}
	// With an alias each target answers for itself.
	if p := replica(t, run{}.must(t, strings.Replace(mixed, "answer: address", "answer: auto", 1)).Snapshot, "a", "eastus"); p.IPv6Count != 1 {
		t.Errorf("%+v", *p)
	}
	_, err := run{}.compile(t, strings.Replace(mixed, "192.0.2.1, ", "", 1))
	says(t, err, "test.yaml:3:", "registries.a: region eastus has no IPv4 address", "set `families`")
}

// Resolved addresses are the octets that miekg/dns packs behind the question.
func TestPackAddresses(t *testing.T) {
	addrs := []netip.Addr{
		netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("::ffff:192.0.2.2"), netip.MustParseAddr("2001:db8::2"),
	}
	until := clock.Add(time.Minute)
	for _, target := range []compile.Target{
		{TTL: 60, IPv4: true, IPv6: true}, {TTL: 4_000_000, IPv4: true}, {TTL: 1, IPv6: true}, {TTL: 1},
	} {
		got := compile.PackAddresses(target, addrs, clock, until)
		v4 := packed(t, dns.TypeA, fmt.Sprintf("a.example.io. %d IN A 192.0.2.1", target.TTL), fmt.Sprintf("a.example.io. %d IN A 192.0.2.2", target.TTL))
		v6 := packed(t, dns.TypeAAAA, fmt.Sprintf("a.example.io. %d IN AAAA 2001:db8::1", target.TTL), fmt.Sprintf("a.example.io. %d IN AAAA 2001:db8::2", target.TTL))
		count4, count6, from := uint8(2), uint8(2), 4
		if !target.IPv4 {
			v4, count4, from = nil, 0, from-2
		}
		if !target.IPv6 {
			v6, count6, from = nil, 0, from-2
		}
		if !bytes.Equal(got.IPv4, v4) || !bytes.Equal(got.IPv6, v6) {
			t.Errorf("%+v:\n got %x %x\nwant %x %x", target, got.IPv4, got.IPv6, v4, v6)
		}
		if got.IPv4Count != count4 || got.IPv6Count != count6 || len(got.From) != from || !got.At.Equal(clock) || !got.Until.Equal(until) {
			t.Errorf("%+v: %+v", target, got)
		}
		for _, a := range got.From {
			if a.Is4In6() {
				t.Errorf("%s is not unwrapped", a)
			}
		}
	}
}

// However many addresses a target has, so many fit.
func TestPackAddressesIsBounded(t *testing.T) {
	var addrs []netip.Addr
	for i := range byte(200) {
		addrs = append(addrs, netip.AddrFrom4([4]byte{192, 0, 2, i}), netip.AddrFrom16([16]byte{0x20, 1, 15: i}))
	}
	got := compile.PackAddresses(compile.Target{TTL: 1, IPv4: true, IPv6: true}, addrs, clock, clock)
	if got.IPv4Count != 8 || len(got.IPv4) != 8*16 || got.IPv6Count != 8 || len(got.IPv6) != 8*28 || len(got.From) != 16 {
		t.Errorf("%+v", got)
	}
}

// packed is what stands behind the question of a response with these answers.
func packed(tb testing.TB, qtype uint16, records ...string) []byte {
	tb.Helper()
	m := new(dns.Msg)
	m.SetQuestion("a.example.io.", qtype)
	m.Compress = true
	for _, text := range records {
		rr, err := dns.NewRR(text)
		if err != nil {
			tb.Fatal(err)
		}
		m.Answer = append(m.Answer, rr)
	}
	out, err := m.Pack()
	if err != nil {
		tb.Fatal(err)
	}
	return out[wire.HeaderLen+len("a.example.io.")+1+4:]
}
