package availability

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"portolan.dev/config/ledger"
	"portolan.dev/resolver/compile"
	"portolan.dev/resolver/decide"
)

// Selector names replicas: the key of a registry and the label of a region, each may
// be a glob, and "" is any.
type Selector struct{ Registry, Region string }

// DrainOrder takes replicas out for new clients.
type DrainOrder struct {
	Selector

	By, Reason string
	// Deadline is after how long holds end at the latest, For after how long the drain
	// ends by itself; 0 for what an earlier order has said, [None] for neither.
	Deadline, For time.Duration
	// Now treats the replicas as down, Force drains the last eligible one, too.
	Now, Force bool
}

// Drain drains replicas of what is served, and returns them: all that the selector
// names, also those that were drained already. It returns when that is durable.
func (v *Availability) Drain(r DrainOrder) (c *Configuration, members []compile.Member, err error) {
	v.orders.Lock()
	defer v.orders.Unlock()
	v.mu.Lock()
	c = v.current
	members, err = v.selected(r.Selector)
	if err == nil && !r.Force {
		err = v.leavesNone(members, "draining")
	}
	var events []ledger.Event
	if err == nil {
		events = v.drainEvents(r, members)
	}
	v.mu.Unlock()
	if err != nil || len(events) == 0 {
		return c, members, err
	}
	err = v.journal.order(events, true, func(stored []ledger.Event) {
		v.apply(stored, func(o *override, e *ledger.Event, now time.Time) {
			drained := o.drainedAt(now)
			switch o.setDrain(e, now); {
			case !drained:
				o.drainAt = notBefore(o.drainAt, now)
			case o.drainAt.After(now):
				o.drainAt = now
			}
			v.o.Log.Info("drain decided", "registry", e.Registry, "region", e.Region,
				"effective_at", v.o.Stamp(o.drainAt), "by", e.By, "reason", e.Why, "now", e.Now)
		})
	})
	if err != nil {
		err = fmt.Errorf("nothing was drained: %w", err)
	}
	return c, members, err
}

// None as a span of a DrainOrder takes back what an earlier one has said; 0 leaves it.
const None time.Duration = -1

// drainEvents returns the events that a drain adds to the ledger. Asking again merges: what is drained
// already keeps the moment it took effect, which must not give clients more time, and all
// that the order does not speak of. v.mu is held.
func (v *Availability) drainEvents(r DrainOrder, members []compile.Member) []ledger.Event {
	now := v.o.Now()
	events := make([]ledger.Event, 0, len(members))
	for _, m := range members {
		subject := v.subject(m)
		e := ledger.Event{
			Kind: ledger.Drain, Registry: subject.Registry, Region: subject.Region, DecidedAt: now,
			EffectiveAt: now.Add(v.current.Grace), By: r.By, Why: r.Reason, Now: r.Now,
		}
		// An end that has not come is taken back: the replica has been drained all along.
		if o := v.overrides[subject]; o != nil && o.drain != nil && (o.undrain == nil || now.Before(o.undrainAt)) {
			if o.undrain == nil && r.changesNothing(o) {
				continue
			}
			e.EffectiveAt, e.Deadline, e.Until = o.drainAt, o.drain.Deadline, o.drainEnds
			e.Now = r.Now || o.drain.Now
			e.Why = cmp.Or(r.Reason, o.drain.Why)
		}
		if r.Now && e.EffectiveAt.After(now) {
			e.EffectiveAt = now
		}
		e.Deadline, e.Until = merged(e.Deadline, r.Deadline, now), merged(e.Until, r.For, now)
		events = append(events, e)
	}
	return events
}

// merged returns the moment that an order makes of one that was said before.
func merged(before time.Time, span time.Duration, now time.Time) time.Time {
	switch {
	case span > 0:
		return now.Add(span)
	case span == None:
		return time.Time{}
	}
	return before
}

// changesNothing reports whether an order asks for nothing beyond the drain in force.
func (r *DrainOrder) changesNothing(o *override) bool {
	keeps := func(span time.Duration, said time.Time) bool { return span == 0 || span == None && said.IsZero() }
	return (!r.Now || o.drain.Now) && keeps(r.Deadline, o.drain.Deadline) && keeps(r.For, o.drainEnds) &&
		(r.Reason == "" || r.Reason == o.drain.Why)
}

// notBefore returns the later of two moments. An order that has waited for a disk for
// longer than its grace time takes effect now that it is durable, and says so.
func notBefore(at, now time.Time) time.Time {
	if at.Before(now) {
		return now
	}
	return at
}

// apply makes orders that are durable known, and publishes what they change at once.
func (v *Availability) apply(stored []ledger.Event, order func(*override, *ledger.Event, time.Time)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.o.Now()
	for i := range stored {
		e := &stored[i]
		order(v.override(e.Subject()), e, now)
		if m, ok := v.member(e.Subject()); ok {
			v.deadline(m)
		}
	}
	v.wake()
}

// Undrain ends drains after the grace time; one that has not taken effect yet never
// does. It returns the replicas of what is served that the selector names; drains of
// replicas that are not configured are ended, too.
func (v *Availability) Undrain(s Selector, by, reason string) (c *Configuration, members []compile.Member, err error) {
	v.orders.Lock()
	defer v.orders.Unlock()
	v.mu.Lock()
	c = v.current
	members, err = v.selected(s)
	now := v.o.Now()
	var events []ledger.Event
	for subject, o := range v.overrides {
		if o.drain == nil || o.undrain != nil || !s.Matches(subject) {
			continue
		}
		events = append(events, ledger.Event{
			Kind: ledger.Undrain, Registry: subject.Registry, Region: subject.Region, DecidedAt: now,
			EffectiveAt: now.Add(v.current.Grace), By: by, Why: reason,
		})
	}
	v.mu.Unlock()
	if len(events) == 0 {
		return c, members, err
	}
	slices.SortFunc(events, func(a, b ledger.Event) int {
		return cmp.Or(cmp.Compare(a.Registry, b.Registry), cmp.Compare(a.Region, b.Region))
	})
	err = v.journal.order(events, true, func(stored []ledger.Event) {
		v.apply(stored, func(o *override, e *ledger.Event, now time.Time) {
			if o.drain == nil {
				return // it ended by itself meanwhile
			}
			o.undrain, o.undrainAt = e, notBefore(e.EffectiveAt, now)
			if !o.inForce && now.Before(o.drainAt) {
				o.undrainAt = now
			}
			v.o.Log.Info("undrain decided", "registry", e.Registry, "region", e.Region,
				"effective_at", v.o.Stamp(o.undrainAt), "by", by, "reason", reason)
		})
	})
	if err != nil {
		err = fmt.Errorf("nothing was undrained: %w", err)
	}
	return c, members, err
}

// RoutingOrder switches global endpoint routing of one replica; a nil On switches back
// to what the configuration says.
type RoutingOrder struct {
	Registry, Region string
	On               *bool
	By, Reason       string
	Force            bool
}

// SetRouting switches routing after the grace time, and returns the replica.
func (v *Availability) SetRouting(r RoutingOrder) (c *Configuration, m compile.Member, err error) {
	v.orders.Lock()
	defer v.orders.Unlock()
	v.mu.Lock()
	c = v.current
	m, ok := v.member(ledger.Subject{Registry: r.Registry, Region: r.Region})
	if !ok {
		v.mu.Unlock()
		return c, m, fmt.Errorf("replica %s/%s is %w: see `portolan replication list`", r.Registry, r.Region, ErrNotFound)
	}
	target := c.Compiled.Routed[m.Registry].Has(m.Region)
	if r.On != nil {
		target = *r.On
	}
	if !target && !r.Force {
		err = v.leavesNone([]compile.Member{m}, "switching routing off for")
	}
	// Asking again does not put off what was decided.
	decided := v.decidedRouting(v.subject(m))
	now := v.o.Now()
	e := ledger.Event{
		Kind: ledger.Routing, Registry: r.Registry, Region: r.Region, DecidedAt: now,
		EffectiveAt: now.Add(c.Grace), By: r.By, Why: r.Reason, Routing: r.On,
	}
	v.mu.Unlock()
	if err != nil || sameSwitch(decided, r.On) {
		return c, m, err
	}
	err = v.journal.order([]ledger.Event{e}, true, func(stored []ledger.Event) {
		v.apply(stored, func(o *override, e *ledger.Event, now time.Time) {
			o.nextRouting, o.nextAt = e, notBefore(e.EffectiveAt, now)
			v.o.Log.Info("routing switch decided", "registry", r.Registry, "region", r.Region, "on", target,
				"effective_at", v.o.Stamp(o.nextAt), "by", r.By, "reason", r.Reason)
		})
	})
	if err != nil {
		err = fmt.Errorf("nothing was switched: %w", err)
	}
	return c, m, err
}

// decidedRouting returns how routing of a replica was switched last. v.mu is held.
func (v *Availability) decidedRouting(s ledger.Subject) *bool {
	o := v.overrides[s]
	switch {
	case o == nil:
		return nil
	case o.nextRouting != nil:
		return o.nextRouting.Routing
	}
	return o.routing
}

func sameSwitch(a, b *bool) bool { return a == b || a != nil && b != nil && *a == *b }

// Failback lets replicas back that wait for an operator, and at once those that work
// and whose recovery hold is not over. Replicas that share a probe come back together. It
// returns those that the selector names, and behind them others that come back, too.
func (v *Availability) Failback(s Selector, by, reason string) (c *Configuration, members []compile.Member, err error) {
	v.orders.Lock()
	defer v.orders.Unlock()
	v.mu.Lock()
	c = v.current
	members, err = v.selected(s)
	var events []ledger.Event
	var others []compile.Member
	back := make(map[string]*endpoint)
	for _, m := range members {
		e := c.Compiled.EndpointOf(m)
		if e < 0 {
			continue
		}
		key, subject := c.Compiled.Endpoints[e].Key, v.subject(m)
		out := v.out[key]
		if out == nil || !out.parked && !out.passing || back[key] != nil {
			continue
		}
		back[key] = out
		shared := c.Compiled.Members(key)
		others = append(others, shared...)
		events = append(events,
			ledger.Event{Kind: ledger.Failback, Registry: subject.Registry, Region: subject.Region, By: by, Why: reason, Detail: v.sharedText(shared, m)},
			ledger.Event{Kind: ledger.Up, Endpoint: key, Registry: subject.Registry, Region: subject.Region, By: by, Why: reason})
	}
	v.mu.Unlock()
	if err == nil && len(events) == 0 {
		err = fmt.Errorf("%w: no replica that matches is out and works: see `portolan status`", ErrRefused)
	}
	if err != nil {
		return c, members, err
	}
	if err = v.journal.order(events, true, func([]ledger.Event) { v.failback(back) }); err != nil {
		return c, members, fmt.Errorf("nothing was let back: %w", err)
	}
	named := make(map[compile.Member]bool, len(members))
	for _, m := range members {
		named[m] = true
	}
	for _, m := range others {
		if !named[m] {
			named[m] = true
			members = append(members, m)
		}
	}
	v.o.Log.Info("failback", "endpoints", len(back), "replicas", len(others), "by", by, "reason", reason)
	return c, members, nil
}

// maxShared is how many replicas that share a probe an event names.
const maxShared = 5

// sharedText names the replicas that an order for m concerns as well, because they are
// watched by the same probe; "" for none. v.mu is held.
func (v *Availability) sharedText(shared []compile.Member, m compile.Member) string {
	var names []string
	for _, other := range shared {
		if other == m {
			continue
		}
		if len(names) == maxShared {
			names = append(names, fmt.Sprintf("and %d more", len(shared)-1-maxShared))
			break
		}
		s := v.subject(other)
		names = append(names, s.Registry+"/"+s.Region)
	}
	if len(names) == 0 {
		return ""
	}
	return "also, with the same probe: " + strings.Join(names, ", ")
}

// failback publishes that endpoints are up, as an operator wants it.
func (v *Availability) failback(back map[string]*endpoint) {
	v.mu.Lock()
	defer v.mu.Unlock()
	zones := make(map[uint32]bool)
	for key, e := range back {
		members := v.current.Compiled.Members(key)
		if v.out[key] != e || len(members) == 0 {
			continue
		}
		if !e.parked && !v.monitor.LetBack(key) { // it has failed meanwhile: down again
			subject := v.subject(members[0])
			v.journal.verdicts([]ledger.Event{{
				Kind: ledger.Down, Endpoint: key, Registry: subject.Registry, Region: subject.Region,
				DecidedAt: v.o.Now(), By: "health", Why: "failed while it was let back",
			}}, nil)
			continue
		}
		v.letBack(key, members, zones)
	}
	v.raise(zones)
}

// selected returns the replicas of what is served that a selector matches. v.mu is
// held.
func (v *Availability) selected(s Selector) ([]compile.Member, error) {
	for _, glob := range []string{s.Registry, s.Region} {
		if _, err := path.Match(glob, ""); err != nil {
			return nil, fmt.Errorf("%w: %q is no pattern: write it like `eastus` or `west*`", ErrInvalid, glob)
		}
	}
	snapshot := v.current.Compiled.Snapshot
	var regions decide.Mask
	for i, r := range snapshot.Regions {
		regions = regions.With(uint8(i), matches(s.Region, r.Label))
	}
	var members []compile.Member
	for i := range snapshot.Registries {
		if !matches(s.Registry, snapshot.Registries[i].Key) {
			continue
		}
		for region := range uint8(len(snapshot.Regions)) {
			if (regions & snapshot.Registries[i].Configured).Has(region) {
				members = append(members, compile.Member{Registry: i, Region: region})
			}
		}
	}
	if len(members) == 0 {
		return nil, fmt.Errorf("replica %s/%s is %w: see `portolan status` for registries and regions", orAny(s.Registry), orAny(s.Region), ErrNotFound)
	}
	return members, nil
}

// Matches reports whether a replica is one of those that s names.
func (s Selector) Matches(replica ledger.Subject) bool {
	return matches(s.Registry, replica.Registry) && matches(s.Region, replica.Region)
}

func matches(glob, name string) bool {
	if glob == "" {
		return true
	}
	ok, err := path.Match(glob, name)
	return err == nil && ok
}

func orAny(s string) string {
	if s == "" {
		return "*"
	}
	return s
}

// leavesNone fails when an order would take from some registry what it can answer: the
// last eligible replica, or, if it has none, the last one that is answered for want of a
// better. What has been decided and is not effective yet counts already. An order that
// makes nothing worse goes through. v.mu is held.
func (v *Availability) leavesNone(members []compile.Member, doing string) error {
	out := make(map[int]decide.Mask)
	for _, m := range members {
		out[m.Registry] = out[m.Registry].With(m.Region, true)
	}
	var bare []string
	for registry, mask := range out {
		before := v.intended(registry)
		if eligible := before & v.current.Compiled.Snapshot.Live[registry].Masks().Up; eligible != 0 {
			before = eligible
		}
		if before&mask != 0 && before&^mask == 0 {
			bare = append(bare, v.current.Compiled.Snapshot.Registries[registry].Key)
		}
	}
	if len(bare) == 0 {
		return nil
	}
	slices.Sort(bare)
	shown := strings.Join(bare[:min(len(bare), 3)], ", ")
	return fmt.Errorf("%w: %s these replicas would leave no eligible replica for %d registries (%s): undrain or mend another one first, or insist with --force",
		ErrRefused, doing, len(bare), shown)
}

// intended returns the replicas of a registry that are routed, and neither drained nor about
// to be. v.mu is held.
func (v *Availability) intended(registry int) decide.Mask {
	m := v.current.Compiled.Snapshot.Live[registry].Masks().Routed
	for region := range uint8(len(v.current.Compiled.Snapshot.Regions)) {
		if !m.Has(region) {
			continue
		}
		o := v.overrides[v.subject(compile.Member{Registry: registry, Region: region})]
		if o != nil && (o.drain != nil && o.undrain == nil || o.nextRouting != nil && o.nextRouting.Routing != nil && !*o.nextRouting.Routing) {
			m = m.With(region, false)
		}
	}
	return m
}
