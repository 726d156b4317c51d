package compile

import "iter"

// Pairs gives the numbers of every registry that two results have, in the order of the
// second. A registry is the same if it is served under the same global name: what
// clients were given belongs to the name, whatever the configuration calls it.
func Pairs(old, next *Result) iter.Seq2[int, int] {
	return func(yield func(was, is int) bool) {
		before, after := old.Snapshot.Registries, next.Snapshot.Registries
		var byName map[string]int
		shift := 0 // of the numbers, since the last that was looked for
		for is := range after {
			// Most have the same number in both, and are found without looking for them.
			was := is + shift
			if was < 0 || was >= len(before) || before[was].Name != after[is].Name {
				if byName == nil {
					byName = make(map[string]int, len(before))
					for i := range before {
						byName[before[i].Name] = i
					}
				}
				found, ok := byName[after[is].Name]
				if !ok {
					continue
				}
				was, shift = found, found-is
			}
			if !yield(was, is) {
				return
			}
		}
	}
}
