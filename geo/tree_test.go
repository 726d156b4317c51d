package geo

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestTreeAgainstPartition fills nodes at each level from nearly empty to full, so
// that they are of every form, and compares with the ranges they are made of.
func TestTreeAgainstPartition(t *testing.T) {
	t.Parallel()
	for seed, n := range []int{1, 2, 10, 100, 127, 128, 129, 1000, 20000, 80000} {
		for _, shift := range []int{0, 16, 32, 40, 48} {
			rnd := rand.New(rand.NewPCG(uint64(seed), uint64(shift)))
			p := densePartition(rnd, n, shift)
			tree := newTree(p, nil)
			for i, start := range p.starts {
				for _, a := range []uint64{start, start - 1, start + 1, p.last(i), start ^ rnd.Uint64()>>rnd.IntN(64)} {
					at := p.find(a)
					value, scope := tree.find(a, rnd.Uint64())
					if value != p.values[at] || scope != p.scope(a, at) {
						t.Fatalf("%d ranges of 1<<%d: %#x: value %d scope %d, want %d and %d",
							n, shift, a, value, scope, p.values[at], p.scope(a, at))
					}
				}
			}
		}
	}
}

// densePartition has about n ranges that begin at multiples of 1<<shift, half of
// them in one crowd.
func densePartition(rnd *rand.Rand, n, shift int) *partition[uint64] {
	starts := []uint64{0}
	for i := range n - 1 {
		offset := rnd.Uint64N(uint64(2 * n))
		if i%2 == 0 {
			offset = rnd.Uint64() >> shift
		}
		starts = append(starts, 0x2600<<48+offset<<shift)
	}
	slices.Sort(starts)
	p := &partition[uint64]{}
	for _, s := range slices.Compact(starts) {
		p.append(s, uint16(rnd.IntN(maxClass)))
	}
	return p
}
