package availability

import (
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"portolan.dev/resolver"
	"portolan.dev/resolver/compile"
	"portolan.dev/resolver/decide"
)

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
// for, and one that has no other.
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
	s.Live[n/2].Set(decide.Masks{Routed: 1 << 3, Up: 0xff})
	v := &Availability{current: &Configuration{Compiled: &compile.Result{Snapshot: s}}}
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
