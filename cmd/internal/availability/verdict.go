package availability

import (
	"context"
	"log/slog"
	"time"

	"portolan.dev/config/ledger"
	"portolan.dev/health"
	"portolan.dev/resolver/compile"
)

// Changed takes in changes of health, in order: [health.Options.OnChange]. What is down
// is so for queries when it returns, and noted for the next process; what is up again
// will be once that is durable.
func (v *Availability) Changed(changes []health.Change) {
	if downs := v.deaths(changes); len(downs) > 0 {
		v.journal.noteFirst(downs)
	}
	v.mu.Lock()
	zones := make(map[uint32]bool)
	for _, c := range changes {
		members := v.current.Compiled.Members(c.Endpoint)
		if len(members) == 0 {
			continue // gone with the last reload
		}
		switch {
		case c.State == health.Down && c.Was.Eligible():
			v.wentDown(c, members, zones)
		case c.State == health.Up:
			v.cameUp(c, members)
		default:
			v.stillOut(c, members, zones)
		}
	}
	v.raise(zones)
	v.mu.Unlock()
	v.journal.note()
}

// deaths returns the verdicts of changes that take something out.
func (v *Availability) deaths(changes []health.Change) (downs []ledger.Event) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, c := range changes {
		if c.State != health.Down || !c.Was.Eligible() {
			continue
		}
		if members := v.current.Compiled.Members(c.Endpoint); len(members) > 0 {
			downs = append(downs, v.verdict(ledger.Down, c, members))
		}
	}
	return downs
}

// wentDown publishes that an endpoint is down, and queues the verdict. v.mu is held.
func (v *Availability) wentDown(c health.Change, members []compile.Member, zones map[uint32]bool) {
	v.take(c.Endpoint, c.At, v.subject(members[0]), v.downSince(c.At, c.Reason))
	v.journal.verdicts([]ledger.Event{v.verdict(ledger.Down, c, members)}, nil) // before what follows from it
	v.flipAll(members, false, zones)
	v.logChange("replica is down", c, members)
}

// take makes an endpoint one that is out. v.mu is held.
func (v *Availability) take(key string, since time.Time, of ledger.Subject, why reason) {
	e := &endpoint{since: since, subject: of}
	v.out[key] = e
	if i := v.current.Compiled.EndpointIndex(key); i >= 0 {
		v.outAt[i] = e
	}
	v.reasons.health(key, why)
}

// cameUp lets an endpoint back once that is durable, unless an operator has to. v.mu is
// held.
func (v *Availability) cameUp(c health.Change, members []compile.Member) {
	e := v.out[c.Endpoint]
	if e == nil {
		return
	}
	if v.current.Manual(members[0].Registry) {
		e.parked = true
		v.reasons.health(c.Endpoint, words("recovered, waits for portolan failback"))
		v.logChange("replica has recovered and waits for portolan failback", c, members)
		return
	}
	e.returning = true
	v.journal.push(&entry{
		events: []ledger.Event{v.verdict(ledger.Up, c, members)}, verdict: true, voluntary: true,
		done: func(_ []ledger.Event, err error) {
			if err == nil {
				v.returns(c, e)
			}
		},
		// A disk that takes nothing may do so for days. What is noted survives a kill, and a
		// replica that works is worth more than what the loss of the machine costs.
		failed: func() { v.returns(c, e) },
	})
}

// returns publishes that an endpoint is up: the ledger knows, or cannot be told.
func (v *Availability) returns(c health.Change, e *endpoint) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.out[c.Endpoint] != e || !e.returning {
		return // it went down again meanwhile, or is no longer configured
	}
	zones := make(map[uint32]bool)
	members := v.current.Compiled.Members(c.Endpoint)
	v.letBack(c.Endpoint, members, zones)
	v.raise(zones)
	v.logChange("replica is up", c, members)
}

// letBack publishes that an endpoint is up. v.mu is held.
func (v *Availability) letBack(key string, members []compile.Member, zones map[uint32]bool) {
	delete(v.out, key)
	if i := v.current.Compiled.EndpointIndex(key); i >= 0 {
		v.outAt[i] = nil
	}
	v.reasons.health(key, nil)
	v.flipAll(members, true, zones)
}

// stillOut takes in what is to be known of an endpoint that is out: whether it works,
// which matters where no replica is up, and when it may be back. v.mu is held.
func (v *Availability) stillOut(c health.Change, members []compile.Member, zones map[uint32]bool) {
	e := v.out[c.Endpoint]
	if e == nil {
		return
	}
	why := v.downSince(c.At, c.Reason)
	if c.State == health.Recovering {
		why = func() string {
			return "recovering since " + v.o.Stamp(c.At) + ", eligible at " + v.o.Stamp(c.EligibleAt) + ", at once with portolan failback"
		}
	}
	v.reasons.health(c.Endpoint, why)
	if e.passing == c.Passing {
		return
	}
	e.passing = c.Passing
	if e.noted && !e.passing { // it has counted, so this is a death like any other
		e.noted = false
		v.logChange("replica is down", c, members)
		v.journal.verdicts([]ledger.Event{v.verdict(ledger.Down, c, members)}, nil)
	}
	s, last := v.current.Compiled.Snapshot, -1
	for _, m := range members {
		if masks := s.Live[m.Registry].Masks(); m.Registry != last && (masks.Routed&masks.Up == 0 || v.outages[m.Registry] != nil) {
			v.publish(m.Registry, zones)
		}
		last = m.Registry
	}
}

// verdict is the ledger's event for a change.
func (v *Availability) verdict(kind ledger.Kind, c health.Change, members []compile.Member) ledger.Event {
	s := v.subject(members[0])
	return ledger.Event{
		Kind: kind, Endpoint: c.Endpoint, Registry: s.Registry, Region: s.Region,
		DecidedAt: c.At, By: "health", Why: c.Reason, Flaps: c.Flaps,
	}
}

// logChange writes one line, however many registries share the replica.
func (v *Availability) logChange(msg string, c health.Change, members []compile.Member) {
	subject := v.subject(members[0])
	level := slog.LevelWarn
	if c.State == health.Up {
		level = slog.LevelInfo
	}
	//nolint:sloglint // one of three fixed texts
	v.o.Log.Log(context.Background(), level, msg, "registry", subject.Registry, "region", subject.Region,
		"reason", c.Reason, "flaps", c.Flaps, "shared_by", len(members))
}

// Inherit takes over verdicts that another process had decided, and had not made
// durable, before it gave its place to this one.
func (v *Availability) Inherit(events []ledger.Event) {
	v.mu.Lock()
	zones := make(map[uint32]bool)
	for _, e := range events {
		members := v.current.Compiled.Members(e.Endpoint)
		out := v.out[e.Endpoint]
		if e.Kind != ledger.Down || len(members) == 0 || out != nil && !out.passing {
			continue
		}
		v.monitor.TakeDown(e.Endpoint, e.DecidedAt, e.Flaps)
		v.take(e.Endpoint, e.DecidedAt, v.subject(members[0]), v.downSince(e.DecidedAt, e.Why))
		v.flipAll(members, false, zones)
		v.journal.verdicts([]ledger.Event{e}, nil)
	}
	v.raise(zones)
	v.mu.Unlock()
	v.journal.note()
}
