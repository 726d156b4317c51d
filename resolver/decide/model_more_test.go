package decide

import (
	"math/rand/v2"
	"slices"
	"sort"
	"testing"
)

// I8: a replica that flaps moves a client once at most, with a recovery hold
// whatever the client does, and without one as long as it stays active.
func TestI8AFlapMovesOnce(t *testing.T) {
	t.Run("with a recovery hold", func(t *testing.T) {
		for _, seed := range seeds(t, 30) {
			m := quiet(seed)
			r := uint8(m.rng.IntN(modelReplicas))
			moves := m.countMoves(600, 500, func() {
				// Never well for as long as the recovery hold.
				m.fail(r)
				m.mend(r)
			})
			for u, n := range moves {
				if n > 1 {
					t.Fatalf("seed %d: unit %d moved %d times", seed, u.id, n)
				}
			}
		}
	})
	t.Run("without", func(t *testing.T) {
		moved := 0
		for _, seed := range seeds(t, 30) {
			m := quiet(seed)
			r := uint8(m.rng.IntN(modelReplicas))
			moves := m.countMoves(900, 60, func() {
				m.up ^= 1 << r
				m.publish()
			})
			for u, n := range moves {
				moved += n
				if n > 1 {
					t.Fatalf("seed %d: unit %d moved %d times", seed, u.id, n)
				}
			}
		}
		if moved == 0 {
			t.Error("nobody moved")
		}
	})
}

// quiet is a world in which nothing happens by itself.
func quiet(seed uint64) *model {
	m := newModel(seed)
	m.policy = Policy{Idle: 300, Hold: 900, Renewals: 4}
	for _, u := range m.units {
		m.ask(u)
	}
	return m
}

// countMoves lets a world go on for span seconds in which every unit asks at least
// every so many seconds, while flap is called at random, and counts the moves.
func (m *model) countMoves(span, every uint32, flap func()) map[*unit]int {
	moves := make(map[*unit]int)
	due := make(map[*unit]uint32)
	for end := m.now + span; m.now < end; m.now++ {
		m.recover()
		if m.rng.IntN(25) == 0 {
			flap()
		}
		for _, u := range m.units {
			if m.now < due[u] {
				continue
			}
			was := u.region
			if got, ok := m.ask(u); ok && got != was {
				moves[u]++
			}
			due[u] = m.now + 1 + uint32(m.rng.IntN(int(every)))
		}
	}
	return moves
}

// I9: no stream of queries makes the table larger, or allocates.
func TestI9MemoryIsBounded(t *testing.T) {
	w := newWorld(t)
	rng := rand.New(rand.NewPCG(3, 3))
	for _, size := range []int{1, 100, 5000} {
		h := NewHolds(size)
		if h.Cap() < size || h.Bytes() > max(256, 64*size) {
			t.Errorf("room for %d in %d octets, wanted for %d", h.Cap(), h.Bytes(), size)
		}
		was := h.Bytes()
		now := uint32(modelStart)
		allocations := testing.AllocsPerRun(20_000, func() {
			now += uint32(rng.IntN(2))
			if rng.IntN(100) == 0 {
				next := Masks{Routed: Mask(rng.IntN(7)) + 1, Up: Mask(rng.IntN(8))}
				w.history.Note(Change{At: now, Masks: next}, w.s.Masks.Up&^next.Up != 0)
				w.s.Masks = next
			}
			// Some units come back, most are met once.
			unit := rng.Uint64()
			if rng.IntN(3) == 0 {
				unit %= 50
			}
			base, _ := Choose(w.s.Rank, w.s.Masks, ServeNearest)
			h.Serve(NewKey(1, uint32(rng.IntN(3)), unit, 1), base, now, &w.s)
		})
		n := 0
		h.Each(func(Key, Entry) { n++ })
		if allocations != 0 || h.Bytes() != was || n > h.Cap() {
			t.Errorf("%d: %v allocations a query, %d octets after %d, %d units in a table for %d", size, allocations, h.Bytes(), was, n, h.Cap())
		}
	}
}

// I10: what a unit is given does not depend on the queries of others: neither on
// their order nor on whether there are any.
func TestI10OthersDoNotMatter(t *testing.T) {
	const units = 20
	for _, seed := range seeds(t, 20) {
		rng := rand.New(rand.NewPCG(seed, 5))
		s := newScript(rng, units)
		want := s.play(NewHolds(1000), s.queries, nil)
		for range 3 {
			one := uint64(rng.IntN(units))
			var queries []query
			for _, q := range s.queries {
				switch {
				case q.unit == one:
					queries = append(queries, q)
				case rng.IntN(4) > 0: // others ask at other times, or not at all
					q.at = s.queries[rng.IntN(len(s.queries))].at
					queries = append(queries, q)
				}
			}
			rng.Shuffle(len(queries), func(i, j int) { queries[i], queries[j] = queries[j], queries[i] })
			sort.SliceStable(queries, func(i, j int) bool { return queries[i].at < queries[j].at })
			got := s.play(NewHolds(1000), queries, nil)
			if !slices.Equal(got[one], want[one]) {
				t.Fatalf("seed %d: unit %d is given %v when others ask otherwise, and was given %v", seed, one, got[one], want[one])
			}
		}
	}
}

// In a table without room for all, a unit may be forgotten, and then gets base: it
// is never given what another unit was given (I7, under pressure).
func TestACrowdedTableGivesBaseOrTheSame(t *testing.T) {
	const units = 60
	for _, seed := range seeds(t, 20) {
		s := newScript(rand.New(rand.NewPCG(seed, 6)), units)
		h := NewHolds(1)
		if h.Cap() >= units {
			t.Fatalf("a table for %d units is not crowded by %d", h.Cap(), units)
		}
		before := make(map[uint64]uint8)
		s.play(h, s.queries, func(q query, base, region uint8) {
			if was, ok := before[q.unit]; region != base && (!ok || region != was) {
				t.Fatalf("seed %d: unit %d is given %d, base %d, before %d", seed, q.unit, region, base, was)
			}
			before[q.unit] = region
		})
	}
}

// A table that was saved larger, or under other conditions, leaves room for new
// units when it is loaded: two ways in each bucket.
func TestALoadedTableHasRoomForNewUnits(t *testing.T) {
	w := newWorld(t)
	h := NewHolds(500)
	for i := range uint64(20_000) {
		h.Put(NewKey(1, 7, i, 1), Entry{LastSeen: 1000, Region: 1, Standing: Qualified})
	}
	for i := range uint64(20_000) {
		h.Serve(NewKey(1, 7, i, 2), 0, 1001+probation, &w.s)
	}
	found := 0
	h.Each(func(_ Key, e Entry) {
		if e.Standing == Newcomer {
			found++
		}
	})
	if found != openWays*h.Cap()/ways {
		t.Errorf("%d new units found room, want %d in each of %d buckets", found, openWays, h.Cap()/ways)
	}
}

// Which of too many entries a loaded table keeps does not depend on their order: held
// ones first, then by standing.
func TestALoadedTableKeepsTheBestClaims(t *testing.T) {
	all := make([]Entry, 0, 3*ways)
	for i := range uint32(ways) {
		all = append(all, Entry{LastSeen: 2000 + i}, Entry{LastSeen: 1500 + i, Standing: Returned},
			Entry{LastSeen: 1000 + i, Until: 1900, Standing: Returned})
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for range 20 {
		rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		h := HoldsIn(make([]Bucket, 1))
		for _, e := range all {
			h.Put(NewKey(1, 7, uint64(e.LastSeen), 1), e)
		}
		held := 0
		h.Each(func(_ Key, e Entry) {
			if e.Until != 0 {
				held++
			}
		})
		if held != ways {
			t.Fatalf("%d of %d held units are kept, loaded in the order %v", held, ways, all)
		}
	}
}
