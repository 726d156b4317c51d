package resolver_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"portolan.dev/resolver"
)

// BenchmarkFleet answers the global names of many registries in turn, to clients
// everywhere, in batches as a receiving goroutine does: what a fleet costs a query
// beyond a single registry is memory that no cache holds. With PORTOLAN_LONG=1 there
// are 100,000 too.
func BenchmarkFleet(b *testing.B) {
	for _, n := range []int{1, 100, 10_000, 100_000} {
		if n > 10_000 && os.Getenv("PORTOLAN_LONG") == "" {
			continue
		}
		b.Run(fmt.Sprintf("registries=%d", n), func(b *testing.B) {
			s := newServer(b, fleetText(n))
			s.s.Holds = nil // its table has its own benchmark
			s.resolver.Reserve(8 * n)
			rng := rand.New(rand.NewPCG(1, 2))
			queries := make([][]byte, 1<<15)
			for i := range queries {
				msg, err := question(fmt.Sprintf("registry%d.example.io.", rng.IntN(n)), dns.TypeA, seattle).Pack()
				if err != nil {
					b.Fatal(err)
				}
				copy(msg[len(msg)-3:], []byte{byte(1 + rng.IntN(223)), byte(rng.IntN(256)), byte(rng.IntN(256))})
				queries[i] = msg
			}
			dst, batch := make([]byte, 0, 4096), s.udp.Batch()
			b.ResetTimer()
			b.ReportAllocs()
			for i := 0; i < b.N; i += resolver.BatchSize {
				batch.Reset()
				for j := range resolver.BatchSize {
					batch.Read(queries[(i+j)%len(queries)], loopback)
				}
				batch.Look()
				for j := range resolver.BatchSize {
					batch.Answer(dst, j, clock.Unix())
				}
			}
		})
	}
}

// fleetText is n registries of eight replicas each in sixty regions.
func fleetText(n int) string {
	var b strings.Builder
	b.WriteString("zones: {example.io: {nameservers: {ns1: [192.0.2.53]}}}\nregions:\n")
	for i := range 60 {
		fmt.Fprintf(&b, "  region%d: {latitude: %d, longitude: %d}\n", i, i%12*10-55, i*6-180)
	}
	b.WriteString("registries:\n")
	for i := range n {
		fmt.Fprintf(&b, "  registry%d:\n    regional_endpoints: enabled\n    replicas:\n", i)
		for j := range 8 {
			host := i*8 + j
			fmt.Fprintf(&b, "      region%d: {addresses: [10.%d.%d.%d]}\n", (i+j*7)%60, host>>16, host>>8&0xff, host&0xff)
		}
	}
	return b.String()
}
