package app

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"portolan.dev/health"
)

// BenchmarkFlip is the time from the verdict on a front end that all registries of a
// fleet share to the last of their answers changed, the write to the ledger
// included. "publish-ms" is the part behind that write. With PORTOLAN_LONG=1 there
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
		var publishing time.Duration
		up := false
		for b.Loop() {
			a.availability.changed([]health.Change{{Endpoint: key, Up: up, At: time.Now(), Reason: "benchmark"}})
			live := w.Compiled.Snapshot.Live[n-1].Masks()
			if live.Up.Has(w.Compiled.Members(key)[n-1].Region) != up {
				b.Fatal("not published")
			}
			up = !up
			began := time.Now()
			a.availability.mu.Lock()
			a.availability.setDown(key, !up, map[uint32]bool{})
			a.availability.mu.Unlock()
			publishing += time.Since(began)
			up = !up
		}
		b.ReportMetric(float64(publishing.Microseconds())/1000/float64(b.N), "publish-ms")
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
	b.Cleanup(func() { _ = a.Stop(b.Context()) })
	return a
}
