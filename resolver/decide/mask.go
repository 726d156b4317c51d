package decide

import "math/bits"

// lowest returns the lowest region of a mask that is not empty.
func lowest(m Mask) uint8 { return uint8(bits.TrailingZeros64(uint64(m))) }

// Position returns how many regions of m stand below region: the place of
// region in a list that holds one entry per region of m, in order.
func (m Mask) Position(region uint8) int {
	return bits.OnesCount64(uint64(m) & (1<<region - 1))
}

// Count returns how many regions m holds.
func (m Mask) Count() int { return bits.OnesCount64(uint64(m)) }
