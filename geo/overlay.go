package geo

import (
	"math"
	"math/bits"
	"slices"
)

// overlay is what an index lays over the ranges of its table, as sorted ranges of one
// family: sites, special-purpose blocks, blocks that carry IPv4 addresses, and
// [ClassUnlocated] between them. Range i begins at starts[i]; the first begins at the
// lowest address.
type overlay struct {
	starts  []position
	classes []uint16
}

// overlays returns the disjoint blocks that an index lays over its table, sorted.
func overlays(sites []Site) (v4, v6 []block, err error) {
	sites4, sites6, err := siteBlocks(sites)
	if err != nil {
		return nil, nil, err
	}
	special4, special6 := splitFamilies(specialBlocks(), uint16(ClassSpecial))
	_, wrapped := splitFamilies(wrappedBlocks(), isWrapped)
	v4 = flatten(append(withoutCovered(special4, sites4), sites4...))
	v6 = flatten(slices.Concat(withoutCovered(special6, sites6), sites6, wrapped))
	return v4, v6, nil
}

func newOverlay(blocks []block) overlay {
	o := overlay{make([]position, 0, 2*len(blocks)+1), make([]uint16, 0, 2*len(blocks)+1)}
	at, done := position{}, false
	for _, b := range blocks {
		if at.compare(b.first) < 0 {
			o.append(at, uint16(ClassUnlocated))
		}
		o.append(b.first, b.class)
		at, done = b.last.next(), b.last == end()
	}
	if !done {
		o.append(at, uint16(ClassUnlocated))
	}
	return o
}

// append begins a range at start, unless the one before it has the same class.
func (o *overlay) append(start position, class uint16) {
	if n := len(o.classes); n > 0 && o.classes[n-1] == class {
		return
	}
	o.starts, o.classes = append(o.starts, start), append(o.classes, class)
}

// find returns the class of an address, and the length of the widest prefix around it
// with the same class: the rule of partition.scope.
func (o *overlay) find(p position) (class uint16, scope uint8) {
	i, n := 0, len(o.starts)
	for n > 1 { // starts[i] <= p
		half := n / 2
		if o.starts[i+half].compare(p) <= 0 {
			i += half
		}
		n -= half
	}
	same := 0
	if i > 0 {
		same = p.common(o.starts[i].previous()) + 1
	}
	if i+1 < len(o.starts) {
		same = max(same, p.common(o.starts[i+1])+1)
	}
	return o.classes[i], uint8(same)
}

// last returns the highest address of range i.
func (o *overlay) last(i int) position {
	if i+1 < len(o.starts) {
		return o.starts[i+1].previous()
	}
	return end()
}

// common is how many leading bits two addresses share.
func (p position) common(q position) int {
	if p.hi != q.hi {
		return bits.LeadingZeros64(p.hi ^ q.hi)
	}
	return 64 + bits.LeadingZeros64(p.lo^q.lo)
}

// end is the highest address of either family.
func end() position { return position{math.MaxUint64, math.MaxUint64} }

func highest(p, q position) position {
	if p.compare(q) < 0 {
		return q
	}
	return p
}

func lowest(p, q position) position {
	if p.compare(q) < 0 {
		return p
	}
	return q
}

// equal reports whether two overlays have the same ranges, with the units of u in the
// one and those of v in the other.
func (o *overlay) equal(p *overlay, u, v *Units) bool {
	if !slices.Equal(o.starts, p.starts) {
		return false
	}
	for i := range o.classes {
		a, b := Class(o.classes[i]), Class(p.classes[i])
		if u.site(a) != v.site(b) || (a == ClassSpecial) != (b == ClassSpecial) {
			return false
		}
	}
	return true
}
