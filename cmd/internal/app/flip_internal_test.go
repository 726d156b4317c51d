package app

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"portolan.dev/health"
)

// BenchmarkFlip is the time from the verdict on a front end that all registries of a
// fleet share to the last of their answers changed: down and up by turns, where an up
// waits for the ledger. "down-ms" is the time of a down alone. With PORTOLAN_LONG=1 there
// are 100,000 registries.
func BenchmarkFlip(b *testing.B) {
	n := 2000
	if os.Getenv("PORTOLAN_LONG") != "" {
		n = 100_000
	}
	b.Run(fmt.Sprintf("registries=%d", n), func(b *testing.B) {
		a := sharedFleet(b, n)
		w := a.world.Load()
		key := w.Compiled.Endpoints[0].Key
		if len(w.Compiled.Members(key)) != n {
			b.Fatalf("%d registries share the front end", len(w.Compiled.Members(key)))
		}
		var downs time.Duration
		up := false
		for b.Loop() {
			change := health.Change{Endpoint: key, State: health.Down, Was: health.Up, At: time.Now(), Reason: "benchmark"}
			if up {
				change.State, change.Was = health.Up, health.Recovering
			}
			began := time.Now()
			a.availability.Changed([]health.Change{change})
			live := &w.Compiled.Snapshot.Live[n-1]
			for region := w.Compiled.Members(key)[n-1].Region; live.Masks().Up.Has(region) != up; {
				if !up || time.Since(began) > time.Minute {
					b.Fatal("not published")
				}
				time.Sleep(50 * time.Microsecond)
			}
			if !up {
				downs += time.Since(began)
			}
			up = !up
		}
		b.ReportMetric(float64(downs.Microseconds())/1000/(float64(b.N+1)/2), "down-ms")
	})
}

// sharedFleet is a server of n registries with two replicas each, all behind the same
// two front ends.
func sharedFleet(b *testing.B, n int) *App {
	b.Helper()
	dir := b.TempDir()
	var text strings.Builder
	fmt.Fprintf(&text, "server: {listen: ['127.0.0.1:0']}\nadmin: {socket: %[1]s/admin.sock, metrics: '127.0.0.1:0'}\nstate: {dir: %[1]s/state}\n", dir)
	text.WriteString("zones: {example.io: {nameservers: {ns1: [192.0.2.53]}}}\nprobes: {tcp: {type: tcp, port: 443}}\nregistries:\n")
	for i := range n {
		fmt.Fprintf(&text, "  registry%d: {recovery_hold: 0s, replicas: {westus: {addresses: [10.0.0.1], probe: tcp}, eastus: {addresses: [10.0.0.2], probe: tcp}}}\n", i)
	}
	path := filepath.Join(dir, "main.yaml")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	a, err := New(Options{Source: Source{Path: path, Now: time.Now}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	var running sync.WaitGroup
	running.Go(func() { a.availability.Run(ctx) })
	b.Cleanup(func() {
		cancel()
		running.Wait()
		_ = a.Stop(context.Background())
	})
	return a
}
