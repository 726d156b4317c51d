package app

import (
	"iter"
	"time"

	"portolan.dev/resolver"
	"portolan.dev/resolver/decide"
)

// maxSwaps bounds how many moments of replacement are remembered.
const maxSwaps = 16

// carryHistory takes what clients' holds depend on from one world to the next: the
// changes of each registry that both have, translated to the new region numbers,
// and the moment of the replacement itself, which is a change like any other.
func carryHistory(old, next *World, now time.Time) {
	before, after := old.Compiled.Snapshot, next.Compiled.Snapshot
	after.Swaps = before.Swaps
	if old.sum != next.sum {
		// A replacement that moves nobody is no change: taking it for one would begin
		// the holds of a later change too early.
		swaps := append(append([]uint32(nil), before.Swaps...), uint32(now.Unix()))
		after.Swaps = swaps[max(0, len(swaps)-maxSwaps):]
	}
	numbers := renumbering(before, after)
	for was, is := range both(old, next) {
		after.Live[is].History.Carry(&before.Live[was].History, &numbers)
	}
}

// both gives the numbers of every registry that two worlds have, in the order of the
// second. Most have the same number in both, and are found without looking for them.
func both(old, next *World) iter.Seq2[int, int] {
	return func(yield func(was, is int) bool) {
		before, after := old.Compiled.Snapshot.Registries, next.Compiled.Snapshot.Registries
		shift := 0 // of the numbers, since the last that was looked for
		for is := range after {
			was := is + shift
			if was < 0 || was >= len(before) || before[was].Key != after[is].Key {
				found, ok := old.Compiled.Index[after[is].Key]
				if !ok {
					continue
				}
				was, shift = found, found-is
			}
			if !yield(was, is) {
				return
			}
		}
	}
}

// renumbering gives the new number of each region of the snapshot before;
// decide.None for one that is gone, and for numbers that were not in use.
func renumbering(before, after *resolver.Snapshot) (numbers [decide.MaxRegions]uint8) {
	for i := range numbers {
		numbers[i] = decide.None
	}
	for i := range before.Regions {
		numbers[i] = after.Local[before.Stable[i]]
	}
	return numbers
}
