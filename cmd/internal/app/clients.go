package app

import (
	"cmp"
	"slices"
	"time"

	"portolan.dev/resolver/decide"
)

// clients is what the query path knows of clients and answers, at one moment.
type clients struct {
	entries []unitEntry
	sorted  bool    // entries are, by registry
	last    []int64 // Unix seconds of the last answer, by slot
}

// unitEntry is one remembered unit.
type unitEntry struct {
	registry uint32
	entry    decide.Entry
}

// activity copies the table. It takes milliseconds at its full size, and nobody on
// the query path waits for it.
func (a *App) activity() *clients {
	act := &clients{last: a.resolver.Totals().LastAnswer}
	a.holds.Each(func(k decide.Key, e decide.Entry) {
		act.entries = append(act.entries, unitEntry{k.Registry(), e})
	})
	return act
}

// lastAnswer is when a replica with these slots was last given to a client; the zero
// time for never.
func (a *clients) lastAnswer(slots []uint32) (at time.Time) {
	last := int64(0)
	for _, slot := range slots {
		if int(slot) < len(a.last) {
			last = max(last, a.last[slot])
		}
	}
	if last > 0 {
		at = time.Unix(last, 0)
	}
	return at
}

// of returns the units of a registry.
func (a *clients) of(registry uint32) []unitEntry {
	byRegistry := func(u unitEntry, registry uint32) int { return cmp.Compare(u.registry, registry) }
	if !a.sorted {
		slices.SortFunc(a.entries, func(u, v unitEntry) int { return byRegistry(u, v.registry) })
		a.sorted = true
	}
	first, _ := slices.BinarySearchFunc(a.entries, registry, byRegistry)
	end, _ := slices.BinarySearchFunc(a.entries, registry+1, byRegistry)
	return a.entries[first:end]
}

// active counts the units that were given a replica within the last idle seconds.
func (a *clients) active(registry uint32, region uint8, now time.Time, idle uint32) (n int) {
	for _, u := range a.of(registry) {
		if u.entry.Region == region && int64(u.entry.LastSeen)+int64(idle) >= now.Unix() {
			n++
		}
	}
	return n
}

// holdQuestion is about whom a drain's clients would be held for.
type holdQuestion struct {
	now, effective time.Time
	policy         decide.Policy
}

// held counts the units that are held on a replica, or would be if they asked now.
func (a *clients) held(registry uint32, region uint8, q holdQuestion) int {
	n := 0
	for _, u := range a.of(registry) {
		if u.entry.Region == region && q.mayBeGiven(u.entry) {
			n++
		}
	}
	return n
}

// mayBeGiven reports whether a unit would be given the drained replica if it asked
// now. A unit that has not asked since has no hold yet: its hold would begin with
// the event that moved its nearest replica away, which the table does not know, but
// not before the unit was last seen nor later than an idle time after.
func (q *holdQuestion) mayBeGiven(e decide.Entry) bool {
	now, effective := uint32(q.now.Unix()), uint32(q.effective.Unix())
	until, renewable := e.Until, e.Renewals < q.policy.Renewals
	if until == 0 {
		until = max(min(effective, e.LastSeen+q.policy.Idle), e.LastSeen) + q.policy.Hold
		renewable = q.policy.Renewals > 1
	}
	for renewable && q.policy.Hold > 0 && until <= e.LastSeen+q.policy.Idle {
		until += q.policy.Hold // it was active when the period ended
	}
	return now < until
}
