package geo

import "slices"

// Find4 returns the class of an IPv4 address and the length of the widest prefix
// around it in which every address has the same class. Blocks of different
// addresses are equal or disjoint.
func (ix *Index) Find4(addr uint32) (Class, uint8) {
	i := ix.v4.find(addr)
	return Class(ix.v4.values[i]), ix.v4.scope(addr, i)
}

// Find6 does for an IPv6 address, given as its upper and lower half, what Find4
// does for an IPv4 address. An address that carries an IPv4 address should go
// through [Unwrap] and Find4; here it is unlocated.
func (ix *Index) Find6(hi, lo uint64) (Class, uint8) {
	i := ix.v6.find(hi)
	if v := ix.v6.values[i]; v <= maxClass {
		return Class(v), ix.v6.scope(hi, i)
	}
	return ix.find6Rare(hi, lo, i)
}

// find6Rare is apart to keep the common path of Find6 small.
func (ix *Index) find6Rare(hi, lo uint64, i int) (Class, uint8) {
	value, scope := ix.v6.values[i], uint8(0)
	if value == inFine {
		at, _ := slices.BinarySearchFunc(ix.fine, hi, func(b fineBlock, hi uint64) int {
			if b.hi < hi {
				return -1
			}
			if b.hi > hi {
				return 1
			}
			return 0
		})
		value, scope = ix.fine[at].find(lo)
	}
	if value == isWrapped {
		return ClassUnlocated, wrappedScope(hi)
	}
	return Class(value), scope
}

// Rank returns the numbers of all regions for a class, the best first. The slice
// is the index's own: do not change it. A class that did not come from this index
// panics.
func (ix *Index) Rank(c Class) []uint8 {
	at := int(c) * ix.n
	return ix.ranks[at : at+ix.n : at+ix.n]
}

// Site returns the number of the site of a class, or -1.
func (ix *Index) Site(c Class) int {
	if i := int(c) - int(firstSiteClass); i >= 0 && i < len(ix.sites) {
		return i
	}
	return -1
}

// Classes is the number of classes: every class is below it.
func (ix *Index) Classes() int { return len(ix.ranks) / ix.n }

// Len4 is the number of IPv4 ranges.
func (ix *Index) Len4() int { return len(ix.v4.starts) }

// Len6 is the number of IPv6 ranges.
func (ix *Index) Len6() int { return len(ix.v6.starts) }

// Bytes is about how much memory the index takes, without its table.
func (ix *Index) Bytes() int { return ix.v4.bytes() + ix.v6.bytes() + len(ix.ranks) }
