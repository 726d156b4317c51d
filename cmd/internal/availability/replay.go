package availability

import (
	"cmp"
	"slices"
	"time"

	"portolan.dev/config/ledger"
	"portolan.dev/resolver/compile"
	"portolan.dev/resolver/decide"
)

const (
	// LongestGrace is the most that a grace time can be: an event that was decided so
	// long ago may take effect now.
	LongestGrace = 5 * time.Minute
	// PublishedBy is how long after it took effect a change is in the masks at the
	// latest: the clock of answers has whole seconds, and the disk comes first. Who was
	// active in between was given what held before.
	PublishedBy = 2 * time.Second
)

// moment is when something changed for a replica, and what it was before.
type moment struct {
	replica compile.Member
	at      time.Time
	died    bool
	// before undoes the change.
	before func(decide.Masks) decide.Masks
}

// remember gives a first world the changes that the ledger tells of, so that clients
// who were active then are held as if there had been no restart: also where a
// change took effect while the server was down. The masks of then are those of now
// with what was changed since taken back.
func (v *Availability) remember(events []ledger.Event) {
	now := v.o.Now()
	effective := make(map[uint64]time.Time) // when orders took effect, as far as it is known
	for i := range events {
		if e := &events[i]; e.Kind == ledger.Effective {
			effective[e.Of] = e.EffectiveAt
		}
	}
	var moments []moment
	for i := range events {
		e := events[i]
		if at := effective[e.Seq]; at.After(e.EffectiveAt) {
			e.EffectiveAt = at
		}
		for _, m := range v.momentsOf(&e) {
			if age := now.Sub(m.at); age >= 0 && age <= decide.Keep*time.Second {
				moments = append(moments, m)
			}
		}
	}
	slices.SortStableFunc(moments, func(a, b moment) int { return a.at.Compare(b.at) })
	of := make(map[int][]moment)
	for _, m := range moments {
		of[m.replica.Registry] = append(of[m.replica.Registry], m)
	}
	for registry, moments := range of {
		v.replay(registry, moments, now)
	}
	v.rememberSwaps(events)
}

// momentsOf returns what an event changed, and when.
func (v *Availability) momentsOf(e *ledger.Event) (moments []moment) {
	switch e.Kind {
	case ledger.Down, ledger.Up:
		down := e.Kind == ledger.Down
		for _, m := range v.current.Compiled.Members(e.Endpoint) {
			moments = append(moments, moment{m, counts(e), down, func(now decide.Masks) decide.Masks {
				now.Up = now.Up.With(m.Region, down)
				return now
			}})
		}
	case ledger.Drain, ledger.Undrain, ledger.Routing:
		m, ok := v.member(e.Subject())
		if !ok {
			return nil
		}
		routed := e.Kind == ledger.Drain
		if e.Kind == ledger.Routing {
			routed = !v.current.Compiled.Routed[m.Registry].Has(m.Region)
			if e.Routing != nil {
				routed = !*e.Routing
			}
		}
		moments = append(moments, moment{m, e.EffectiveAt, e.Now, func(now decide.Masks) decide.Masks {
			now.Routed, now.Up = now.Routed.With(m.Region, routed), now.Up.With(m.Region, e.Now || now.Up.Has(m.Region))
			return now
		}})
	default: // the rest moves nobody, or all
	}
	return moments
}

// replay notes the changes of a registry, given in order.
func (v *Availability) replay(registry int, moments []moment, now time.Time) {
	live := &v.current.Compiled.Snapshot.Live[registry]
	for _, n := range notings(live.Masks(), moments, now) {
		live.History.Note(n.Change, n.died)
	}
}

// noting is what a history notes of a change.
type noting struct {
	decide.Change
	died bool
}

// notings returns what a history would hold that had seen these changes, given in
// order, where masks is what they came to. Each is there twice: when it took effect,
// and when it was published at the latest. What held from then on is true of both,
// and who was answered in between finds the second.
func notings(masks decide.Masks, moments []moment, now time.Time) []noting {
	after := make([]decide.Masks, len(moments))
	for i, m := range slices.Backward(moments) {
		after[i], masks = masks, m.before(masks)
	}
	out := make([]noting, 0, 2*len(moments))
	for i, m := range moments {
		out = append(out, noting{decide.Change{At: uint32(m.at.Unix()), Masks: after[i]}, m.died})
		late, last := m.at.Add(PublishedBy), i
		if late.After(now) {
			late = now
		}
		for last+1 < len(moments) && !moments[last+1].at.After(late) {
			last++
		}
		out = append(out, noting{decide.Change{At: uint32(late.Unix()), Masks: after[last]}, false})
	}
	slices.SortStableFunc(out, func(a, b noting) int { return cmp.Compare(a.At, b.At) })
	return out
}

// rememberSwaps notes when a configuration or location data were taken up under which
// clients may be answered otherwise.
func (v *Availability) rememberSwaps(events []ledger.Event) {
	s := v.current.Compiled.Snapshot
	var swaps []uint32
	last := ""
	for i := range events {
		e := &events[i]
		if e.Kind != ledger.Config || e.Detail == last {
			continue
		}
		if last == "" { // what was served before?
			if was, ok := v.lastBefore(e.Seq, func(was *ledger.Event) bool { return was.Kind == ledger.Config }); ok && was.Detail == e.Detail {
				last = e.Detail
				continue
			}
		}
		last = e.Detail
		swaps = append(swaps, uint32(e.EffectiveAt.Unix()), uint32(e.EffectiveAt.Add(PublishedBy).Unix()))
	}
	swaps = append(swaps, s.Swaps...)
	slices.Sort(swaps)
	s.Swaps = swaps[max(0, len(swaps)-maxSwaps):]
}
