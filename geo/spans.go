package geo

import (
	"math/bits"
)

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
	partition[A]
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
func newSpans[A address](p partition[A]) spans[A] {
	starts := p.starts
	s := spans[A]{partition: p, top: width[A]() - 16}
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

// bytes is the memory the arrays take.
func (s *spans[A]) bytes() int {
	return len(s.starts)*int(width[A]()/8) + 2*len(s.values) + 8*len(s.groups) + 4*len(s.buckets)
}
