package compile

import (
	"iter"

	"portolan.dev/resolver"
)

// Pairs gives the numbers of every registry that two results have, in the order of the
// second. A registry is the same if it is served under the same global name: what
// clients were given belongs to the name, whatever the configuration calls it.
func Pairs(old, next *Result) iter.Seq2[int, int] {
	return func(yield func(was, is int) bool) {
		p := pairing{before: old.Snapshot.Registries}
		after := next.Snapshot.Registries
		for is := range after {
			if was, ok := p.find(is, after[is].Name); ok && !yield(was, is) {
				return
			}
		}
	}
}

// pairing finds registries by their names. Most have the same number in both results,
// or one shifted by as much as that of their neighbor, and are found without a look-up.
type pairing struct {
	before []resolver.Registry
	byName map[string]int // nil until it is needed
	shift  int            // of the numbers, since the last that was looked up
}

func (p *pairing) find(is int, name string) (was int, ok bool) {
	if was = is + p.shift; was >= 0 && was < len(p.before) && p.before[was].Name == name {
		return was, true
	}
	if p.byName == nil {
		p.byName = make(map[string]int, len(p.before))
		for i := range p.before {
			p.byName[p.before[i].Name] = i
		}
	}
	if was, ok = p.byName[name]; ok {
		p.shift = was - is
	}
	return was, ok
}
