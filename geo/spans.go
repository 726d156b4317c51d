package geo

import (
	"math/bits"
)

// address is the part of an address the coarse ranges are keyed by: all of an
// IPv4 address, the upper half of an IPv6 address.
type address interface {
	uint32 | uint64
}

// spans is a partition of an address space into ranges, each with a value.
//
//	groups   one for each value of the top 16 bits:  first bucket, shift
//	             |
//	buckets  a group has a power of two of them:     the range that holds
//	             |                                   the bucket's lowest address
//	starts   sorted, starts[0] = 0:                  range i is
//	values   of the same length                      [starts[i], starts[i+1])
//
// It is built once (newSpans) and then only read. There are no pointers in the
// arrays, so the garbage collector does not look into them.
//
// The number of buckets in a group follows the number of ranges in it, because
// allocated IPv6 space is crowded into a few /16s: an index of fixed stride is
// either too big for the cache or leaves long searches where the queries are.
type spans[A address] struct {
	starts  []A
	values  []uint16
	groups  []group
	buckets []uint32
	top     uint8 // how many bits lie below the top 16
}

type group struct {
	first uint32
	shift uint8
}

// rangesPerBucket is the mean load the buckets are made for; what is left is
// searched in one or two cache lines.
const rangesPerBucket = 4

// newSpans indexes the ranges. starts must begin with 0 and rise strictly.
// It keeps both slices.
func newSpans[A address](starts []A, values []uint16) spans[A] {
	s := spans[A]{starts: starts, values: values, top: width[A]() - 16}
	s.groups = make([]group, 1<<16)
	s.buckets = make([]uint32, 0, 1<<16+len(starts)/2)
	r := 0 // the range that holds the lowest address of the current bucket
	for g := range s.groups {
		base := A(g) << s.top
		n := s.rangesIn(r, g)
		log := min(bits.Len(uint(n/rangesPerBucket)), int(s.top), 20)
		s.groups[g] = group{first: uint32(len(s.buckets)), shift: width[A]() - uint8(log)}
		for b := range 1 << log {
			low := base | A(b)<<(int(s.top)-log)
			for r+1 < len(starts) && starts[r+1] <= low {
				r++
			}
			s.buckets = append(s.buckets, uint32(r))
		}
	}
	s.buckets = append(s.buckets, uint32(len(starts)-1))
	return s
}

// rangesIn counts the ranges from r on that begin in group g.
func (s *spans[A]) rangesIn(r, g int) int {
	i := r + 1
	for i < len(s.starts) && int(s.starts[i]>>s.top) <= g {
		i++
	}
	return i - r - 1
}

func width[A address]() uint8 {
	return uint8(bits.Len64(uint64(^A(0))))
}

// find returns the number of the range that holds a.
func (s *spans[A]) find(a A) int {
	g := s.groups[uint16(a>>s.top)]
	b := g.first + uint32(a<<16>>g.shift)
	lo, hi := s.buckets[b], s.buckets[b+1]
	for lo < hi {
		mid := hi - (hi-lo)/2
		if s.starts[mid] <= a {
			lo = mid
		} else {
			hi = mid - 1
		}
	}
	return int(lo)
}

// scope returns the length of the widest prefix that holds a and lies within
// range i, which must hold a. Such blocks are the canonical cover of the range,
// so the scopes of two addresses are either the same block or disjoint, as RFC
// 7871 section 7.2.1 demands.
func (s *spans[A]) scope(a A, i int) uint8 {
	w := int(width[A]())
	n := 0
	if i > 0 {
		n = commonBits(a, s.starts[i]-1, w) + 1
	}
	if i+1 < len(s.starts) {
		n = max(n, commonBits(a, s.starts[i+1], w)+1)
	}
	return uint8(n)
}

func commonBits[A address](a, b A, width int) int {
	return bits.LeadingZeros64(uint64(a^b)) - (64 - width)
}

// last returns the highest address of range i.
func (s *spans[A]) last(i int) A {
	if i+1 < len(s.starts) {
		return s.starts[i+1] - 1
	}
	return ^A(0)
}

// bytes is the memory the arrays take.
func (s *spans[A]) bytes() int {
	return len(s.starts)*int(width[A]()/8) + 2*len(s.values) + 8*len(s.groups) + 4*len(s.buckets)
}

// run is a range with both ends: what is laid over a partition.
type run[A address] struct {
	first, last A
	value       uint16
}

// lay returns the partition that has value of[base value] everywhere but under
// the runs, which must be sorted and disjoint. Neighbours of equal value become
// one range.
func lay[A address](base *spans[A], of []Class, over []run[A]) spans[A] {
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
	return newSpans(out.clip())
}

// partition is a list of ranges in the making.
type partition[A address] struct {
	starts []A
	values []uint16
}

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
func (p *partition[A]) clip() ([]A, []uint16) {
	return append(make([]A, 0, len(p.starts)), p.starts...), append(make([]uint16, 0, len(p.values)), p.values...)
}
