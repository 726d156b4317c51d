package compile_test

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"portolan.dev/resolver/compile"
)

// several has replicas with addresses of both families, in every form of answer.
func several(keys string) string {
	return strings.Replace(`
zones: {example.io: {nameservers: {ns1: [192.0.2.53]}}, apex.test: {nameservers: {ns1: [192.0.2.53]}}}
probes: {p: {type: tcp, port: 443}}
registries:
  a:
    zone: ZONE
    replicas:
      westus: {addresses: [192.0.2.1, "2001:db8::1", 192.0.2.2, "2001:db8::2", 192.0.2.3], probe: p}
      eastus: {addresses: [192.0.2.4, "2001:db8::4"], probe: p}
      westeurope: {addresses: [192.0.2.5, "2001:db8::5", 192.0.2.6], probe: p, probe_target: "10.0.0.1:1"}
      northeurope: {addresses: [192.0.2.7, "2001:db8::7", 192.0.2.8]}
`, "ZONE", strings.ReplaceAll(keys, ", ", "\n    "), 1)
}

// Any set of addresses can be left out, and what is answered then are the records that there
// were, without those.
func TestSetLiving(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, answer := range []string{"example.io", "example.io, regional_endpoints: enabled", "example.io, regional_endpoints: enabled, answer: address", `apex.test, name: "@"`, "example.io, families: ipv4"} {
		t.Run(answer, func(t *testing.T) {
			r := run{}.must(t, several(answer))
			s := r.Snapshot
			member := func(region string) compile.Member { return compile.Member{Region: regionNumber(t, s, region)} }
			for _, region := range []string{"eastus", "westeurope", "northeurope"} {
				if f := r.Families(member(region)); f[0]|f[1] != 0 || r.SetLiving(member(region), 1) || r.LeftOut(member(region)) != nil {
					t.Errorf("some of the addresses of %s can be left out", region)
				}
			}
			m := member("westus")
			all := []string{"192.0.2.1", "2001:db8::1", "192.0.2.2", "2001:db8::2", "192.0.2.3"}
			ipv6 := answer != "example.io, families: ipv4"
			if !ipv6 {
				all = []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"}
			}
			replica := &s.Replicas[s.ReplicaNumber(0, m.Region)]
			at := replica.Body + uint32(replica.Alias)
			whole := s.Bodies[at : at+uint32(replica.IPv4)+uint32(replica.IPv6)]
			before := []netip.Addr(nil)
			for range 200 {
				living := compile.AddressSet(rng.Uint32N(1 << len(all)))
				var leftOut, given []netip.Addr
				for _, v4 := range []bool{true, false} {
					for i, text := range all {
						switch a := netip.MustParseAddr(text); {
						case a.Is4() != v4:
						case living.Has(i):
							given = append(given, a)
						default:
							leftOut = append(leftOut, a)
						}
					}
				}
				if changed := r.SetLiving(m, living); changed == slices.Equal(leftOut, before) {
					t.Errorf("%b after %v: changed %v", living, before, changed)
				}
				before = leftOut
				if got := r.LeftOut(m); !slices.Equal(got, leftOut) {
					t.Errorf("%b: left out %v, want %v", living, got, leftOut)
				}
				now := s.Living[replica.Living-1].Load()
				if now == nil {
					if len(leftOut) > 0 {
						t.Errorf("%b: all are answered", living)
					}
					continue
				}
				if !slices.Equal(now.From, given) || int(now.IPv4Count)+int(now.IPv6Count) != len(given) {
					t.Errorf("%b: %v, want %v", living, now.From, given)
				}
				if want := without(whole, leftOut); !slices.Equal(slices.Concat(now.IPv4, now.IPv6), want) {
					t.Errorf("%b: records % x, want % x", living, slices.Concat(now.IPv4, now.IPv6), want)
				}
			}
		})
	}
}

// without takes the records of some addresses out of packed ones.
func without(records []byte, addrs []netip.Addr) (out []byte) {
	for len(records) > 0 {
		size := 12 + int(records[10])<<8 + int(records[11])
		addr, _ := netip.AddrFromSlice(records[12:size])
		if !slices.Contains(addrs, addr) {
			out = append(out, records[:size]...)
		}
		records = records[size:]
	}
	return out
}
