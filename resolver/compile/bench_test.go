package compile_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"portolan.dev/config"
	"portolan.dev/geo/embedded"
	"portolan.dev/resolver/compile"
)

// fleet is the text of a configuration with n registries of eight replicas each,
// all probed, with regional endpoints.
func fleet(n int) string {
	regions := []string{"westus", "eastus", "canadacentral", "westeurope", "northeurope", "southeastasia", "japaneast", "brazilsouth"}
	var b strings.Builder
	b.WriteString("zones: {example.io: {nameservers: {ns1: [192.0.2.53]}}}\nprobes: {p: {type: registry}}\nregistries:\n")
	for i := range n {
		fmt.Fprintf(&b, "  r%d:\n    regional_endpoints: enabled\n    replicas:\n", i)
		for j, region := range regions {
			fmt.Fprintf(&b, "      %s: {addresses: [10.%d.%d.%d], probe: p}\n", region, i>>13, i>>5&0xff, i&0x1f<<3|j)
		}
	}
	return b.String()
}

// BenchmarkCompile is a reload of 10,000 registries with eight replicas each,
// behind the reading of the file. "heap-MB" is what the result keeps alive,
// without the configuration and the location data.
func BenchmarkCompile(b *testing.B) {
	for _, n := range []int{1_000, 10_000} {
		b.Run(fmt.Sprintf("registries=%d", n), func(b *testing.B) { benchmark(b, n) })
	}
}

func benchmark(b *testing.B, n int) {
	b.Helper()
	data, err := embedded.Table()
	if err != nil {
		b.Fatal(err)
	}
	c, err := config.Parse("bench.yaml", []byte(fleet(n)))
	if err != nil {
		b.Fatal(err)
	}
	before := heap()
	var kept *compile.Result
	b.ReportAllocs()
	for b.Loop() {
		if kept, err = compile.Compile(c, compile.Options{Table: data, Slots: compile.NewSlots(), Seed: 1, Now: clock}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(heap()-before)/1e6, "heap-MB")
	runtime.KeepAlive(kept)
	runtime.KeepAlive(c)
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
