package geo

import (
	"cmp"
	"encoding/binary"
	"math"
	"net/netip"
	"slices"
)

// position is an address of either family, its first bit in the highest bit of
// hi, so that a prefix length means the same for both.
type position struct{ hi, lo uint64 }

func (p position) compare(q position) int {
	return cmp.Or(cmp.Compare(p.hi, q.hi), cmp.Compare(p.lo, q.lo))
}

func (p position) next() position {
	if p.lo == math.MaxUint64 {
		return position{p.hi + 1, 0}
	}
	return position{p.hi, p.lo + 1}
}

func (p position) previous() position {
	if p.lo == 0 {
		return position{p.hi - 1, math.MaxUint64}
	}
	return position{p.hi, p.lo - 1}
}

// block is a prefix, or a part of one, with the class of its addresses.
type block struct {
	first, last position
	class       uint16
}

// blockOf returns the block of a prefix, whose address may have host bits.
func blockOf(prefix netip.Prefix, class uint16) block {
	addr, n := prefix.Addr(), prefix.Bits()
	var p position
	if addr.Is4() {
		a := addr.As4()
		p.hi = uint64(binary.BigEndian.Uint32(a[:])) << 32
	} else {
		a := addr.As16()
		p = position{binary.BigEndian.Uint64(a[:8]), binary.BigEndian.Uint64(a[8:])}
	}
	host := position{uint64(math.MaxUint64) >> min(n, 64), uint64(math.MaxUint64) >> max(n-64, 0)}
	return block{
		first: position{p.hi &^ host.hi, p.lo &^ host.lo},
		last:  position{p.hi | host.hi, p.lo | host.lo},
		class: class,
	}
}

// flatten turns nested blocks into disjoint ones, sorted, where the most specific
// block has each address. Blocks must be prefixes: disjoint or nested.
func flatten(blocks []block) []block {
	slices.SortStableFunc(blocks, func(a, b block) int {
		return cmp.Or(a.first.compare(b.first), b.last.compare(a.last))
	})
	f := flattener{out: make([]block, 0, 2*len(blocks))}
	for _, b := range blocks {
		f.closeBefore(b.first)
		if n := len(f.open); n > 0 && f.at.compare(b.first) < 0 {
			f.out = append(f.out, block{f.at, b.first.previous(), f.open[n-1].class})
		}
		f.at = b.first
		f.open = append(f.open, b)
	}
	for len(f.open) > 0 {
		f.close()
	}
	return f.out
}

// flattener sweeps over sorted blocks.
type flattener struct {
	out  []block
	open []block // the blocks around the sweep, innermost last
	at   position
	done bool // the highest address has been given away; at has wrapped
}

func (f *flattener) closeBefore(p position) {
	for len(f.open) > 0 && f.open[len(f.open)-1].last.compare(p) < 0 {
		f.close()
	}
}

// close ends the innermost block and gives it what its inner blocks left.
func (f *flattener) close() {
	inner := f.open[len(f.open)-1]
	f.open = f.open[:len(f.open)-1]
	if f.done || f.at.compare(inner.last) > 0 {
		return
	}
	f.out = append(f.out, block{f.at, inner.last, inner.class})
	f.at = inner.last.next()
	f.done = f.at == position{}
}

// fineBlock is an IPv6 /64 of which not all addresses have the same class, with
// the partition of the lower halves.
type fineBlock struct {
	hi uint64
	partition[uint64]
}

// runs4 turns blocks of IPv4 addresses into runs.
func runs4(blocks []block) []run[uint32] {
	runs := make([]run[uint32], len(blocks))
	for i, b := range blocks {
		runs[i] = run[uint32]{uint32(b.first.hi >> 32), uint32(b.last.hi >> 32), b.class}
	}
	return runs
}

// runs6 turns blocks of IPv6 addresses into runs of /64s, and the /64s that lie
// under no single block into fine blocks, sorted. under gives the class a /64 has
// where no block covers it. The run of a fine block has the value inFine.
func runs6(blocks []block, under func(hi uint64) uint16) ([]run[uint64], []fineBlock) {
	var c cutter
	for _, b := range blocks {
		c.add(b)
	}
	fine := make([]fineBlock, 0, len(c.fine))
	for _, f := range c.fine {
		full := f.fill(under(f.hi))
		if len(full.starts) == 1 {
			// The blocks turned out to fill the /64 with one class.
			c.runs[f.run].value = full.values[0]
			continue
		}
		fine = append(fine, full)
	}
	return c.runs, fine
}

type cutter struct {
	runs []run[uint64]
	fine []roughBlock
}

// roughBlock is a /64 with the blocks in it, before the gaps are filled.
type roughBlock struct {
	hi   uint64
	run  int           // the run that stands for it
	runs []run[uint64] // of the lower half
}

// add cuts a block at the borders of /64s: a partial /64, whole /64s, a partial
// /64, of which any may be missing.
func (c *cutter) add(b block) {
	first, last := b.first, b.last
	if first.lo != 0 || (first.hi == last.hi && last.lo != math.MaxUint64) {
		end := uint64(math.MaxUint64)
		if first.hi == last.hi {
			end = last.lo
		}
		c.addFine(first.hi, run[uint64]{first.lo, end, b.class})
		if first.hi == last.hi {
			return
		}
		first = position{first.hi + 1, 0}
	}
	whole := last.hi
	if last.lo != math.MaxUint64 {
		whole--
	}
	if first.hi <= whole && whole <= last.hi {
		c.runs = append(c.runs, run[uint64]{first.hi, whole, b.class})
	}
	if last.lo != math.MaxUint64 {
		c.addFine(last.hi, run[uint64]{0, last.lo, b.class})
	}
}

func (c *cutter) addFine(hi uint64, r run[uint64]) {
	if n := len(c.fine); n == 0 || c.fine[n-1].hi != hi {
		c.fine = append(c.fine, roughBlock{hi: hi, run: len(c.runs)})
		c.runs = append(c.runs, run[uint64]{hi, hi, inFine})
	}
	f := &c.fine[len(c.fine)-1]
	f.runs = append(f.runs, r)
}

// fill gives the addresses of the /64 that no block covers the class under.
func (f roughBlock) fill(under uint16) fineBlock {
	var p partition[uint64]
	p.cut(run[uint64]{0, math.MaxUint64, under}, f.runs)
	return fineBlock{f.hi, p}
}
