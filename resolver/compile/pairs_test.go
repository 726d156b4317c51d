package compile

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"portolan.dev/resolver"
)

// TestPairs looks for the registries of one result in another that has some of them, some
// more, some elsewhere, and some under another key.
func TestPairs(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(7, 8))
	resultOf := func(names []int) *Result {
		r := &Result{Snapshot: new(resolver.Snapshot)}
		for _, n := range names {
			r.Snapshot.Registries = append(r.Snapshot.Registries, resolver.Registry{Key: fmt.Sprint("r", rng.IntN(9)), Name: fmt.Sprint("n", n)})
		}
		return r
	}
	for range 300 {
		before, after := rng.Perm(30)[:rng.IntN(31)], []int(nil)
		for _, k := range before {
			switch rng.IntN(8) {
			case 0:
			case 1:
				after = append(after, k+100, k)
			default:
				after = append(after, k)
			}
		}
		if rng.IntN(4) == 0 {
			rng.Shuffle(len(after), func(i, j int) { after[i], after[j] = after[j], after[i] })
		}
		want := make(map[int]int)
		for is, n := range after {
			if was := slices.Index(before, n); was >= 0 {
				want[was] = is
			}
		}
		if got := maps.Collect(Pairs(resultOf(before), resultOf(after))); !maps.Equal(got, want) {
			t.Fatalf("%v, want %v", got, want)
		}
	}
}
