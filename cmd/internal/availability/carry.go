package availability

import (
	"time"

	"portolan.dev/resolver"
	"portolan.dev/resolver/compile"
	"portolan.dev/resolver/decide"
)

// maxSwaps bounds how many moments of replacement are remembered.
const maxSwaps = 16

// carryHistory takes what clients' holds depend on from one configuration to the next:
// the changes of each registry that both have, translated to the new region numbers,
// and the moment of the replacement itself, which is a change like any other.
func carryHistory(old, next *Configuration, now time.Time) {
	before, after := old.Compiled.Snapshot, next.Compiled.Snapshot
	after.Swaps = before.Swaps
	if old.Sum != next.Sum {
		// A replacement that moves nobody is no change: taking it for one would begin
		// the holds of a later change too early.
		swaps := append(append([]uint32(nil), before.Swaps...), uint32(now.Unix()))
		after.Swaps = swaps[max(0, len(swaps)-maxSwaps):]
	}
	numbers := renumbering(before, after)
	for was, is := range compile.Pairs(old.Compiled, next.Compiled) {
		after.Live[is].History.Carry(&before.Live[was].History, &numbers)
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
