package availability

import (
	"math/rand/v2"
	"testing"
	"time"

	"portolan.dev/resolver/compile"
	"portolan.dev/resolver/decide"
)

// life is a registry of four replicas whose masks change at random moments.
type life struct {
	rng     *rand.Rand
	begin   time.Time
	moments []moment
	masks   []decide.Masks // after each
	pub     []time.Time    // when it was published
	first   decide.Masks
}

func newLife(seed uint64, n int) *life {
	l := &life{rng: rand.New(rand.NewPCG(seed, 1)), begin: time.Unix(1_800_000_000, 0), first: decide.Masks{Routed: 15, Up: 15}}
	at, masks, published := l.begin, l.first, l.begin
	for range n {
		at = at.Add(time.Duration(l.rng.IntN(int(400 * time.Second))))
		if l.rng.IntN(3) == 0 {
			at = at.Truncate(time.Second).Add(time.Duration(l.rng.IntN(int(3 * time.Second))))
			at = later(at, published)
		}
		region := uint8(l.rng.IntN(4))
		was := masks.Routed.Has(region)
		undo := func(m decide.Masks) decide.Masks {
			m.Routed = m.Routed.With(region, was)
			return m
		}
		masks.Routed = masks.Routed.With(region, !was)
		l.moments = append(l.moments, moment{replica: compile.Member{Region: region}, at: at, before: undo})
		published = later(published, at.Add(time.Duration(l.rng.IntN(int(PublishedBy)))))
		l.masks, l.pub = append(l.masks, masks), append(l.pub, published)
	}
	return l
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// at returns the masks as published at a moment.
func (l *life) at(t time.Time) decide.Masks {
	masks := l.first
	for i, p := range l.pub {
		if !p.After(t) {
			masks = l.masks[i]
		}
	}
	return masks
}

// What a server knows after a crash of the changes before it, it knows as well as if
// it had gone on: whoever would have been held is held, from the same moment give
// or take the time that a change takes to be published.
func TestHistoryFromTheLedgerHoldsWhomTheLiveOneHolds(t *testing.T) {
	var identity [decide.MaxRegions]uint8
	for i := range identity {
		identity[i] = uint8(i)
	}
	held := 0
	for seed := range uint64(4000) {
		l := newLife(seed, 1+int(seed%4))
		now := l.pub[len(l.pub)-1].Add(time.Duration(l.rng.IntN(int(300 * time.Second))))
		var live, rebuilt decide.History
		for i, m := range l.masks {
			live.Note(decide.Change{At: uint32(l.pub[i].Unix()), Masks: m}, false)
		}
		last := l.masks[len(l.masks)-1]
		for _, n := range notings(last, l.moments, now) {
			rebuilt.Note(n.Change, n.died)
		}
		for range 20 {
			seen := l.begin.Add(time.Duration(l.rng.Int64N(int64(now.Sub(l.begin)))))
			rank := []uint8{0, 1, 2, 3}
			l.rng.Shuffle(4, func(i, j int) { rank[i], rank[j] = rank[j], rank[i] })
			given, outcome := decide.Choose(rank, l.at(seen), decide.ServeNearest)
			base, now2 := decide.Choose(rank, last, decide.ServeNearest)
			if outcome > decide.AllDown || now2 > decide.AllDown || given == base {
				continue
			}
			ask := func(h *decide.History) (decide.Entry, bool) {
				table := decide.NewHolds(8)
				key := decide.NewKey(1, 1, 1, 1)
				table.Put(key, decide.Entry{LastSeen: uint32(seen.Unix()), Region: given})
				s := decide.Situation{
					Rank: rank, Masks: last, Policy: decide.Policy{Idle: 300, Hold: 900, Renewals: 4}, Configured: 15,
					History: h, Stable: &identity, Local: &identity,
				}
				_, e, held := table.Peek(key, base, uint32(now.Unix()), &s)
				return e, held
			}
			was, held1 := ask(&live)
			is, held2 := ask(&rebuilt)
			if !held1 || now.Unix()+2 >= int64(was.Until) {
				continue
			}
			held++
			diff := int(is.Until) - int(was.Until)
			if !held2 || diff < -2 || diff > 2 {
				t.Fatalf("seed %d: seen at %d, given %d: live held %v until %d, rebuilt %v until %d; published %v, moments %v, rank %v",
					seed, seen.Unix(), given, held1, was.Until, held2, is.Until, l.pub, l.moments, rank)
			}
		}
	}
	if held < 10_000 {
		t.Errorf("%d clients were held: too few to say anything", held)
	}
}
