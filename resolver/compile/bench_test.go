package compile_test

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"portolan.dev/config"
	"portolan.dev/geo/embedded"
	"portolan.dev/resolver/compile"
)

// How the replicas of a fleet are probed.
const (
	unprobed = ""                                                                  // not at all
	shared   = ", probe: shared"                                                   // as one of 10,000 front ends that registries share
	own      = ", probe: own"                                                      // under the name of each registry
	probes   = "probes: {shared: {type: tcp, port: 443}, own: {type: registry}}\n" // one of them is used
)

// fleet is the text of a configuration with n registries of eight replicas each in
// sixty regions, with regional endpoints.
func fleet(n int, probe string) string {
	const regions = 60
	var b strings.Builder
	b.WriteString("zones: {example.io: {nameservers: {ns1: [192.0.2.53]}}}\n" + probes + "regions:\n")
	for i := range regions {
		fmt.Fprintf(&b, "  region%d: {latitude: %d, longitude: %d}\n", i, i%12*10-55, i*6-180)
	}
	b.WriteString("registries:\n")
	for i := range n {
		fmt.Fprintf(&b, "  registry%d:\n    regional_endpoints: enabled\n    replicas:\n", i)
		for j := range 8 {
			host := (i*8 + j) % 10_000
			fmt.Fprintf(&b, "      region%d: {addresses: [10.0.%d.%d]%s}\n", (i+j*7)%regions, host>>8, host&0xff, probe)
		}
	}
	return b.String()
}

// BenchmarkCompile is what a reload does behind the reading of the file.
// "heap-MB" is what the result keeps alive, without the configuration and the
// location data. With PORTOLAN_LONG=1 there are 100,000 registries too.
func BenchmarkCompile(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 100_000} {
		if n > 10_000 && os.Getenv("PORTOLAN_LONG") == "" {
			continue
		}
		for name, probe := range map[string]string{"none": unprobed, "shared": shared, "own": own} {
			if n > 10_000 && probe == own {
				continue
			}
			b.Run(fmt.Sprintf("registries=%d/probes=%s", n, name), func(b *testing.B) { benchmark(b, fleet(n, probe)) })
		}
	}
}

func benchmark(b *testing.B, text string) {
	b.Helper()
	data, err := embedded.Table()
	if err != nil {
		b.Fatal(err)
	}
	c, err := config.Parse("bench.yaml", []byte(text))
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
