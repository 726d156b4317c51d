package availability

import (
	"maps"
	"time"

	"portolan.dev/config/ledger"
	"portolan.dev/health"
	"portolan.dev/resolver/compile"
)

// Adopt makes c what changes are published to: its masks are set from all that is
// known, its history goes on from the configuration before, and swap, which must not
// wait for anything, makes it what is served. unresolved are its replicas whose target
// has no addresses yet. Changes that come meanwhile wait.
func (v *Availability) Adopt(c *Configuration, unresolved []compile.Member, swap func()) {
	v.mu.Lock()
	old := v.current
	v.current = c
	v.unresolved = make(map[compile.Member]bool, len(unresolved))
	for _, m := range unresolved {
		v.unresolved[m] = true
	}
	if old != nil {
		v.rename(old)
	}
	v.inherit(old)
	v.monitor.Set(c.Compiled.Endpoints)
	v.forget()
	v.number()
	if old != nil {
		v.carryOutages(old)
		carryHistory(old, c, v.o.Now())
	}
	for registry := range v.concerned() {
		v.set(registry)
	}
	v.carryParts()
	for subject := range v.overrides {
		if m, ok := v.member(subject); ok {
			v.deadline(m)
		}
		v.explainOrder(subject)
	}
	for m := range v.unresolved {
		v.explainOrder(v.subject(m))
	}
	if old == nil {
		v.remember(v.recent)
		v.recent = nil
		for registry := range v.outages {
			v.tell(registry)
		}
	}
	v.reasons.current.Store(c)
	swap()
	v.mu.Unlock()
	v.journal.note()
	v.wake()
}

// concerned returns the registries whose masks are not what the configuration alone
// says. v.mu is held.
func (v *Availability) concerned() map[int]bool {
	registries := make(map[int]bool)
	for key := range v.out {
		for _, m := range v.current.Compiled.Members(key) {
			registries[m.Registry] = true
		}
	}
	for m := range v.unresolved {
		registries[m.Registry] = true
	}
	for subject := range v.overrides {
		if m, ok := v.member(subject); ok {
			registries[m.Registry] = true
		}
	}
	for registry := range v.outages {
		registries[registry] = true
	}
	return registries
}

// number finds what is out by the numbers of the endpoints. v.mu is held.
func (v *Availability) number() {
	c := v.current.Compiled
	v.outAt = make([]*endpoint, len(c.Endpoints))
	for key, e := range v.out {
		if i := c.EndpointIndex(key); i >= 0 {
			v.outAt[i] = e
		}
	}
}

// rename follows registries that have another key under the same served name: what
// operators have ordered for them is ordered for the new key from now on. v.mu is held.
func (v *Availability) rename(old *Configuration) {
	before, after := old.Compiled.Snapshot, v.current.Compiled.Snapshot
	renamed := make(map[string]string)
	for was, is := range compile.Pairs(old.Compiled, v.current.Compiled) {
		if a, b := before.Registries[was].Key, after.Registries[is].Key; a != b {
			renamed[a] = b
		}
	}
	if len(renamed) == 0 {
		return
	}
	moved := make(map[ledger.Subject]*override)
	for s, o := range v.overrides {
		if key, ok := renamed[s.Registry]; ok {
			delete(v.overrides, s)
			moved[ledger.Subject{Registry: key, Region: s.Region}] = o
			v.reasons.orders.Delete(s)
			v.renameOrders(s, key, o)
		}
	}
	maps.Copy(v.overrides, moved)
}

// renameOrders writes the orders for a replica to the ledger as orders for the same
// replica of a registry with another key. v.mu is held.
func (v *Availability) renameOrders(s ledger.Subject, key string, o *override) {
	why := "the registry was " + s.Registry + " before"
	write := func(was *ledger.Event, to **ledger.Event, inForce bool, at time.Time) {
		if was == nil {
			return
		}
		e := *was
		e.Registry = key
		*to = &e
		v.journal.verdicts([]ledger.Event{e}, func(stored []ledger.Event, err error) {
			if err != nil {
				return
			}
			v.mu.Lock()
			defer v.mu.Unlock()
			if *to == &e {
				*to = &stored[0]
			}
			if inForce {
				v.journal.verdicts([]ledger.Event{{
					Kind: ledger.Effective, Registry: key, Region: s.Region, DecidedAt: v.o.Now(), EffectiveAt: at, By: "portolan", Why: why, Of: stored[0].Seq,
				}}, nil)
			}
		})
	}
	write(o.drain, &o.drain, o.inForce, o.drainAt)
	write(o.undrain, &o.undrain, false, o.undrainAt)
	if o.routing != nil {
		v.journal.verdicts([]ledger.Event{{
			Kind: ledger.Routing, Registry: key, Region: s.Region, DecidedAt: v.o.Now(), By: o.routingBy, Why: why, Routing: o.routing,
		}}, nil)
	}
	write(o.nextRouting, &o.nextRouting, false, o.nextAt)
	now := v.o.Now()
	v.journal.verdicts([]ledger.Event{
		{Kind: ledger.Undrain, Registry: s.Registry, Region: s.Region, DecidedAt: now, By: "portolan", Why: "the registry is " + key + " now"},
		{Kind: ledger.Routing, Registry: s.Registry, Region: s.Region, DecidedAt: now, By: "portolan", Why: "the registry is " + key + " now"},
	}, nil)
}

// inherit keeps replicas down whose probe has changed, with a reload or between two
// processes: they are watched by another endpoint now, which must not take a dead replica
// for one never seen. old is nil at the start. v.mu is held.
func (v *Availability) inherit(old *Configuration) {
	var before func(number int) *endpoint
	if old != nil {
		before = v.beforeReload(old)
	} else {
		before = v.beforeStart()
	}
	c := v.current.Compiled
	for i := range c.Endpoints {
		e := &c.Endpoints[i]
		if v.out[e.Key] != nil {
			continue
		}
		was := before(i)
		if was == nil {
			continue
		}
		subject := v.subject(c.Members(e.Key)[0])
		v.out[e.Key] = &endpoint{since: was.since, passing: was.passing, subject: subject}
		v.reasons.health(e.Key, v.downSince(was.since, "it was when its probe was changed"))
		e.Resume = health.Resume{DownAt: v.o.Now(), Passing: was.passing}
		v.journal.verdicts([]ledger.Event{{
			Kind: ledger.Down, Endpoint: e.Key, Registry: subject.Registry, Region: subject.Region, DecidedAt: v.o.Now(), EffectiveAt: was.since,
			By: "portolan", Why: "was down when its probe was changed",
		}}, nil)
	}
}

// beforeReload returns what finds the endpoint that was out and watched the replicas of one
// that is new, given by its number; nil if there is none.
func (v *Availability) beforeReload(old *Configuration) func(number int) *endpoint {
	c := v.current.Compiled
	renamed := pairedRegistries(old.Compiled, c)
	return func(number int) *endpoint {
		key := c.Endpoints[number].Key
		if old.Compiled.EndpointIndex(key) >= 0 {
			return nil
		}
		subject := v.subject(c.Members(key)[0])
		if key, ok := renamed[subject.Registry]; ok {
			subject.Registry = key
		}
		m, ok := memberOf(old.Compiled, subject)
		if !ok {
			return nil
		}
		if before := old.Compiled.EndpointOf(m); before >= 0 {
			return v.out[old.Compiled.Endpoints[before].Key]
		}
		return nil
	}
}

// beforeStart is beforeReload for a process that has just begun: all that it knows is one
// replica that each verdict was for.
func (v *Availability) beforeStart() func(number int) *endpoint {
	c := v.current.Compiled
	heirs := make(map[int]*endpoint)
	for key, e := range v.out {
		if c.EndpointIndex(key) >= 0 {
			continue
		}
		if m, ok := v.member(e.subject); ok {
			if heir := c.EndpointOf(m); heir >= 0 {
				heirs[heir] = e
			}
		}
	}
	return func(number int) *endpoint { return heirs[number] }
}

// pairedRegistries gives the key that a registry had before by the one it has now,
// where they differ.
func pairedRegistries(old, next *compile.Result) map[string]string {
	out := make(map[string]string)
	for was, is := range compile.Pairs(old, next) {
		if a, b := old.Snapshot.Registries[was].Key, next.Snapshot.Registries[is].Key; a != b {
			out[b] = a
		}
	}
	return out
}

// forget drops what is known of endpoints that are no longer configured, in the
// ledger too: an endpoint that comes back one day begins as one never seen. v.mu is held.
func (v *Availability) forget() {
	var gone []ledger.Event
	for key := range v.out {
		if v.current.Compiled.EndpointIndex(key) < 0 {
			gone = append(gone, ledger.Event{Kind: ledger.Up, Endpoint: key, DecidedAt: v.o.Now(), By: "portolan", Why: "no longer configured"})
			delete(v.out, key)
			v.reasons.health(key, nil)
		}
	}
	v.record(gone)
}

// carryOutages gives outages the numbers that registries and regions have now. v.mu is
// held.
func (v *Availability) carryOutages(old *Configuration) {
	if len(v.outages) == 0 {
		return
	}
	numbers := renumbering(old.Compiled.Snapshot, v.current.Compiled.Snapshot)
	before := v.outages
	v.outages = make(map[int]*outage)
	for was, is := range compile.Pairs(old.Compiled, v.current.Compiled) {
		if o := before[was]; o != nil {
			v.outages[is] = &outage{Outage: o.Renumbered(&numbers), next: o.next}
		}
	}
}
