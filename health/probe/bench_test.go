//go:build unix

package probe

import (
	"bufio"
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"portolan.dev/health"
)

// startStandIn returns the addresses of one in a process of its own.
func startStandIn(b *testing.B) (plain, secure string) {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), standInEnv+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { in.Close(); _ = cmd.Wait() })
	lines := bufio.NewReader(out)
	plain, _ = lines.ReadString('\n')
	secure, _ = lines.ReadString('\n')
	return strings.TrimSpace(plain), strings.TrimSpace(secure)
}

// cpu returns the processor time this process has used.
func cpu(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkProbe measures the processor time of this side of one probe, system calls
// included, one after the other.
func BenchmarkProbe(b *testing.B) {
	plain, secure := startStandIn(b)
	const name = "myregistry.example.io"
	for _, bb := range []struct {
		name string
		spec Spec
	}{
		{"tcp", Spec{Type: TCP, Address: plain}},
		{"http", Spec{Type: HTTP, Address: plain, Status: []StatusRange{{401, 401}}}},
		{"registry", Spec{Type: Registry, Address: plain}},
		{"tls", Spec{Type: TLS, Address: secure, ServerName: name}},
		{"registry-tls", Spec{Type: Registry, TLS: true, Address: secure, ServerName: name}},
		{"exec", Spec{Type: Exec, Command: []string{"/bin/true"}}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			p, err := New(bb.spec)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			began := cpu(b)
			for b.Loop() {
				ctx, cancel := context.WithTimeout(b.Context(), 2*time.Second)
				if r := p.Probe(ctx); r.Verdict != health.Pass {
					b.Fatal(r)
				}
				cancel()
			}
			b.ReportMetric(float64(cpu(b)-began)/float64(b.N), "cpu-ns/probe")
		})
	}
}

// BenchmarkMonitor runs many checks at 10 s against the stand-in: 10,000 are 1,000 probes a
// second, and -benchtime=15000x takes 15 s. There are fewer with TLS, so that the stand-in
// can keep up on the same machine. core-% is the share of one core.
func BenchmarkMonitor(b *testing.B) {
	plain, secure := startStandIn(b)
	for _, bb := range []struct {
		name   string
		spec   Spec
		checks int
	}{
		{"tcp", Spec{Type: TCP, Address: plain}, 10_000},
		{"registry", Spec{Type: Registry, Address: plain}, 10_000},
		{"registry-tls", Spec{Type: Registry, TLS: true, Address: secure, ServerName: "myregistry.example.io"}, 2_000},
	} {
		b.Run(bb.name, func(b *testing.B) {
			p, err := New(bb.spec)
			if err != nil {
				b.Fatal(err)
			}
			var left atomic.Int64
			left.Store(int64(b.N))
			done := make(chan struct{})
			m := health.NewMonitor(health.Options{
				Now: time.Now, Rand: rand.New(rand.NewPCG(1, 2)),
				OnChange: func(c []health.Change) { b.Errorf("%d changes, as %+v", len(c), c[0]) },
				OnResult: func(*health.Check, health.Result) {
					if left.Add(-1) == 0 {
						close(done)
					}
				},
			})
			endpoints := make([]health.Endpoint, 0, bb.checks)
			for i := range cap(endpoints) {
				key := strconv.Itoa(i)
				endpoints = append(endpoints, health.Endpoint{Key: key, Checks: []health.Check{{
					Key: key, Name: key, Prober: p, Interval: 10 * time.Second, Timeout: 2 * time.Second, Fall: 1, Rise: 1,
				}}})
			}
			m.Set(endpoints)
			ctx, cancel := context.WithCancel(b.Context())
			ended := make(chan struct{})
			began, start := cpu(b), time.Now()
			go func() { m.Run(ctx); close(ended) }()
			<-done
			b.ReportMetric(100*float64(cpu(b)-began)/float64(time.Since(start)), "core-%")
			b.ReportMetric(float64(m.Stats().Late)/1e6, "late-ms")
			cancel()
			<-ended
		})
	}
}
