package config

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestBombs gives documents that are small and mean much, or are deep. Each must
// be refused, or accepted, within bounds; the bounds are loose, for slow machines.
func TestBombs(t *testing.T) {
	many := func(n int, f func(i int) string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(f(i))
		}
		return b.String()
	}
	laughs := "x0: &x0 {a: b}\n" + many(30, func(i int) string {
		return fmt.Sprintf("x%d: &x%d [%s*x%d]\n", i+1, i+1, strings.Repeat(fmt.Sprintf("*x%d, ", i), 9), i)
	})
	merges := "x0: &x0 {a: b}\n" + many(30, func(i int) string {
		return fmt.Sprintf("x%d: &x%d {<<: [%s*x%d]}\n", i+1, i+1, strings.Repeat(fmt.Sprintf("*x%d, ", i), 9), i)
	})
	tests := []struct{ name, data, want string }{
		{"aliases of lists", laughs + zoneLine + "server: {listen: *x30}", "is a list, not text"},
		{"merge keys", merges + zoneLine + "server: {<<: *x30}", "merge keys lead into one another"},
		{
			"aliases of registries",
			"registries: &r\n" + many(1000, func(i int) string { return registryLine(fmt.Sprintf("r%d", i), "192.0.2.1") }) +
				many(20, func(i int) string {
					return fmt.Sprintf("x%d: &x%d {<<: [*r, %s*r]}\n", i, i, strings.Repeat("*r, ", 9000))
				}) + "probes: {<<: [*x1, *x2, *x3]}",
			"aliases expand to more than",
		},
		{"deep lists", zoneLine + "server: {listen: " + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + "}", "is a list, not text"},
		{"deeper lists", zoneLine + "server: " + strings.Repeat("[", 1<<20), "exceeded max depth"},
		{"deep indentation", strings.Repeat("- ", 1<<20), "exceeded max depth"},
		{"too many values", zoneLine + "x: [" + strings.Repeat("a,", maxMarks) + "]", "too many values"},
		{"too many errors", zoneLine + "server:\n" + many(100_000, func(i int) string { return fmt.Sprintf("  x%d: 1\n", i) }), "and 99900 more errors"},
		{"a long key", zoneLine + "? " + strings.Repeat("k", 1<<20) + "\n: 1", "unknown key"},
		{"a long value", zoneLine + "server: {identity: " + strings.Repeat("v", 1<<20) + "}", "longer than the 255 bytes"},
		{
			"many unknown names among many",
			zoneLine + "probes:\n" + many(20_000, func(i int) string { return fmt.Sprintf("  p%d: {type: tcp, port: 1}\n", i) }) +
				"registries:\n" + many(20_000, func(i int) string {
				return fmt.Sprintf("  r%d: {zone: z%d, replicas: {w: {addresses: [192.0.2.1], probe: q%d}}}\n", i, i, i)
			}),
			"and 39900 more errors",
		},
		{"many replicas", zoneLine + "registries: {a: {replicas: {" + many(3000, func(i int) string { return fmt.Sprintf("r%d: {addresses: [192.0.2.1]}, ", i) }) + "}}}", "3000 replicas"},
		{"many addresses", zoneLine + "registries: {a: {replicas: {westus: {addresses: [" + strings.Repeat("192.0.2.1, ", 1<<20) + "]}}}}", "1048576 addresses"},
		{"many equal prefixes", zoneLine + "diagnostics: {allow: [" + strings.Repeat("10.0.0.0/8, ", 1<<17) + "]}", "and 130971 more errors"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			start := time.Now()
			_, err := Parse("bomb.yaml", []byte(test.data))
			var errs Errors
			if !errors.As(err, &errs) || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("gave %.300v, want %q", err, test.want)
			}
			if len(errs) > MaxErrors+1 || len(err.Error()) > 64<<10 {
				t.Errorf("%d errors of %d bytes", len(errs), len(err.Error()))
			}
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

func TestFileTooLarge(t *testing.T) {
	big := strings.Repeat("# "+strings.Repeat("x", 1021)+"\n", maxFile>>10+1)
	want := "the file is larger than 128 MiB"
	if _, err := Parse("big.yaml", []byte(big)); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Parse gave %v", err)
	}
	dir := tree(t, map[string]string{"big.yaml": big, "main.yaml": "include: [big.yaml]\n" + zoneLine})
	for _, name := range []string{"big.yaml", "main.yaml"} {
		if _, err := Load(filepath.Join(dir, name)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Load of %s gave %v", name, err)
		}
	}
}

// TestMoreRegionsThanBits refuses the first region that has no bit left.
func TestMoreRegionsThanBits(t *testing.T) {
	build := func(n int) string {
		var b strings.Builder
		b.WriteString(zoneLine + "registries:\n")
		for i := range n {
			fmt.Fprintf(&b, "  a%d: {replicas: {r%d: {addresses: [192.0.2.1]}, common: {addresses: [192.0.2.2]}}}\n", i, i)
		}
		return b.String()
	}
	if c, err := Parse("x.yaml", []byte(build(MaxRegions-1))); err != nil || len(c.Regions) != MaxRegions {
		t.Errorf("%d regions: %v", MaxRegions, err)
	}
	_, err := Parse("x.yaml", []byte(build(MaxRegions)))
	if want := "x.yaml:66:20: registries.a63.replicas.r63: more than 64 regions are in use"; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("%d regions: %v, want %q", MaxRegions+1, err, want)
	}
}

// TestReportKeepsTheFirst adds errors in random order: those kept are the first by
// position, and all are counted.
func TestReportKeepsTheFirst(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		n := rng.IntN(3000) + 1
		r := report{what: "errors"}
		for _, line := range rng.Perm(n) {
			r.add(&place{source: &source{name: "f", order: line % 2}, line: int32(line)}, "m", "")
		}
		errs := r.errors()
		kept := min(n, MaxErrors)
		for i, e := range errs[:kept] {
			// Even lines are in the first file.
			want := 2 * i
			if even := (n + 1) / 2; i >= even {
				want = 2*(i-even) + 1
			}
			if e.Line != want {
				t.Fatalf("of %d: error %d is at line %d, want %d", n, i, e.Line, want)
			}
		}
		if n > MaxErrors != (len(errs) == MaxErrors+1) {
			t.Fatalf("of %d: %d errors", n, len(errs))
		}
		if n > MaxErrors && errs[MaxErrors].Msg != fmt.Sprintf("and %d more errors", n-MaxErrors) {
			t.Fatalf("of %d: last is %v", n, errs[MaxErrors])
		}
	}
}

// large writes registries with replicas, numbered on from one, as a machine would.
func large(from, registries, replicas int) []byte {
	var b strings.Builder
	b.WriteString("zones: {example.io: {nameservers: {ns1: [192.0.2.53]}}}\nprobes: {registry: {type: registry}}\nregistries:\n")
	for i := from; i < from+registries; i++ {
		fmt.Fprintf(&b, "  registry%d:\n    zone: example.io\n    regional_endpoints: enabled\n    replicas:\n", i)
		for j := range replicas {
			n := i*replicas + j
			fmt.Fprintf(&b, "      region%d: {addresses: [10.%d.%d.%d, \"2001:db8::%x:%x\"], probe: registry}\n", j, n>>16&255, n>>8&255, n&255, n>>16, n&0xffff)
		}
	}
	return []byte(b.String())
}

// TestMillionNames loads 200,000 registries with four regional names each, in time
// and memory a server may spend on it.
func TestMillionNames(t *testing.T) {
	if testing.Short() {
		t.Skip("needs some seconds and some hundred megabytes")
	}
	const registries = 200_000
	var b strings.Builder
	b.WriteString(zoneLine + "registries:\n r0: &r {regional_endpoints: enabled, replicas: {a: {target: t}, b: {target: t}, c: {target: t}, d: {target: t}}}\n")
	for i := 1; i < registries; i++ {
		fmt.Fprintf(&b, " r%d: *r\n", i)
	}
	start := time.Now()
	c, err := Parse("million.yaml", []byte(b.String()))
	if err != nil {
		t.Fatalf("refused: %.300v", err)
	}
	took := time.Since(start)
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	t.Logf("%d names in %v; %d MB from the system", c.Summary().Names, took, mem.Sys>>20)
	if c.Summary().Names != 5*registries || took > time.Minute || mem.Sys > 4<<30 {
		t.Errorf("%d names, %v, %d MB", c.Summary().Names, took, mem.Sys>>20)
	}
}

// BenchmarkLoad/10000 is one file, BenchmarkLoad/100000 is a hundred files.
func BenchmarkLoad(b *testing.B) {
	const replicas = 8
	b.Run("10000", func(b *testing.B) {
		data := large(0, 10_000, replicas)
		b.SetBytes(int64(len(data)))
		b.ReportAllocs()
		for b.Loop() {
			c, err := Parse("large.yaml", data)
			if err != nil || len(c.Registries) != 10_000 {
				b.Fatal(err)
			}
		}
	})
	b.Run("100000", func(b *testing.B) {
		dir := b.TempDir()
		write := func(name, data string) {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o644); err != nil {
				b.Fatal(err)
			}
		}
		write("main.yaml", "include: ['r*.yaml']\nzones: {example.io: {nameservers: {ns1: [192.0.2.53]}}}\nprobes: {registry: {type: registry}}\n")
		for i := range 100 {
			_, rest, _ := strings.Cut(string(large(i*1000, 1000, replicas)), "registries:\n")
			write(fmt.Sprintf("r%d.yaml", i), "registries:\n"+rest)
		}
		for b.Loop() {
			c, err := Load(filepath.Join(dir, "main.yaml"))
			if err != nil || len(c.Registries) != 100_000 {
				b.Fatal(err)
			}
		}
		var mem runtime.MemStats
		runtime.ReadMemStats(&mem)
		b.ReportMetric(float64(mem.Sys>>20), "sys-MB")
	})
}
