package app

import (
	"context"
	"fmt"
	"path"
	"strings"
	"time"

	"portolan.dev/cmd/internal/admin"
	"portolan.dev/config/ledger"
	"portolan.dev/resolver/compile"
	"portolan.dev/resolver/decide"
)

// Drain implements [admin.API].
func (a *App) Drain(ctx context.Context, r admin.DrainRequest) ([]admin.DrainStatus, error) {
	v := a.availability
	v.mu.Lock()
	members, err := v.selected(r.Selector)
	if err == nil && !r.Force {
		err = v.leavesNone(members, "draining")
	}
	if err == nil {
		err = v.drain(ctx, r, members)
	}
	w := v.world
	v.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return a.drainStatuses(w, members), nil
}

// drain makes a drain durable and then known. What is drained already keeps the
// moment it took effect: asking again must not give clients more time. v.mu is held.
func (v *availability) drain(ctx context.Context, r admin.DrainRequest, members []compile.Member) error {
	now := v.now()
	events := make([]ledger.Event, 0, len(members))
	for _, m := range members {
		subject := v.subject(m)
		e := ledger.Event{
			Kind: ledger.Drain, Registry: subject.Registry, Region: subject.Region, DecidedAt: now,
			EffectiveAt: now.Add(v.world.Config.State.Grace), By: r.By, Why: r.Reason, Now: r.Now,
		}
		// An end that has not come is taken back: the replica has been drained all along.
		if o := v.overrides[subject]; o != nil && o.drain != nil && (o.undrainAt.IsZero() || now.Before(o.undrainAt)) {
			if sameDrain(o.drain, r) && o.undrainAt.IsZero() {
				continue
			}
			e.EffectiveAt = o.drain.EffectiveAt
		}
		if r.Now {
			e.EffectiveAt = now
		}
		if r.Deadline > 0 {
			e.Deadline = now.Add(time.Duration(r.Deadline))
		}
		if r.For > 0 {
			e.Until = now.Add(time.Duration(r.For))
		}
		events = append(events, e)
	}
	if len(events) == 0 {
		return nil
	}
	v.save()
	stored, err := v.record.decide(ctx, events...)
	if err != nil {
		return fmt.Errorf("nothing was drained: %w", err)
	}
	for i := range stored {
		o := v.override(stored[i].Subject())
		o.drain, o.undrainAt = &stored[i], time.Time{}
		v.log.InfoContext(ctx, "drain decided", "registry", stored[i].Registry, "region", stored[i].Region,
			"effective_at", stamp(stored[i].EffectiveAt), "by", stored[i].By, "reason", stored[i].Why, "now", stored[i].Now)
	}
	v.wake()
	return nil
}

// sameDrain reports whether a request asks for nothing beyond the drain in force.
func sameDrain(e *ledger.Event, r admin.DrainRequest) bool {
	return e.Now == r.Now && r.Deadline == 0 && r.For == 0 && e.Deadline.IsZero() && e.Until.IsZero() &&
		(r.Reason == "" || r.Reason == e.Why)
}

// Undrain implements [admin.API].
func (a *App) Undrain(ctx context.Context, s admin.Selector, by, reason string) ([]admin.DrainStatus, error) {
	v := a.availability
	v.mu.Lock()
	members, err := v.selected(s)
	if err == nil {
		err = v.undrain(ctx, members, by, reason)
	}
	w := v.world
	v.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return a.drainStatuses(w, members), nil
}

// undrain ends drains after the grace time; one that has not taken effect yet
// never does. v.mu is held.
func (v *availability) undrain(ctx context.Context, members []compile.Member, by, reason string) error {
	now := v.now()
	var events []ledger.Event
	for _, m := range members {
		subject := v.subject(m)
		if o := v.overrides[subject]; o != nil && o.drain != nil && o.undrainAt.IsZero() {
			events = append(events, ledger.Event{
				Kind: ledger.Undrain, Registry: subject.Registry, Region: subject.Region, DecidedAt: now,
				EffectiveAt: now.Add(v.world.Config.State.Grace), By: by, Why: reason,
			})
		}
	}
	if len(events) == 0 {
		return nil
	}
	v.save()
	stored, err := v.record.decide(ctx, events...)
	if err != nil {
		return fmt.Errorf("nothing was undrained: %w", err)
	}
	for i := range stored {
		o := v.override(stored[i].Subject())
		o.undrainAt = stored[i].EffectiveAt
		if now.Before(o.drain.EffectiveAt) {
			o.undrainAt = now
		}
		v.log.InfoContext(ctx, "undrain decided", "registry", stored[i].Registry, "region", stored[i].Region,
			"effective_at", stamp(o.undrainAt), "by", by, "reason", reason)
	}
	v.wake()
	return nil
}

// SetRouting implements [admin.API].
func (a *App) SetRouting(ctx context.Context, r admin.RoutingRequest) (admin.ReplicaStatus, error) {
	v := a.availability
	v.mu.Lock()
	m, ok := v.member(ledger.Subject{Registry: r.Registry, Region: r.Region})
	if !ok {
		v.mu.Unlock()
		return admin.ReplicaStatus{}, fmt.Errorf("replica %s/%s is %w: see `portolan replication list`", r.Registry, r.Region, admin.ErrNotFound)
	}
	err := v.setRouting(ctx, r, m)
	w := v.world
	v.mu.Unlock()
	if err != nil {
		return admin.ReplicaStatus{}, err
	}
	return a.replicaStatus(w, m, a.activity(), a.shares.latest()), nil
}

// setRouting makes a routing switch durable and then known. v.mu is held.
func (v *availability) setRouting(ctx context.Context, r admin.RoutingRequest, m compile.Member) error {
	target := v.world.Compiled.Routed[m.Registry].Has(m.Region)
	if r.On != nil {
		target = *r.On
	}
	if !target && !r.Force {
		if err := v.leavesNone([]compile.Member{m}, "switching routing off for"); err != nil {
			return err
		}
	}
	o := v.override(v.subject(m))
	decided := o.routing
	if o.nextRouting != nil {
		decided = o.nextRouting.Routing
	}
	if sameSwitch(decided, r.On) { // asking again does not put off what was decided
		return nil
	}
	v.save()
	now := v.now()
	stored, err := v.record.decide(ctx, ledger.Event{
		Kind: ledger.Routing, Registry: r.Registry, Region: r.Region, DecidedAt: now,
		EffectiveAt: now.Add(v.world.Config.State.Grace), By: r.By, Why: r.Reason, Routing: r.On,
	})
	if err != nil {
		return fmt.Errorf("nothing was switched: %w", err)
	}
	o.nextRouting = &stored[0]
	v.log.InfoContext(ctx, "routing switch decided", "registry", r.Registry, "region", r.Region, "on", target,
		"effective_at", stamp(stored[0].EffectiveAt), "by", r.By, "reason", r.Reason)
	v.wake()
	return nil
}

func sameSwitch(a, b *bool) bool { return a == b || a != nil && b != nil && *a == *b }

// Failback implements [admin.API].
func (a *App) Failback(ctx context.Context, s admin.Selector, by, reason string) ([]admin.ReplicaStatus, error) {
	v := a.availability
	v.mu.Lock()
	defer v.mu.Unlock()
	members, err := v.selected(s)
	if err != nil {
		return nil, err
	}
	var events []ledger.Event
	back := make(map[string]bool)
	for _, m := range members {
		key, subject := v.probed(m), v.subject(m)
		if !v.parked[key] {
			continue
		}
		if back[key] {
			continue
		}
		back[key] = true
		events = append(events,
			ledger.Event{Kind: ledger.Failback, Registry: subject.Registry, Region: subject.Region, By: by, Why: reason},
			ledger.Event{Kind: ledger.Up, Endpoint: key, Registry: subject.Registry, Region: subject.Region, By: by, Why: reason})
	}
	if len(events) == 0 {
		return nil, fmt.Errorf("%w: no replica that matches has recovered and waits: see `portolan status`", admin.ErrRefused)
	}
	if _, err := v.record.decide(ctx, events...); err != nil {
		return nil, fmt.Errorf("nothing was let back: %w", err)
	}
	zones := make(map[uint32]bool)
	for key := range back {
		v.setDown(key, false, zones)
	}
	v.raise(zones)
	v.log.InfoContext(ctx, "failback", "endpoints", len(back), "by", by, "reason", reason)
	statuses := make([]admin.ReplicaStatus, 0, len(members))
	for _, m := range members {
		subject := v.subject(m)
		statuses = append(statuses, admin.ReplicaStatus{Registry: subject.Registry, Region: subject.Region, Up: true})
	}
	return statuses, nil
}

// selected returns the replicas that a selector matches. v.mu is held.
func (v *availability) selected(s admin.Selector) ([]compile.Member, error) {
	for _, glob := range []string{s.Registry, s.Region} {
		if _, err := path.Match(glob, ""); err != nil {
			return nil, fmt.Errorf("%w: %q is no pattern: write it like `eastus` or `west*`", admin.ErrInvalid, glob)
		}
	}
	snapshot := v.world.Compiled.Snapshot
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
		return nil, fmt.Errorf("replica %s/%s is %w: see `portolan status` for registries and regions", orAny(s.Registry), orAny(s.Region), admin.ErrNotFound)
	}
	return members, nil
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

// leavesNone fails when some registry would have no eligible replica left without
// the given ones. What has been decided and is not effective yet counts already.
// v.mu is held.
func (v *availability) leavesNone(members []compile.Member, doing string) error {
	out := make(map[int]decide.Mask)
	for _, m := range members {
		out[m.Registry] = out[m.Registry].With(m.Region, true)
	}
	var bare []string
	for registry, mask := range out {
		left := v.eligible(registry) &^ mask
		if left == 0 {
			bare = append(bare, v.world.Compiled.Snapshot.Registries[registry].Key)
		}
	}
	if len(bare) == 0 {
		return nil
	}
	shown := strings.Join(bare[:min(len(bare), 3)], ", ")
	return fmt.Errorf("%w: %s these replicas would leave no eligible replica for %d registries (%s): undrain or mend another one first, or insist with --force",
		admin.ErrRefused, doing, len(bare), shown)
}

// eligible returns the replicas of a registry that are up, routed, and neither
// drained nor about to be. v.mu is held.
func (v *availability) eligible(registry int) decide.Mask {
	m := v.world.Compiled.Snapshot.Live[registry].Masks()
	eligible := m.Routed & m.Up
	for region := range uint8(len(v.world.Compiled.Snapshot.Regions)) {
		if !eligible.Has(region) {
			continue
		}
		o := v.overrides[v.subject(compile.Member{Registry: registry, Region: region})]
		if o != nil && (o.drain != nil && o.undrainAt.IsZero() || o.nextRouting != nil && o.nextRouting.Routing != nil && !*o.nextRouting.Routing) {
			eligible = eligible.With(region, false)
		}
	}
	return eligible
}

// override returns the override of a replica, made if need be. v.mu is held.
func (v *availability) override(subject ledger.Subject) *override {
	o := v.overrides[subject]
	if o == nil {
		o = &override{}
		v.overrides[subject] = o
	}
	return o
}
