package app

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"portolan.dev/resolver"
	"portolan.dev/resolver/compile"
)

// TestBoth looks for the registries of one world in another that has some of them, some
// more, and some elsewhere.
func TestBoth(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(7, 8))
	worldOf := func(keys []int) *World {
		w := &World{Compiled: &compile.Result{Snapshot: new(resolver.Snapshot), Index: make(map[string]int)}}
		for i, k := range keys {
			key := fmt.Sprint("r", k)
			w.Compiled.Snapshot.Registries = append(w.Compiled.Snapshot.Registries, resolver.Registry{Key: key})
			w.Compiled.Index[key] = i
		}
		return w
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
		old, next := worldOf(before), worldOf(after)
		want := make(map[int]int)
		for key, is := range next.Compiled.Index {
			if was, ok := old.Compiled.Index[key]; ok {
				want[was] = is
			}
		}
		if got := maps.Collect(both(old, next)); !maps.Equal(got, want) {
			t.Fatalf("%v, want %v", got, want)
		}
	}
}
