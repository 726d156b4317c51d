package availability

import (
	"context"
	"time"

	"portolan.dev/config/ledger"
)

const (
	// saveSoon is how much of what clients were given a crash may cost while a decision
	// waits to take effect, which it may then do before they ask again.
	saveSoon = time.Second
	// savePatience is how long an order that takes effect waits for clients to be saved.
	// What it promised the operator does not wait for a disk that stalls.
	savePatience = 2 * time.Second
)

// wake makes the schedule look again at what there is to wait for.
func (v *Availability) wake() {
	select {
	case v.kick <- struct{}{}:
	default:
	}
}

// schedule makes decisions effective when their time comes, ends drains that have an
// end, and lets outages go on, until ctx ends.
func (v *Availability) schedule(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-v.kick:
		case <-timer.C:
		}
		v.saveBefore(ctx)
		v.mu.Lock()
		order, outage := v.takeEffect()
		now, grace := v.o.Now(), v.current.Grace
		v.mu.Unlock()
		if wait := order.Sub(now); !order.IsZero() && wait <= grace && wait > saveSoon {
			v.save(ctx)
			order = now.Add(saveSoon)
		}
		if next := soonest(order, outage, now); !next.IsZero() {
			timer.Reset(max(next.Sub(now), time.Millisecond))
		} else {
			timer.Stop() // nothing is pending: wait for a kick
		}
	}
}

// saveBefore saves clients if an order is about to change what they get.
func (v *Availability) saveBefore(ctx context.Context) {
	v.mu.Lock()
	due := v.due()
	v.mu.Unlock()
	if due {
		v.save(ctx)
	}
}

// due reports whether an order takes effect now. v.mu is held.
func (v *Availability) due() bool {
	now := v.o.Now()
	for _, o := range v.overrides {
		if o.drain != nil && !o.inForce && !now.Before(o.drainAt) || o.undrain != nil && !now.Before(o.undrainAt) ||
			o.nextRouting != nil && !now.Before(o.nextAt) {
			return true
		}
	}
	return false
}

// save saves clients, and waits for it a while.
func (v *Availability) save(ctx context.Context) {
	done := make(chan struct{})
	select {
	case v.saving <- struct{}{}:
	default:
		return // the one before has not ended: the disk stalls
	}
	go func() { // ends with the disk's answer
		v.o.Save()
		<-v.saving
		close(done)
	}()
	patience := time.NewTimer(savePatience)
	defer patience.Stop()
	select {
	case <-done:
	case <-patience.C:
	case <-ctx.Done():
	}
}

// takeEffect publishes every decision whose time has come and returns the moments of
// the next order and of the next turn of an outage, zero for none. v.mu is held.
func (v *Availability) takeEffect() (order, outage time.Time) {
	now := v.o.Now()
	zones := make(map[uint32]bool)
	var facts []ledger.Event
	for subject, o := range v.overrides {
		v.expire(subject, o, now)
		effective, changed := o.advance(now)
		for _, f := range effective {
			facts = append(facts, ledger.Event{
				Kind: ledger.Effective, Registry: subject.Registry, Region: subject.Region,
				DecidedAt: now, EffectiveAt: f.at, By: "portolan", Of: f.of,
			})
		}
		if at := o.next(now); !at.IsZero() {
			order = soonest(order, at, now)
		}
		if o.empty() {
			delete(v.overrides, subject)
		}
		if m, ok := v.member(subject); ok && changed {
			v.publishReplica(m, zones)
		}
	}
	v.record(facts)
	for registry, o := range v.outages {
		if o.next != 0 && now.Unix() >= int64(o.next) {
			v.publish(registry, zones)
		}
	}
	for _, o := range v.outages {
		if o.next != 0 {
			outage = soonest(outage, time.Unix(int64(o.next), 0), now)
		}
	}
	v.raise(zones)
	return order, outage
}

// record queues events, as many at a time as a ledger takes.
func (v *Availability) record(events []ledger.Event) {
	for len(events) > 0 {
		n := min(len(events), ledger.MaxAppend)
		v.journal.verdicts(events[:n], nil)
		events = events[n:]
	}
}

// effect is that an order, given by its number in the ledger, has taken effect, and at
// which moment: one that is past, if the server was down then.
type effect struct {
	of uint64
	at time.Time
}

// advance makes what has become effective the state of the replica, and returns the
// orders that have, as far as the ledger knows them, and whether anything has.
func (o *override) advance(now time.Time) (effective []effect, changed bool) {
	if r := o.nextRouting; r != nil && !now.Before(o.nextAt) {
		o.routing, o.routingBy, o.routed, o.nextRouting = r.Routing, r.By, r, nil
		effective = append(effective, effect{r.Seq, o.nextAt})
	}
	if o.drain != nil && !o.inForce && !now.Before(o.drainAt) {
		o.inForce = true
		effective = append(effective, effect{o.drain.Seq, o.drainAt})
	}
	if o.undrain != nil && !now.Before(o.undrainAt) {
		// The ledger does not know one yet that waits for nothing, and one that takes back
		// what never took effect changes nothing.
		if o.undrain.Seq != 0 && o.inForce {
			effective = append(effective, effect{o.undrain.Seq, o.undrainAt})
		}
		o.drain, o.undrain, o.inForce = nil, nil, false
		changed = true
	}
	return effective, changed || len(effective) > 0
}

// empty reports whether nothing is left of it.
func (o *override) empty() bool { return o.drain == nil && o.routing == nil && o.nextRouting == nil }

// next returns the next moment at which an override changes something; zero for
// none.
func (o *override) next(now time.Time) (next time.Time) {
	if o.nextRouting != nil {
		next = soonest(next, o.nextAt, now)
	}
	if o.drain != nil {
		if !o.inForce {
			next = soonest(next, o.drainAt, now)
		}
		next = soonest(next, o.drainEnds, now)
	}
	if o.undrain != nil {
		next = soonest(next, o.undrainAt, now)
	}
	return next
}

// expire ends a drain whose end has come. v.mu is held.
func (v *Availability) expire(subject ledger.Subject, o *override, now time.Time) {
	if o.drain == nil || o.drainEnds.IsZero() || o.drainEnds.After(now) || o.undrain != nil {
		return
	}
	e := ledger.Event{
		Kind: ledger.Undrain, Registry: subject.Registry, Region: subject.Region, DecidedAt: now, EffectiveAt: now,
		By: "portolan", Why: "the time of the drain was over",
	}
	o.undrain, o.undrainAt = &e, now
	v.journal.verdicts([]ledger.Event{e}, nil)
}
