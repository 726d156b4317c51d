package main

import (
	"math"

	"portolan.dev/resolver/decide"
)

// epoch is the Unix time of the simulation's start.
const epoch = 1_800_000_000

func unix(at moment) uint32 { return uint32(epoch + at/second) }

// never is after all moments.
const never moment = math.MaxInt64

// view is what one name server knows of the replicas, and publishes of it.
type view struct {
	outages  bool   // they are treated as such, by decide.Outage
	pending  []flip // not heard yet
	standing decide.Condition
	since    [replicas]uint32
	outage   *decide.Outage // nil: none
	turn     moment         // when the outage goes on by itself
	masks    decide.Masks
	history  decide.History
}

func newView(pending []flip, outages bool) *view {
	all := allIn()
	return &view{
		outages: outages, pending: pending, turn: never, masks: all,
		standing: decide.Condition{Routed: all.Routed, Up: all.Up},
	}
}

func allIn() decide.Masks { return decide.Masks{Routed: 1<<replicas - 1, Up: 1<<replicas - 1} }

// next returns when there is something to publish.
func (v *view) next() moment {
	if len(v.pending) > 0 {
		return min(v.pending[0].at, v.turn)
	}
	return v.turn
}

// step takes in what comes next, and publishes it.
func (v *view) step() {
	at := v.next()
	if at < v.turn {
		v.hear(v.pending[0])
		v.pending = v.pending[1:]
	}
	v.publish(at)
}

func (v *view) hear(f flip) {
	st, r := &v.standing, f.replica
	switch f.news {
	case drains, undrains:
		st.Routed, st.Drained = st.Routed.With(r, f.news == undrains), st.Drained.With(r, f.news == drains)
	case wentDown:
		st.Up, st.Passing, v.since[r] = st.Up.With(r, false), st.Passing.With(r, false), unix(f.at)
	case passes, fails:
		st.Passing = st.Passing.With(r, f.news == passes)
	case cameUp:
		st.Up, st.Passing, v.since[r] = st.Up.With(r, true), st.Passing.With(r, false), 0
	}
}

// publish does what the server does: the change of masks goes to the history, and the
// outage tells the history behind it which deaths do not count.
func (v *view) publish(at moment) {
	st := &v.standing
	m, free := decide.Masks{Routed: st.Routed, Up: st.Up}, false
	if v.outages && v.outage == nil && allDown(m) {
		v.outage = new(decide.Outage)
	}
	if v.outage != nil {
		m, free = v.outage.Step(*st, v.masks, unix(at), v)
	}
	if was := v.masks; m != was {
		v.history.Note(decide.Change{At: unix(at), Masks: m, Free: free}, was.Up&^m.Up != 0)
		v.masks = m
	}
	v.turn = never
	if v.outage == nil {
		return
	}
	v.outage.Tell(&v.history, policy().Idle)
	if next := v.outage.Next(unix(at)); next != 0 {
		v.turn = moment(next-epoch) * second
	}
	if !v.outage.Active() {
		v.outage = nil
	}
}

// allDown reports whether no replica is up of those that may be answered.
func allDown(m decide.Masks) bool { return m.Routed != 0 && m.Routed&m.Up == 0 }

// Since implements [decide.Facts].
func (v *view) Since(region uint8) uint32 { return v.since[region] }

// Times implements [decide.Facts].
func (*view) Times(decide.Mask) (probe, hold uint32) {
	return uint32((interval + timeout) / second), uint32(recovery / second)
}
