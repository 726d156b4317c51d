package resolver_test

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"testing"

	"github.com/miekg/dns"

	"portolan.dev/geo"
	"portolan.dev/resolver"
	"portolan.dev/resolver/rrl"
)

// classes are the kinds of answer, by what they cost.
var classes = []struct {
	name  string
	query func() *dns.Msg
}{
	{"global-ecs", func() *dns.Msg { return question("myregistry.example.io.", dns.TypeA, seattle) }},
	{"global-ecs-v6", func() *dns.Msg { return question("myregistry.example.io.", dns.TypeAAAA, "2a02:a400::/48") }},
	{"global-source", func() *dns.Msg { return question("myregistry.example.io.", dns.TypeA, "") }},
	{"global-other-type", func() *dns.Msg { return question("myregistry.example.io.", dns.TypeHTTPS, seattle) }},
	{"global-apex", func() *dns.Msg { return question("own.example.", dns.TypeA, seattle) }},
	{"regional", func() *dns.Msg { return question("myregistry.eastus.geo.example.io.", dns.TypeA, "") }},
	{"regional-edns", func() *dns.Msg { return question("myregistry.eastus.geo.example.io.", dns.TypeA, seattle) }},
	{"cookie-nsid", func() *dns.Msg {
		m := question("myregistry.eastus.geo.example.io.", dns.TypeA, seattle)
		m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_NSID{Code: dns.EDNS0NSID}, &dns.EDNS0_COOKIE{Code: 10, Cookie: "2464c4abcf10c957"})
		return m
	}},
	{"nodata", func() *dns.Msg { return question("geo.example.io.", dns.TypeA, seattle) }},
	{"nxdomain", func() *dns.Msg { return question("nothing.example.io.", dns.TypeA, seattle) }},
	{"refused", func() *dns.Msg { return question("example.org.", dns.TypeA, seattle) }},
	{"soa", func() *dns.Msg { return question("example.io.", dns.TypeSOA, "") }},
	{"ns", func() *dns.Msg { return question("example.io.", dns.TypeNS, "") }},
	{"txt", func() *dns.Msg { return question("example.io.", dns.TypeTXT, "") }},
	{"truncated", func() *dns.Msg { return question("big.example.io.", dns.TypeTXT, "") }},
	{"chaos", func() *dns.Msg {
		m := question("id.server.", dns.TypeTXT, "")
		m.Question[0].Qclass = dns.ClassCHAOS
		return m
	}},
}

func BenchmarkAnswer(b *testing.B) {
	s := newServer(b, contoso)
	dst := make([]byte, 0, 4096)
	for _, bb := range classes {
		b.Run(bb.name, func(b *testing.B) {
			msg, err := bb.query().Pack()
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				s.udp.Answer(dst, msg, loopback, 0)
			}
		})
	}
	// The same registry with clients held and not: what the activity table costs.
	for _, holds := range []bool{false, true} {
		name := "global-random-ecs-holds-off"
		if holds {
			name = "global-random-ecs-holds-on"
		}
		b.Run(name, func(b *testing.B) {
			table := s.s.Holds
			if !holds {
				s.s.Holds = nil
			}
			defer func() { s.s.Holds = table }()
			benchmarkRandomSubnets(b, s, "own.example.")
		})
	}
	// The same within the hour after changes of which clients are one: here all of them
	// were one each time, which is the worst.
	for _, changes := range []int{1, resolver.MaxEarlier} {
		b.Run("global-random-ecs-carried-"+strconv.Itoa(changes), func(b *testing.B) {
			var earlier []resolver.Earlier
			for i := range changes {
				units, err := geo.NewUnits([]geo.Site{{Name: "all", Prefixes: []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), i%2)}}})
				if err != nil {
					b.Fatal(err)
				}
				earlier = append(earlier, resolver.Earlier{Partition: resolver.Partition{Units: units, ECS: true}, Until: 1_800_000_000})
			}
			s.s.SetEarlier(earlier, 1_800_000_000)
			defer s.s.SetEarlier(nil, 0)
			benchmarkRandomSubnets(b, s, "own.example.")
		})
	}
	// The same answer held against the rate limit, which it stays within.
	b.Run("regional-edns-limited", func(b *testing.B) {
		s.s.Limits = rrl.New(rrl.Policy{Rates: [3]uint32{100, 100, 100}, Burst: 250, Slip: 2}, rrl.NewTable(2<<20, 1))
		defer func() { s.s.Limits = nil }()
		msg, err := question("myregistry.eastus.geo.example.io.", dns.TypeA, seattle).Pack()
		if err != nil {
			b.Fatal(err)
		}
		i := int64(0)
		for b.Loop() {
			s.udp.Answer(dst, msg, loopback, i>>6)
			i++
		}
	})
	// Every query from another /24: the location table is met cold, as a busy
	// server meets it.
	b.Run("global-random-ecs", func(b *testing.B) { benchmarkRandomSubnets(b, s, "myregistry.example.io.") })
}

func benchmarkRandomSubnets(b *testing.B, s *server, name string) {
	b.Helper()
	msg, err := question(name, dns.TypeA, seattle).Pack()
	if err != nil {
		b.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	subnets := make([][3]byte, 1<<20)
	for i := range subnets {
		subnets[i] = [3]byte{byte(1 + rng.IntN(223)), byte(rng.IntN(256)), byte(rng.IntN(256))}
	}
	dst := make([]byte, 0, 4096)
	b.Run("single", func(b *testing.B) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			copy(msg[len(msg)-3:], subnets[i%len(subnets)][:])
			s.udp.Answer(dst, msg, loopback, int64(1_800_000_000+i>>20))
			i++
		}
	})
	b.Run("batch", func(b *testing.B) {
		var msgs [resolver.BatchSize][]byte
		for i := range msgs {
			msgs[i] = slices.Clone(msg)
		}
		batch := s.udp.Batch()
		b.ReportAllocs()
		for i := 0; i < b.N; i += len(msgs) {
			batch.Reset()
			for j, m := range msgs {
				copy(m[len(m)-3:], subnets[(i+j)%len(subnets)][:])
				batch.Read(m, loopback)
			}
			batch.Look()
			for j := range msgs {
				batch.Answer(dst, j, int64(1_800_000_000+i>>20))
			}
		}
	})
}
