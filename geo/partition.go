package geo

import (
	"math/bits"
	"slices"
)

// address is the part of an address the coarse ranges are keyed by: all of an
// IPv4 address, the upper half of an IPv6 address.
type address interface {
	uint32 | uint64
}

// partition is an address space cut into ranges, each with a value: range i begins
// at starts[i] and ends before the next. The first begins at 0, and neighbors have
// different values.
type partition[A address] struct {
	starts []A
	values []uint16
}

func width[A address]() uint8 {
	return uint8(bits.Len64(uint64(^A(0))))
}

// find returns the range that holds a. It is for use off the path of queries.
func (p *partition[A]) find(a A) int {
	i, found := slices.BinarySearch(p.starts, a)
	if !found {
		i--
	}
	return i
}

// scope returns the length of the widest prefix that holds a and lies within
// range i, which must hold a. Such blocks are the canonical cover of the range,
// so the scopes of two addresses are either the same block or disjoint, as RFC
// 7871 section 7.2.1 demands.
func (p *partition[A]) scope(a A, i int) uint8 {
	w := int(width[A]())
	n := 0
	if i > 0 {
		n = commonBits(a, p.starts[i]-1, w) + 1
	}
	if i+1 < len(p.starts) {
		n = max(n, commonBits(a, p.starts[i+1], w)+1)
	}
	return uint8(n)
}

func commonBits[A address](a, b A, width int) int {
	return bits.LeadingZeros64(uint64(a^b)) - (64 - width)
}

// last returns the highest address of range i.
func (p *partition[A]) last(i int) A {
	if i+1 < len(p.starts) {
		return p.starts[i+1] - 1
	}
	return ^A(0)
}

// run is a range with both ends: what is laid over a partition.
type run[A address] struct {
	first, last A
	value       uint16
}

// lay returns the partition that has value of[base value] everywhere but under
// the runs, which must be sorted and disjoint. Neighbours of equal value become
// one range.
func lay[A address](base *partition[A], of []Class, over []run[A]) partition[A] {
	out := partition[A]{
		starts: make([]A, 0, len(base.starts)/2+2*len(over)+1),
		values: make([]uint16, 0, len(base.starts)/2+2*len(over)+1),
	}
	for i, start := range base.starts {
		value := uint16(of[base.values[i]])
		if len(over) == 0 || over[0].first > base.last(i) {
			out.append(start, value)
			continue
		}
		over = out.cut(run[A]{start, base.last(i), value}, over)
	}
	return out
}

// bytes is the memory the slices take.
func (p *partition[A]) bytes() int { return len(p.starts)*int(width[A]()/8) + 2*len(p.values) }

// append begins a range at start, unless the one before it has the same value.
func (p *partition[A]) append(start A, value uint16) {
	if n := len(p.values); n > 0 && p.values[n-1] == value {
		return
	}
	p.starts = append(p.starts, start)
	p.values = append(p.values, value)
}

// cut appends range r with the runs laid over it, and returns the runs that reach
// beyond it.
func (p *partition[A]) cut(r run[A], over []run[A]) []run[A] {
	at := r.first
	for len(over) > 0 && over[0].first <= r.last {
		o := over[0]
		if o.first > at {
			p.append(at, r.value)
		}
		p.append(max(o.first, r.first), o.value)
		if o.last > r.last {
			return over
		}
		over = over[1:]
		if o.last == r.last {
			return over
		}
		at = o.last + 1
	}
	p.append(at, r.value)
	return over
}

// clip returns the slices without the spare room they grew with.
func (p *partition[A]) clip() partition[A] {
	return partition[A]{
		starts: append(make([]A, 0, len(p.starts)), p.starts...),
		values: append(make([]uint16, 0, len(p.values)), p.values...),
	}
}

// widened returns the partition with its addresses in the highest bits of 64.
func (p *partition[A]) widened() *partition[uint64] {
	starts := make([]uint64, len(p.starts))
	for i, start := range p.starts {
		starts[i] = uint64(start) << (64 - width[A]())
	}
	return &partition[uint64]{starts, p.values}
}
