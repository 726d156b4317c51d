package app

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"portolan.dev/health"
	"portolan.dev/resolver"
	"portolan.dev/resolver/compile"
	"portolan.dev/resolver/decide"
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
			change := health.Change{Endpoint: key, State: health.Down, Was: health.Up, At: time.Now(), Reason: "benchmark"}
			if up {
				change.State, change.Was = health.Up, health.Recovering
			}
			a.availability.changed([]health.Change{change})
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

// TestRuns divides replicas of which registries have one or several.
func TestRuns(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(9, 10))
	for _, n := range []int{0, 1, flipAtOnce, flipAtOnce + 1, 3*flipAtOnce + 7} {
		var members []compile.Member
		for registry := 0; len(members) < n; registry++ {
			for region := range uint8(1 + rng.IntN(3)) {
				members = append(members, compile.Member{Registry: registry, Region: region})
			}
		}
		runs := runsOf(members)
		if got := slices.Concat(runs...); !slices.Equal(got, members) {
			t.Errorf("%d replicas: %d in %d runs", len(members), len(got), len(runs))
		}
		for i := range runs[1:] {
			if runs[i][len(runs[i])-1].Registry == runs[i+1][0].Registry {
				t.Errorf("a registry is in two runs")
			}
		}
	}
}

// TestFlip flips replicas of registries in several zones, more than one goroutine is
// for, and one of which an operator has said when holds end.
func TestFlip(t *testing.T) {
	t.Parallel()
	const n, zones = 3 * flipAtOnce, 5
	s := &resolver.Snapshot{Live: make([]resolver.Availability, n), Registries: make([]resolver.Registry, n), Serials: make([]atomic.Uint32, zones)}
	members := make([]compile.Member, n)
	for i := range members {
		members[i] = compile.Member{Registry: i, Region: 3}
		s.Registries[i].Zone = uint32(i % zones)
		s.Live[i].Set(decide.Masks{Routed: 0xff, Up: 0xff})
	}
	s.Live[n/2].Deadlines.Store(new(decide.Deadlines))
	v := &availability{world: &World{Compiled: &compile.Result{Snapshot: s}}}
	var rest []compile.Member
	raised := make(map[uint32]bool)
	for _, f := range v.flip(members, false, time.Unix(1000, 0)) {
		rest = append(rest, f.rest...)
		for _, zone := range f.zones {
			raised[zone] = true
		}
	}
	if len(raised) != zones || len(rest) != 1 || rest[0] != members[n/2] {
		t.Errorf("zones %v, left %v", raised, rest)
	}
	for i := range s.Live {
		changes, down := s.Live[i].History.All()
		if want := i != n/2; s.Live[i].Masks().Up.Has(3) == want || len(changes) > 0 != want || down == 1000 != want {
			t.Fatalf("registry %d: up %b, changes %v, last down at %d", i, s.Live[i].Masks().Up, changes, down)
		}
	}
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
