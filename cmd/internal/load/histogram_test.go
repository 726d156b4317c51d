package load

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// Buckets are in order, without gaps, and no wider than a 128th of their values.
func TestBuckets(t *testing.T) {
	t.Parallel()
	for i := range buckets - 1 {
		low, next := lowest(i), lowest(i+1)
		if next <= low || bucketOf(low) != i || bucketOf(next-1) != i {
			t.Fatalf("bucket %d is [%d, %d) and holds %d and %d", i, low, next, bucketOf(low), bucketOf(next-1))
		}
		if width := next - low; width > 1 && float64(width)/float64(low) > 1.0/steps {
			t.Fatalf("bucket %d: %d wide from %d on", i, width, low)
		}
	}
	if got := bucketOf(1 << 62); got != buckets-1 {
		t.Errorf("an age is in bucket %d, want the last", got)
	}
	if got := bucketOf(-5); got != 0 {
		t.Errorf("a negative duration is in bucket %d", got)
	}
}

// Quantiles are within the precision of those of the sorted values, also of two
// histograms that are merged.
func TestQuantiles(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	one, two := new(histogram), new(histogram)
	var all []int64
	for i := range 20_000 {
		v := int64(rng.ExpFloat64() * float64(time.Millisecond))
		all = append(all, v)
		if i%3 == 0 {
			one.add(v)
		} else {
			two.add(v)
		}
	}
	one.merge(two)
	one.merge(new(histogram))
	slices.Sort(all)
	for _, q := range []float64{0, 0.01, 0.5, 0.9, 0.99, 0.999, 1} {
		want := all[min(int(q*float64(len(all))), len(all)-1)]
		got := one.quantile(q)
		if diff := max(int64(got)-want, want-int64(got)); float64(diff) > float64(want)/steps+1 {
			t.Errorf("quantile %g is %v, want %v", q, got, time.Duration(want))
		}
	}
	if one.n != 20_000 || one.min != all[0] || one.max != all[len(all)-1] {
		t.Errorf("%d durations of %d to %d", one.n, one.min, one.max)
	}
	if h := new(histogram); h.quantile(0.5) != 0 || h.mean() != 0 {
		t.Error("an empty histogram has a median or a mean")
	}
}
