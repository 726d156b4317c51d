package app

import (
	"context"
	"errors"
	"time"

	"portolan.dev/cmd/internal/admin"
	"portolan.dev/cmd/internal/availability"
	"portolan.dev/cmd/internal/cached"
	"portolan.dev/resolver/compile"
	"portolan.dev/resolver/decide"
)

// refusal is an error of availability as the admin API knows it.
type refusal struct {
	error

	kind error
}

// Unwrap gives both: the text is that of the first.
func (r refusal) Unwrap() []error { return []error{r.error, r.kind} }

// apiError tells the admin API what kind of error it is.
func apiError(err error) error {
	for _, k := range []struct{ is, kind error }{
		{availability.ErrNotFound, admin.ErrNotFound}, {availability.ErrInvalid, admin.ErrInvalid}, {availability.ErrRefused, admin.ErrRefused},
	} {
		if errors.Is(err, k.is) {
			return refusal{err, k.kind}
		}
	}
	return err
}

// Drain implements [admin.API].
func (a *App) Drain(_ context.Context, r admin.DrainRequest) ([]admin.DrainStatus, error) {
	c, members, err := a.availability.Drain(availability.DrainOrder{
		Selector: availability.Selector(r.Selector), By: r.By, Reason: r.Reason,
		Deadline: time.Duration(r.Deadline), For: time.Duration(r.For), Now: r.Now, Force: r.Force,
	})
	if err != nil {
		return nil, apiError(err)
	}
	return a.drainStatuses(c, members), nil
}

// Undrain implements [admin.API].
func (a *App) Undrain(_ context.Context, s admin.Selector, by, reason string) ([]admin.DrainStatus, error) {
	c, members, err := a.availability.Undrain(availability.Selector(s), by, reason)
	if err != nil {
		return nil, apiError(err)
	}
	return a.drainStatuses(c, members), nil
}

// SetRouting implements [admin.API].
func (a *App) SetRouting(_ context.Context, r admin.RoutingRequest) (admin.ReplicaStatus, error) {
	c, m, err := a.availability.SetRouting(availability.RoutingOrder{
		Registry: r.Registry, Region: r.Region, On: r.On, By: r.By, Reason: r.Reason, Force: r.Force,
	})
	if err != nil {
		return admin.ReplicaStatus{}, apiError(err)
	}
	return a.replicaStatus(c, m, a.activity(), a.shares.latest()), nil
}

// Failback implements [admin.API].
func (a *App) Failback(_ context.Context, s admin.Selector, by, reason string) ([]admin.ReplicaStatus, error) {
	c, members, err := a.availability.Failback(availability.Selector(s), by, reason)
	if err != nil {
		return nil, apiError(err)
	}
	snapshot := c.Compiled.Snapshot
	statuses := make([]admin.ReplicaStatus, 0, len(members))
	for _, m := range members {
		statuses = append(statuses, admin.ReplicaStatus{
			Registry: snapshot.Registries[m.Registry].Key, Region: snapshot.Regions[m.Region].Label,
			Up: snapshot.Live[m.Registry].Masks().Up.Has(m.Region),
		})
	}
	return statuses, nil
}

// Drains implements [admin.API].
func (a *App) Drains(_ context.Context, s admin.Selector) ([]admin.DrainStatus, error) {
	absent := a.availability.Absent(availability.Selector(s))
	c, members, err := a.availability.Drained(availability.Selector(s))
	if err != nil && len(absent) == 0 {
		return nil, apiError(err)
	}
	out := a.drainStatuses(c, members)
	for _, d := range absent {
		out = append(out, a.shown(admin.DrainStatus{
			Registry: d.Registry, Region: d.Region, Drained: d.UndrainAt.IsZero(), Absent: true, EffectiveAt: d.EffectiveAt,
			By: d.By, Reason: d.Reason, UndrainAt: optional(d.UndrainAt), Until: optional(d.Until), Deadline: optional(d.Deadline),
		}))
	}
	return out, nil
}

// shown gives a status, which is nobody else's, the moments of the wall clock.
func (a *App) shown(d admin.DrainStatus) admin.DrainStatus {
	a.clock.show(&d.EffectiveAt, &d.Bound, d.UndrainAt, d.Deadline, d.Until, d.LastAnswer, d.SafeAt, d.OldAddressesUntil)
	return d
}

// drainStatuses describes replicas of c as drains see them. Those that a reload has
// taken away meanwhile are left out.
func (a *App) drainStatuses(c *availability.Configuration, members []compile.Member) []admin.DrainStatus {
	out := make([]admin.DrainStatus, 0, len(members))
	activity := a.activity()
	for _, m := range members {
		if d, current, m, ok := a.availability.Decided(c, m); ok {
			out = append(out, a.shown(a.drainStatus(current, m, d.Drain, activity)))
		}
	}
	return out
}

// keptLonger is how much longer than the TTL after the last answer, by our clock, a
// cache may hold it: one second because that clock counts whole ones, one because
// those of caches do (Unbound serves a record through all of the second in which it
// expires), and one for the way.
const keptLonger = 3 * time.Second

// drainStatus says how far the drain of a replica has come; d is nil without one.
//
// It is safe once no client is held and the last answer that named the replica, given
// with the longest TTL that a cache may still go by, has expired everywhere; and once
// that is so of addresses that it has no more.
func (a *App) drainStatus(c *availability.Configuration, m compile.Member, d *availability.Drain, activity *clients) admin.DrainStatus {
	s := c.Compiled.Snapshot
	r := &s.Registries[m.Registry]
	st := admin.DrainStatus{Registry: r.Key, Region: s.Regions[m.Region].Label, TTL: r.TTL}
	st.LastAnswer = optional(activity.lastAnswer(a.slots.Of(r.Name, st.Region)))
	masks := s.Live[m.Registry].Masks()
	st.NoneEligible = masks.Routed&masks.Up == 0
	if d == nil {
		return st
	}
	now := a.o.Now()
	if d.InForce {
		st.UndrainAt = optional(d.UndrainAt)
	}
	if !d.UndrainAt.IsZero() {
		return st
	}
	st.Drained, st.EffectiveAt, st.By, st.Reason = true, d.EffectiveAt, d.By, d.Reason
	st.Deadline, st.Until, st.LastResort = optional(d.Deadline), optional(d.Until), d.LastResort
	past, _ := a.caches.of(r.Name)
	old := oldAddresses(&past, st.Region, now)
	st.OldAddressesUntil = upcoming(old, now)
	expired := func(last time.Time) time.Time {
		return latest(past.Global.Expires(last, r.TTL).Add(keptLonger), old)
	}
	possible := lastPossible(d, lastOutage(&s.Live[m.Registry].History, now))
	if !d.LastResort { // which lasts until another replica works
		st.Bound = expired(possible)
	}
	if now.Before(d.HoldsEnd) && !d.Now {
		st.Held = activity.held(r.Number, s.Stable[m.Region], holdQuestion{
			now: now, effective: d.EffectiveAt, policy: r.Policy,
		})
	}
	published := !s.Live[m.Registry].Masks().Routed.Has(m.Region)
	if st.Held == 0 && d.InForce && published && !d.LastResort {
		safe := expired(a.lastGiven(d, possible, st.LastAnswer, now))
		st.SafeAt, st.Safe = &safe, !now.Before(safe)
	}
	return st
}

// lastPossible is the last moment at which a drain lets a replica be given to a client,
// unless none works but it: that was so until outage at the latest.
func lastPossible(d *availability.Drain, outage time.Time) time.Time {
	return latest(outage, latest(d.HoldsEnd, d.EffectiveAt.Add(availability.PublishedBy)))
}

// lastOutage is until when no routed replica of a registry was up, so that a drained one
// may have been answered, as far as its history reaches back; zero for never.
func lastOutage(h *decide.History, now time.Time) (end time.Time) {
	changes, _ := h.All()
	for i, c := range changes {
		if c.Masks.Routed == 0 || c.Masks.Routed&c.Masks.Up != 0 {
			continue
		}
		if end = now; i+1 < len(changes) {
			end = time.Unix(int64(changes[i+1].At), 0).Add(availability.PublishedBy)
		}
	}
	return end
}

// lastGiven is when a drained replica that nobody is held on was last given to a client:
// at the last answer that was counted. Answers before the server's start are assumed at
// the start, or at the last moment of the process before it; and until the drain has
// reached all that answer and has had the time to be counted, one is assumed then.
func (a *App) lastGiven(d *availability.Drain, possible time.Time, counted *time.Time, now time.Time) time.Time {
	if settled := d.EffectiveAt.Add(availability.PublishedBy); now.Before(settled) {
		return settled
	}
	last := a.served(now)
	if possible.Before(last) {
		last = possible
	}
	if counted != nil {
		last = latest(last, *counted)
	}
	return last
}

// oldAddresses is when caches let go of addresses that a replica has no more; zero if
// there are none.
func oldAddresses(past *cached.Record, region string, now time.Time) time.Time {
	p := past.Find(region)
	switch {
	case p == nil || p.Until.IsZero():
		return time.Time{}
	case p.Until.Equal(cached.Open): // another process still answers them
		return past.Released(now).Add(keptLonger)
	}
	return p.Until.Add(keptLonger)
}

// upcoming is a moment that is still to come; nil if it is not.
func upcoming(at, now time.Time) *time.Time {
	if !at.After(now) {
		return nil
	}
	return &at
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
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
