package app

import (
	"context"
	"time"

	"portolan.dev/config/ledger"
)

// saveSoon is how much of what clients were given a crash may cost while a decision
// waits to take effect, which it may then do before they ask again.
const saveSoon = time.Second

// wake makes the schedule look at the overrides again.
func (v *availability) wake() {
	select {
	case v.kick <- struct{}{}:
	default:
	}
}

// schedule makes decisions effective when their time comes, and ends drains that
// have an end, until ctx ends.
func (v *availability) schedule(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-v.kick:
		case <-timer.C:
		}
		v.mu.Lock()
		next := v.takeEffect(ctx)
		wait, grace := next.Sub(v.now()), v.world.Config.State.Grace
		v.mu.Unlock()
		if next.IsZero() {
			timer.Stop() // nothing is pending: wait for a kick
			continue
		}
		if wait <= grace && wait > saveSoon {
			v.save()
			wait = saveSoon
		}
		timer.Reset(max(wait, time.Millisecond))
	}
}

// takeEffect publishes every override whose time has come and returns the moment
// of the next one, zero for none. v.mu is held.
func (v *availability) takeEffect(ctx context.Context) (next time.Time) {
	now := v.now()
	zones := make(map[uint32]bool)
	saved := false
	for subject, o := range v.overrides {
		v.expire(ctx, subject, o, now)
		o.advance(now)
		if m, ok := v.member(subject); ok {
			if live := v.world.Compiled.Snapshot.Live[m.Registry].Masks(); !saved && v.masks(m, live) != live {
				v.save()
				saved = true
			}
			v.publish(m, zones)
		}
		if at := o.next(now); !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
		if o.drain == nil && o.routing == nil && o.nextRouting == nil {
			delete(v.overrides, subject)
		}
	}
	v.raise(zones)
	return next
}

// advance makes what has become effective the state of the replica.
func (o *override) advance(now time.Time) {
	if r := o.nextRouting; r != nil && !r.EffectiveAt.After(now) {
		o.routing, o.routingBy, o.nextRouting = r.Routing, r.By, nil
	}
	if o.drain != nil && !o.undrainAt.IsZero() && !o.undrainAt.After(now) {
		o.drain, o.undrainAt = nil, time.Time{}
	}
}

// next returns the next moment at which an override changes something; zero for
// none.
func (o *override) next(now time.Time) (next time.Time) {
	var times []time.Time
	if o.nextRouting != nil {
		times = append(times, o.nextRouting.EffectiveAt)
	}
	if o.drain != nil {
		times = append(times, o.drain.EffectiveAt, o.drain.Until, o.undrainAt)
	}
	for _, t := range times {
		if t.After(now) && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	return next
}

// expire ends a drain whose end has come.
func (v *availability) expire(ctx context.Context, subject ledger.Subject, o *override, now time.Time) {
	if o.drain == nil || o.drain.Until.IsZero() || o.drain.Until.After(now) || !o.undrainAt.IsZero() {
		return
	}
	v.record.append(ctx, ledger.Event{
		Kind: ledger.Undrain, Registry: subject.Registry, Region: subject.Region, DecidedAt: now, EffectiveAt: now,
		By: "portolan", Why: "the time of the drain was over",
	})
	o.undrainAt = now
}
