package load

import (
	"math/rand/v2"
	"testing"
)

// A flight agrees with a plain map of what is in flight, whatever lands or expires
// in whatever order, and IDs come around only after all others.
func TestFlightModel(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	f, model := newFlight(), map[uint16]int64{}
	const limit = 300
	now, lastID := int64(1), uint16(0xffff)
	for range 300_000 {
		now += int64(rng.IntN(3))
		switch r := rng.IntN(10); {
		case r < 5 && f.room(limit) > 0:
			id := f.launch(slot{due: now, nonce: uint32(now)})
			if _, taken := model[id]; taken || id != lastID+1 {
				t.Fatalf("ID %d after %d, in flight already: %t", id, lastID, taken)
			}
			model[id], lastID = now, id
		case r < 9:
			for id := range model {
				f.land(id)
				delete(model, id)
				break
			}
		default:
			before, gone := now-200, 0
			f.expire(before, func(slot) { gone++ })
			for id, due := range model {
				if due < before {
					delete(model, id)
					gone--
				}
			}
			if gone != 0 {
				t.Fatalf("%d more expired than should", gone)
			}
		}
		if f.flying != len(model) || f.room(limit) > limit-len(model) {
			t.Fatalf("%d in flight and room for %d, want %d", f.flying, f.room(limit), len(model))
		}
	}
}

// One query that is never answered leaves room until its ID would come again.
func TestFlightFull(t *testing.T) {
	t.Parallel()
	f := newFlight()
	f.launch(slot{due: 1})
	for range 1<<16 - 1 {
		if f.room(10) == 0 {
			t.Fatal("no room before all IDs were used")
		}
		f.land(f.launch(slot{due: 2}))
	}
	if f.room(10) != 0 {
		t.Fatal("room, though the next ID is in flight")
	}
	f.expire(2, func(slot) {})
	if f.room(10) != 10 {
		t.Errorf("room for %d after the old query expired", f.room(10))
	}
}
