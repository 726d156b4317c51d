package geo

// Find4 returns the class of an IPv4 address and the length of the widest prefix
// around it in which every address has the same class. Blocks of different
// addresses are equal or disjoint.
func (ix *Index) Find4(addr uint32) (Class, uint8) {
	value, scope := ix.v4.find(uint64(addr)<<32, 0)
	return Class(value), scope
}

// Find6 does for an IPv6 address, given as its upper and lower half, what Find4
// does for an IPv4 address. An address that carries an IPv4 address should go
// through [Unwrap] and Find4; here it is unlocated.
func (ix *Index) Find6(hi, lo uint64) (Class, uint8) {
	value, scope := ix.v6.find(hi, lo)
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
func (ix *Index) Len4() int { return ix.v4.ranges }

// Len6 is the number of IPv6 ranges.
func (ix *Index) Len6() int { return ix.v6.ranges }

// Bytes is about how much memory the index takes, without its table.
func (ix *Index) Bytes() int { return ix.v4.bytes() + ix.v6.bytes() + len(ix.ranks) }
