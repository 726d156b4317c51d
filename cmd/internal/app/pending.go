package app

import (
	"context"

	"portolan.dev/config/ledger"
)

// restore takes over what the ledger remembers: its state, and of the last events
// those that end an order and have not taken effect yet. It is called before adopt.
func (v *availability) restore(st ledger.State, events []ledger.Event) {
	for key, h := range st.Health {
		if h.Down != nil {
			v.down[key] = true
		}
	}
	for subject, r := range st.Replicas {
		o := &override{drain: r.Drain}
		if r.Routing != nil {
			o.routing, o.routingBy = r.Routing.Routing, r.Routing.By
		}
		v.overrides[subject] = o
	}
	now := v.now()
	for i := range events {
		e := &events[i]
		switch {
		case !e.EffectiveAt.After(now):
		case e.Kind == ledger.Undrain && st.Replicas[e.Subject()].Drain == nil:
			v.restoreUndrain(e)
		case e.Kind == ledger.Routing:
			v.restoreRouting(e)
		}
	}
}

// restoreUndrain brings back a drain whose end is still to come: the state has
// forgotten it.
func (v *availability) restoreUndrain(e *ledger.Event) {
	drain, ok := v.record.before(context.Background(), e.Seq, func(was *ledger.Event) bool {
		return was.Kind == ledger.Drain && was.Subject() == e.Subject()
	})
	if !ok { // deleted, as old ones are: in force for long
		drain = ledger.Event{Kind: ledger.Drain, Registry: e.Registry, Region: e.Region, By: "portolan", Why: "no longer in the ledger"}
	}
	if e.DecidedAt.Before(drain.EffectiveAt) {
		return // it was taken back before it took effect
	}
	o := v.override(e.Subject())
	o.drain, o.undrainAt = &drain, e.EffectiveAt
}

// restoreRouting brings back the switch before one that is still to come.
func (v *availability) restoreRouting(e *ledger.Event) {
	o := v.override(e.Subject())
	o.nextRouting = e
	o.routing, o.routingBy = nil, ""
	// A switch that was replaced before it took effect never did.
	decided := e.DecidedAt
	was, ok := v.record.before(context.Background(), e.Seq, func(was *ledger.Event) bool {
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
