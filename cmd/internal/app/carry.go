package app

import (
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
	swaps := append(append([]uint32(nil), before.Swaps...), uint32(now.Unix()))
	after.Swaps = swaps[max(0, len(swaps)-maxSwaps):]
	for key, i := range next.Compiled.Index {
		j, ok := old.Compiled.Index[key]
		if !ok {
			continue
		}
		changes, lastDown := before.Live[j].History.All()
		for _, c := range changes {
			c.Masks.Routed = translate(c.Masks.Routed, before, after)
			c.Masks.Up = translate(c.Masks.Up, before, after)
			after.Live[i].History.Note(c, c.At == lastDown)
		}
	}
}

// translate gives the bits of a mask the region numbers of another snapshot.
func translate(m decide.Mask, before, after *resolver.Snapshot) decide.Mask {
	var out decide.Mask
	for r := uint8(0); m>>r != 0 && r < decide.MaxRegions; r++ {
		if local := after.Local[before.Stable[r]]; m.Has(r) && local < decide.MaxRegions {
			out = out.With(local, true)
		}
	}
	return out
}
