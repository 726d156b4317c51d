package app

import (
	"context"
	"time"

	"portolan.dev/cmd/internal/admin"
	"portolan.dev/resolver/compile"
	"portolan.dev/resolver/decide"
)

// Drains implements [admin.API].
func (a *App) Drains(_ context.Context, s admin.Selector) ([]admin.DrainStatus, error) {
	v := a.availability
	v.mu.Lock()
	members, err := v.selected(s)
	drained := members[:0]
	for _, m := range members {
		if o := v.overrides[v.subject(m)]; o != nil && o.drain != nil {
			drained = append(drained, m)
		}
	}
	w := v.world
	v.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return a.drainStatuses(w, drained), nil
}

// drainStatuses describes replicas of w as drains see them. Those that a reload has
// taken away meanwhile are left out.
func (a *App) drainStatuses(w *World, members []compile.Member) []admin.DrainStatus {
	out := make([]admin.DrainStatus, 0, len(members))
	activity := a.activity()
	a.availability.mu.Lock()
	defer a.availability.mu.Unlock()
	for _, m := range members {
		if m, ok := a.availability.here(w, m); ok {
			out = append(out, a.drainStatus(m, activity))
		}
	}
	return out
}

// keptLonger is how much longer than the TTL after the last answer, by our clock, a
// cache may hold it: one second because that clock counts whole ones, one because
// those of caches do (Unbound serves a record through all of the second in which it
// expires), and one for the way.
const keptLonger = 3 * time.Second

// drainStatus says how far a replica's drain has come. availability.mu is held.
func (a *App) drainStatus(m compile.Member, activity *clients) admin.DrainStatus {
	v := a.availability
	s := v.world.Compiled.Snapshot
	r := &s.Registries[m.Registry]
	subject := v.subject(m)
	d := admin.DrainStatus{Registry: subject.Registry, Region: subject.Region, TTL: r.TTL}
	if last := activity.lastAnswer(s.Replicas[s.ReplicaNumber(m.Registry, m.Region)].Slot); last > 0 {
		at := time.Unix(last, 0)
		d.LastAnswer = &at
	}
	o := v.overrides[subject]
	now := v.now()
	if o != nil && o.drainedAt(now) {
		d.UndrainAt = optional(o.undrainAt)
	}
	if o == nil || o.drain == nil || !o.undrainAt.IsZero() {
		return d
	}
	d.Drained, d.EffectiveAt, d.By, d.Reason = true, o.drain.EffectiveAt, o.drain.By, o.drain.Why
	d.Deadline, d.Until = optional(o.drain.Deadline), optional(o.drain.Until)
	ttl := time.Duration(r.TTL) * time.Second
	end := holdsEnd(o, r.Policy)
	d.Bound = end.Add(ttl + keptLonger)
	if now.Before(end) && !o.drain.Now {
		d.Held = activity.held(r.Number, s.Stable[m.Region], holdQuestion{
			now: now, effective: d.EffectiveAt, policy: r.Policy,
		})
	}
	if d.Held == 0 && !now.Before(d.EffectiveAt) {
		safe := a.lastGiven(d, now).Add(ttl + keptLonger)
		if safe.After(d.Bound) {
			safe = d.Bound
		}
		d.SafeAt, d.Safe = &safe, !now.Before(safe)
	}
	return d
}

// holdsEnd is when nobody can be held on a drained replica any more.
func holdsEnd(o *override, p decide.Policy) time.Time {
	end := o.drain.EffectiveAt
	if !o.drain.Now {
		end = end.Add(time.Duration(p.Hold) * time.Second * time.Duration(p.Renewals))
	}
	if !o.drain.Deadline.IsZero() && o.drain.Deadline.Before(end) {
		end = o.drain.Deadline
	}
	return end
}

// lastGiven is when a drained replica was last given to a client, as far as that
// is known: an answer before the server's start is assumed at the start, or at the last
// moment of the process before it, and one that is under way now was given now.
func (a *App) lastGiven(d admin.DrainStatus, now time.Time) time.Time {
	last := a.served(now)
	if d.LastAnswer != nil && d.LastAnswer.After(last) {
		last = *d.LastAnswer
	}
	if last.Before(d.EffectiveAt) {
		// Until then it was given to anybody; the counters may lag by one batch.
		last = d.EffectiveAt
	}
	if last.After(now) {
		last = now
	}
	return last
}

// served is since when this process alone answers.
func (a *App) served(now time.Time) time.Time {
	if a.before == nil {
		return a.started
	}
	if quiet := a.before.quiet.Load(); quiet != 0 {
		return time.Unix(quiet, 0)
	}
	return now
}

func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// clients is what the query path knows of clients and answers, at one moment.
type clients struct {
	entries []unitEntry
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

func (a *clients) lastAnswer(slot uint32) int64 {
	if int(slot) >= len(a.last) {
		return 0
	}
	return a.last[slot]
}

// holdQuestion is about whom a drain's clients would be held for.
type holdQuestion struct {
	now, effective time.Time
	policy         decide.Policy
}

// held counts the units that are held on a replica, or would be if they asked now.
func (a *clients) held(registry uint32, region uint8, q holdQuestion) int {
	n := 0
	for _, u := range a.entries {
		if u.registry == registry && u.entry.Region == region && q.mayBeGiven(u.entry) {
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
