package geo

// Aim is where a look-up will begin: the upper half of an address, or an IPv4
// address in its highest 32 bits. It belongs to one [Index.Warm] at a time.
type Aim struct {
	Hi   uint64
	IPv6 bool
	// met is what was read. Keeping it keeps the compiler from leaving the reading
	// out.
	met uint32
}

// Warm reads the memory that look-ups of these addresses will begin with, so that
// it is in the processor's caches when they do. Each step is made for all addresses
// before the next one: the reads of one step do not wait for each other, and a
// processor makes a dozen of them in the time of one.
//
// It changes nothing, and an address that is never looked up costs only time.
func (ix *Index) Warm(aims []Aim) {
	for i := range aims {
		a := &aims[i]
		a.met = ix.treeOf(a).tops[a.Hi>>48].ref
	}
	for i := range aims {
		a := &aims[i]
		t := ix.treeOf(a)
		at := int(a.met & atMask)
		if a.met&isIndexed != 0 {
			at += int(a.Hi >> 40 & 0xff)
		}
		if a.met >= isNode {
			a.met = uint32(t.words[at])
		}
	}
}

func (ix *Index) treeOf(a *Aim) *tree {
	if a.IPv6 {
		return &ix.v6
	}
	return &ix.v4
}
