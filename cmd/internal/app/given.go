package app

import (
	"context"
	"slices"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"portolan.dev/cmd/internal/admin"
	"portolan.dev/resolver"
	"portolan.dev/resolver/compile"
	"portolan.dev/resolver/decide"
)

const (
	// givenUnits is how many client units have a history; the least recently moved
	// are forgotten first.
	givenUnits = 50_000
	// givenEach is how many moves of one unit are kept.
	givenEach = 16
	// givenFor is how far the history reaches back.
	givenFor = time.Hour
	// movesBuffer takes the moves of a replica's death until they are noted.
	movesBuffer = 4096
)

// given is the history of clients: which replicas a unit was moved between, and
// why. The query path reports moves and never waits for it.
type given struct {
	a     *App
	moves chan resolver.Move

	mu    sync.Mutex
	units *lru.Cache[decide.Key, []admin.Given]
}

func newGiven(a *App) (*given, error) {
	units, err := lru.New[decide.Key, []admin.Given](givenUnits)
	if err != nil {
		return nil, err
	}
	return &given{a: a, moves: make(chan resolver.Move, movesBuffer), units: units}, nil
}

// run notes moves until ctx ends.
func (g *given) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-g.moves:
			g.note(m)
		}
	}
}

func (g *given) note(m resolver.Move) {
	names := g.a.numbering.RegionNames()
	w := g.a.world.Load()
	reason := "another replica is nearer"
	if region := w.Compiled.Snapshot.Local[m.Before]; region != decide.None {
		if registry, ok := w.Compiled.Registry(m.Key.Registry()); ok && w.Compiled.Snapshot.Registries[registry].Configured.Has(region) {
			if why := g.a.availability.Excluded(w.availability, compile.Member{Registry: registry, Region: region}); why != "" {
				reason = why
			}
		} else {
			reason = "no longer configured"
		}
	}
	entry := admin.Given{At: time.Unix(m.At, 0).UTC(), From: names[m.Before], To: names[m.After], Reason: reason}
	g.add(m.Key, entry)
}

// history returns the moves of a unit within the last hour, oldest first.
func (g *given) history(k decide.Key, now time.Time) []admin.Given {
	g.mu.Lock()
	defer g.mu.Unlock()
	all, _ := g.units.Peek(k)
	var out []admin.Given
	for _, e := range all {
		if now.Sub(e.At) <= givenFor {
			out = append(out, e)
		}
	}
	return out
}

// savedMoves is how many moves are kept over a restart, the newest of them.
const savedMoves = 10_000

// savedMove is one entry of a history as it is saved.
type savedMove struct {
	Key decide.Key `json:"key"`
	admin.Given
}

// saved returns the moves of the last hour, oldest first.
func (g *given) saved(now time.Time) (moves []savedMove) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, k := range g.units.Keys() {
		all, _ := g.units.Peek(k)
		for _, e := range all {
			if now.Sub(e.At) <= givenFor {
				moves = append(moves, savedMove{k, e})
			}
		}
	}
	slices.SortStableFunc(moves, func(a, b savedMove) int { return a.At.Compare(b.At) })
	return moves[max(0, len(moves)-savedMoves):]
}

// restore takes over moves that were saved; registry gives the number of a registry
// that had another one then, false for none.
func (g *given) restore(moves []savedMove, registry func(uint32) (uint32, bool)) {
	for _, m := range moves {
		if number, ok := registry(m.Key.Registry()); ok {
			g.add(m.Key.WithRegistry(number), m.Given)
		}
	}
}

// add appends to the history of a unit.
func (g *given) add(k decide.Key, entry admin.Given) {
	g.mu.Lock()
	defer g.mu.Unlock()
	old, _ := g.units.Get(k)
	all := append(slices.Clone(old), entry)
	g.units.Add(k, all[max(0, len(all)-givenEach):])
}
