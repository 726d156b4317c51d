package load

import (
	"math/bits"
	"time"
)

const (
	// subBits is the precision: each power of two is cut into as many linear steps
	// as these bits count, so that a value is off by less than one part in 128.
	subBits = 7
	steps   = 1 << subBits
	// buckets is enough for every duration of up to 2^40 ns, some 18 minutes; what is
	// longer falls into the last one.
	maxBits = 40
	buckets = (maxBits - subBits + 1) * steps
)

// histogram counts durations with a relative error below 1/128, in constant
// memory: linear up to 128 ns, then 128 steps for each power of two. The zero
// value is ready for use by one goroutine.
type histogram struct {
	counts [buckets]uint64
	n      uint64
	sum    float64
	min    int64
	max    int64
}

// bucketOf returns the bucket of v nanoseconds.
func bucketOf(v int64) int {
	u := uint64(max(v, 0))
	if u < steps {
		return int(u)
	}
	shift := bits.Len64(u) - 1 - subBits
	return min((shift+1)*steps+int(u>>shift)-steps, buckets-1)
}

// lowest returns the smallest value of a bucket.
func lowest(bucket int) int64 {
	if bucket < steps {
		return int64(bucket)
	}
	shift := bucket/steps - 1
	return int64(steps+bucket%steps) << shift
}

// add counts one duration of v nanoseconds.
func (h *histogram) add(v int64) {
	v = max(v, 0)
	if h.n == 0 || v < h.min {
		h.min = v
	}
	h.max = max(h.max, v)
	h.n++
	h.sum += float64(v)
	h.counts[bucketOf(v)]++
}

// merge adds what other has counted.
func (h *histogram) merge(other *histogram) {
	if other.n == 0 {
		return
	}
	if h.n == 0 || other.min < h.min {
		h.min = other.min
	}
	h.max = max(h.max, other.max)
	h.n += other.n
	h.sum += other.sum
	for i, c := range other.counts {
		h.counts[i] += c
	}
}

// quantile returns the value that a share q (0 to 1) of the durations does not
// exceed, to the precision of the histogram; 0 if there are none.
func (h *histogram) quantile(q float64) time.Duration {
	if h.n == 0 {
		return 0
	}
	rank := min(uint64(q*float64(h.n)), h.n-1)
	seen := uint64(0)
	for i, c := range h.counts {
		if seen += c; seen > rank {
			middle := lowest(i) + (lowest(i+1)-lowest(i))/2
			return time.Duration(min(max(middle, h.min), h.max))
		}
	}
	return time.Duration(h.max)
}

// mean returns the mean duration, 0 if there are none.
func (h *histogram) mean() time.Duration {
	if h.n == 0 {
		return 0
	}
	return time.Duration(h.sum / float64(h.n))
}
