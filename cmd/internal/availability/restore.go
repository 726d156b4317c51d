package availability

import (
	"context"
	"time"

	"portolan.dev/config/ledger"
)

// restore takes over what the ledger remembers: its state, and of the last events those
// that end an order and have not taken effect yet. It is called before Adopt.
//
// What took effect is a fact of the ledger. What has not does so at the moment that was
// promised, or after as much time as lay between the order and that moment if the
// clock says that it is further away: it was set back, then.
func (v *Availability) restore(st *ledger.State) {
	for key, h := range st.Health {
		if h.Down != nil {
			v.out[key] = &endpoint{since: counts(h.Down), subject: h.Down.Subject(), name: h.Down.Name, passing: h.Passing, noted: h.Passing}
			v.reasons.health(key, v.downSince(counts(h.Down), h.Down.Why))
		}
	}
	for subject, r := range st.Replicas {
		o := &override{}
		if r.Drain != nil {
			o.setDrain(r.Drain, v.o.Now())
			o.inForce = o.inForce || r.Drain.InForce
		}
		if r.Routing != nil {
			o.routed, o.routing, o.routingBy = r.Routing, r.Routing.Routing, r.Routing.By
		}
		v.overrides[subject] = o
	}
	effective := make(map[uint64]bool)
	for i := range v.recent {
		if v.recent[i].Kind == ledger.Effective {
			effective[v.recent[i].Of] = true
		}
	}
	now := v.o.Now()
	for i := range v.recent {
		e := &v.recent[i]
		switch {
		case effective[e.Seq] || !e.EffectiveAt.After(now):
		case e.Kind == ledger.Undrain && st.Replicas[e.Subject()].Drain == nil:
			v.restoreUndrain(e)
		case e.Kind == ledger.Routing:
			v.restoreRouting(e)
		}
	}
}

// counts is since when what an event tells counts: not always when it was decided, as
// of a verdict that another endpoint has taken over.
func counts(e *ledger.Event) time.Time {
	if e.EffectiveAt.IsZero() {
		return e.DecidedAt // not stored yet
	}
	return e.EffectiveAt
}

// setDrain makes e the drain of a replica.
func (o *override) setDrain(e *ledger.Event, now time.Time) {
	o.drain, o.undrain, o.inForce = e, nil, e.InForce
	o.drainAt, o.drainEnds = promised(e, e.EffectiveAt, now), time.Time{}
	if !e.Until.IsZero() {
		o.drainEnds = promised(e, e.Until, now)
	}
}

// promised is when what an event announces for a moment happens by the clock of this
// process: then, but not later than the event said it would take.
func promised(e *ledger.Event, at, now time.Time) time.Time {
	if latest := now.Add(at.Sub(e.DecidedAt)); at.After(latest) {
		return latest
	}
	return at
}

// restoreUndrain brings back a drain whose end is still to come: the state has
// forgotten it.
func (v *Availability) restoreUndrain(e *ledger.Event) {
	drain, ok := v.lastBefore(e.Seq, func(was *ledger.Event) bool {
		return was.Kind == ledger.Drain && was.Subject() == e.Subject()
	})
	if !ok { // deleted, as old ones are: in force for long
		drain = ledger.Event{Kind: ledger.Drain, Registry: e.Registry, Region: e.Region, By: "portolan", Why: "no longer in the ledger"}
	}
	if e.DecidedAt.Before(drain.EffectiveAt) {
		return // it was taken back before it took effect
	}
	o := v.override(e.Subject())
	o.setDrain(&drain, v.o.Now())
	o.inForce = true
	o.undrain, o.undrainAt = e, promised(e, e.EffectiveAt, v.o.Now())
}

// restoreRouting brings back the switch before one that is still to come.
func (v *Availability) restoreRouting(e *ledger.Event) {
	o := v.override(e.Subject())
	o.nextRouting, o.nextAt = e, promised(e, e.EffectiveAt, v.o.Now())
	o.routing, o.routingBy = nil, ""
	// A switch that was replaced before it took effect never did.
	decided := e.DecidedAt
	was, ok := v.lastBefore(e.Seq, func(was *ledger.Event) bool {
		if was.Kind != ledger.Routing || was.Subject() != e.Subject() {
			return false
		}
		took := !was.EffectiveAt.After(decided)
		decided = was.DecidedAt
		return took
	})
	if ok {
		o.routing, o.routingBy = was.Routing, was.By
	}
}

// lastBefore returns the last event before one that f accepts; false if there is none
// that is kept, or can be read.
func (v *Availability) lastBefore(seq uint64, f func(*ledger.Event) bool) (found ledger.Event, ok bool) {
	err := v.o.Ledger.Back(context.Background(), seq-1, func(e *ledger.Event) bool {
		if ok = f(e); ok {
			found = *e
		}
		return !ok
	})
	if err != nil {
		v.o.Log.Warn("older events of the ledger are not readable", "error", err)
	}
	return found, ok
}
