package decide

import "testing"

// What the model checker and its writing found, in the smallest form.

// A registry that had no replica at all for a while has moved its clients, whatever
// the number of their region is: Choose says nothing of the region then.
func TestNoReplicaAtAllIsAChangeForRegionZero(t *testing.T) {
	w := newWorld(t)
	w.ask(1000, 0)
	w.change(1100, Masks{Routed: 0, Up: 0b111})
	w.change(1350, Masks{Routed: 0b110, Up: 0b111}) // later than the idle time
	w.ask(1400, 0)
}

// A death stays known when later changes have pushed it out of the history.
func TestAForgottenDeathIsADeath(t *testing.T) {
	w := newWorld(t)
	w.ask(1000, 0)
	w.change(1010, Masks{Routed: 0b111, Up: 0b110})
	w.change(1011, Masks{Routed: 0b111, Up: 0b111})
	for i := range uint32(historySize) {
		w.change(1020+i, Masks{Routed: 0b110 + Mask(i%2)<<3, Up: 0b111})
	}
	w.ask(1040, 1)
}

// A death of another replica at a time when this one was down already, or only
// another's, is not this one's.
func TestTheDeathOfAnotherReplicaIsNone(t *testing.T) {
	w := newWorld(t)
	w.change(900, Masks{Routed: 0b111, Up: 0b110})
	w.change(1000, Masks{Routed: 0b111, Up: 0b110 &^ 0b100})
	w.change(1000, Masks{Routed: 0b111, Up: 0b011})
	w.ask(1000, 0)
	w.change(1010, Masks{Routed: 0b111, Up: 0b001}) // 1 dies
	w.change(1020, Masks{Routed: 0b110, Up: 0b011}) // 0 is drained, 1 is back
	w.ask(1030, 0)
}

// What a history knows survives a swap: the changes under their new numbers, the
// deaths, and that there was more than it remembers.
func TestCarryKeepsWhatAHistoryKnows(t *testing.T) {
	w := newWorld(t)
	w.change(500, Masks{Routed: 0b111, Up: 0b011}) // 2 dies
	w.change(510, Masks{Routed: 0b111, Up: 0b111})
	w.ask(1000, 0)
	for i := range uint32(20) {
		w.change(1010+i, Masks{Routed: 0b110 - Mask(i%2)<<2, Up: 0b111})
	}
	local := [MaxRegions]uint8{0: 1, 1: 2, 2: 0}
	for i := range local[3:] {
		local[3+i] = None
	}
	var carried History
	carried.Carry(&w.history, &local)
	all, _ := w.history.All()
	got, died := carried.All()
	if len(got) != len(all) || died != 500 || carried.downs[0].Load() != 500 {
		t.Fatalf("%d changes, last death at %d, of %d", len(got), died, carried.downs[0].Load())
	}
	for i := range all {
		want := Change{At: all[i].At, Masks: Masks{Routed: renumber(all[i].Masks.Routed, &local), Up: 0b111}}
		if got[i] != want || want.Masks.Routed.Count() != all[i].Masks.Routed.Count() {
			t.Errorf("change %d is %v, want %v", i, got[i], want)
		}
	}
	if carried.Since(1005, func(Change) bool { return true }) {
		t.Error("the carried history claims to remember all that was forgotten")
	}
}
