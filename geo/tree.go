package geo

import (
	"math/bits"
	"slices"
)

// tree is a partition of an address space made for look-ups that find nothing in
// the processor's caches. It goes down by 16 bits of the address at a time and
// touches as little memory as it can at each step:
//
//	tops    one for each value of the first 16 bits: the value and scope for all
//	        of it, or its node
//	words   the nodes, each in one piece:
//	          index   if isIndexed: for each value of the upper 8 bits of a
//	                  digit, the range that holds the lowest such digit
//	          digits  the first 16-bit digit of each range; the lowest is 0
//	          links   what each range holds: a value of one word or, if isWide,
//	                  a link of three, to a value or to the node of one digit
//
// What must be known to search a node is in the link to it, so that the search does
// not wait for the node twice.
//
// A node has two ranges or more, so no address under it has a scope that reaches
// out of it: the scope is found in the last node alone.
//
// One array of sorted ranges with an index, the usual structure, needs twice the
// time: its starts, values and index lie in different pages.
type tree struct {
	tops  []top
	words []uint16
	// ranges is how many ranges of the address space the tree was made of.
	ranges int
}

// link leads to a value, or to a node: then ref has isNode, and what is below the
// flags counts words.
type link struct {
	ref  uint32
	more uint16 // how many ranges of the node there are after the first
}

type top struct {
	link
	scope uint8 // of a value
}

const (
	isNode    = 1 << 31
	isWide    = 1 << 30
	isIndexed = 1 << 29
	atMask    = isIndexed - 1

	// wideWords is the size of a link in a wide node: the halves of ref, more.
	wideWords = 3
	// indexFrom is the number of ranges from which a node has an index. Fewer
	// are searched within two or three cache lines.
	indexFrom  = 128
	indexWords = 1 << 8
)

// newTree makes a tree of the ranges of s, which are those of the first 64 bits of
// the addresses. Where a value is inFine, the /64s of the range are in fine,
// sorted, one by one.
func newTree(s *partition[uint64], fine []fineBlock) tree {
	b := treeBuilder{fine: fine, tree: tree{
		tops: make([]top, 1<<16), words: make([]uint16, 0, 3*len(s.starts)), ranges: len(s.starts),
	}}
	first := 0 // the range that holds the lowest address of the top
	for g := range b.tops {
		base, end := uint64(g)<<48, uint64(g)<<48|(1<<48-1)
		for s.last(first) < base {
			first++
		}
		if s.last(first) >= end && s.values[first] != inFine {
			b.tops[g] = top{link{ref: uint32(s.values[first])}, s.scope(base, first)}
			continue
		}
		b.tops[g].link, _ = b.node(s, first, base, 16)
	}
	b.words = append(make([]uint16, 0, len(b.words)), b.words...)
	return b.tree
}

type treeBuilder struct {
	tree
	fine []fineBlock // those not built yet
	// entries are those of the node in the making at each level; a node inside a
	// fine block is levels below one outside.
	entries [8][]entry
	level   int
}

// entry is a range of digits in the making.
type entry struct {
	digit uint16
	link
}

// node builds the node for the addresses whose first depth bits are those of base.
// Range i of s holds the lowest of them. It returns the node and the range that
// holds the highest.
func (b *treeBuilder) node(s *partition[uint64], i int, base uint64, depth int) (l link, last int) {
	shift := 48 - depth // bits below the digit
	end := base | (1<<(64-depth) - 1)
	level := b.level
	b.level++
	entries := b.entries[level][:0]
	for at := base; ; {
		for s.last(i) < at {
			i++
		}
		digitEnd := at | (1<<shift - 1)
		e := entry{uint16(at >> shift), link{ref: uint32(s.values[i])}}
		switch {
		case s.values[i] == inFine && shift == 0:
			e.link, _ = b.node(&b.fine[0].partition, 0, 0, 0)
			b.fine = b.fine[1:]
		case s.values[i] == inFine || s.last(i) < digitEnd:
			e.link, i = b.node(s, i, at, depth+16)
		default:
			// All the whole digits of the range are one entry.
			digitEnd = min(s.last(i), end)
			if digitEnd != end {
				digitEnd = (digitEnd+1)>>shift<<shift - 1
			}
		}
		entries = append(entries, e)
		if digitEnd == end {
			b.entries[level], b.level = entries, level
			return b.put(entries), i
		}
		at = digitEnd + 1
	}
}

// put writes a node and returns the link to it.
func (b *treeBuilder) put(entries []entry) link {
	l := link{ref: isNode | uint32(len(b.words)), more: uint16(len(entries) - 1)}
	if slices.ContainsFunc(entries, func(e entry) bool { return e.ref >= isNode }) {
		l.ref |= isWide
	}
	if len(entries) >= indexFrom {
		l.ref |= isIndexed
		b.putIndex(entries)
	}
	for _, e := range entries {
		b.words = append(b.words, e.digit)
	}
	for _, e := range entries {
		b.words = append(b.words, uint16(e.ref))
		if l.ref&isWide != 0 {
			b.words = append(b.words, uint16(e.ref>>16), e.more)
		}
	}
	return l
}

func (b *treeBuilder) putIndex(entries []entry) {
	i := 0
	for upper := range indexWords {
		for i+1 < len(entries) && int(entries[i+1].digit) <= upper<<8 {
			i++
		}
		b.words = append(b.words, uint16(i))
	}
}

// find returns the value at an address, which begins at the highest bit of hi, and
// the scope of the answer.
func (t *tree) find(hi, lo uint64) (value uint16, scope uint8) {
	top := t.tops[hi>>48]
	l, scope := top.link, top.scope
	for depth := uint8(16); l.ref >= isNode; depth += 16 {
		hi, lo = hi<<16|lo>>48, lo<<16
		digit := uint16(hi >> 48)
		node := t.words[l.ref&atMask:]
		more := int(l.more)
		i, n := 0, more+1
		if l.ref&isIndexed != 0 {
			i, n = indexed(node, digit, more)
			node = node[indexWords:]
		}
		digits, links := node[:more+1], node[more+1:]
		i = search(digits, digit, i, n)
		scope = depth + scopeIn(digits, digit, i)
		if l.ref&isWide == 0 {
			return links[i], scope
		}
		w := links[wideWords*i:]
		l = link{uint32(w[0]) | uint32(w[1])<<16, w[2]}
	}
	return uint16(l.ref), scope
}

// indexed returns the first of the ranges that can hold a digit, and how many can.
func indexed(index []uint16, digit uint16, more int) (i, n int) {
	upper := int(digit >> 8)
	i, last := int(index[upper]), more
	if upper+1 < indexWords {
		last = int(index[upper+1])
	}
	return i, last - i + 1
}

// search returns which of the n ranges from i on holds a digit. No branch in the
// loop depends on what is compared: the processor would guess every other one
// wrong.
func search(digits []uint16, digit uint16, i, n int) int {
	for n > 1 {
		half := n / 2
		if digits[i+half] <= digit {
			i += half
		}
		n -= half
	}
	return i
}

// scopeIn returns how many bits of the digit belong to the widest block around it
// in range i: the rule of partition.scope, within one node.
func scopeIn(digits []uint16, digit uint16, i int) uint8 {
	n := 0
	if i > 0 {
		n = bits.LeadingZeros16(digit^(digits[i]-1)) + 1
	}
	if i+1 < len(digits) {
		n = max(n, bits.LeadingZeros16(digit^digits[i+1])+1)
	}
	return uint8(n)
}

// bytes is the memory the arrays take.
func (t *tree) bytes() int { return 8*len(t.tops) + 2*len(t.words) }
