//go:build unix

package health

import (
	"context"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// counter passes at once and counts.
type counter struct {
	left atomic.Int64
	done chan struct{}
}

func (c *counter) Probe(context.Context) Result {
	if c.left.Add(-1) == 0 {
		close(c.done)
	}
	return Result{Verdict: Pass, Detail: "200 OK"}
}

// BenchmarkMonitor10k measures what the Monitor itself costs for each probe, with
// 10,000 checks of as many endpoints and a prober that does nothing. The interval
// is 200 ms instead of 10 s, so that there is something to measure.
func BenchmarkMonitor10k(b *testing.B) {
	p := &counter{done: make(chan struct{})}
	p.left.Store(int64(b.N))
	m := NewMonitor(Options{Now: time.Now, Rand: rand.New(rand.NewPCG(1, 2)), OnResult: func(*Check, Result) {}})
	endpoints := make([]Endpoint, 0, 10_000)
	for i := range cap(endpoints) {
		c := checkOf(strconv.Itoa(i), p)
		c.Interval, c.Timeout = 200*time.Millisecond, 100*time.Millisecond
		endpoints = append(endpoints, Endpoint{Key: c.Key, Checks: []Check{c}})
	}
	m.Set(endpoints)
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan struct{})
	b.ReportAllocs()
	b.ResetTimer()
	began := cpu(b)
	go func() { m.Run(ctx); close(ended) }()
	<-p.done
	b.ReportMetric(float64(cpu(b)-began)/float64(b.N), "cpu-ns/probe")
	b.StopTimer()
	b.ReportMetric(float64(m.Stats().Late)/1e6, "late-ms")
	cancel()
	<-ended
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

// BenchmarkSet10k is a reload that changes nothing.
func BenchmarkSet10k(b *testing.B) {
	m := NewMonitor(Options{Now: time.Now, Rand: rand.New(rand.NewPCG(1, 2))})
	endpoints := make([]Endpoint, 0, 10_000)
	for i := range cap(endpoints) {
		c := checkOf(strconv.Itoa(i), nil)
		endpoints = append(endpoints, Endpoint{Key: c.Key, Checks: []Check{c}})
	}
	for b.Loop() {
		m.Set(endpoints)
	}
}
