package availability

import (
	"cmp"
	"maps"
	"slices"
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
		v.rename(v.reloadedKey(old))
	} else {
		v.renameRestored()
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

// reloadedKey returns what gives the key under which the registry of an order is served now.
func (v *Availability) reloadedKey(old *Configuration) func(s ledger.Subject, _ *override) string {
	keys := otherKeys(old.Compiled, v.current.Compiled)
	return func(s ledger.Subject, _ *override) string { return cmp.Or(keys[s.Registry], s.Registry) }
}

// otherKeys gives the keys of registries that have another one in the next configuration
// under the same served name, by the key that they had.
func otherKeys(old, next *compile.Result) map[string]string {
	out := make(map[string]string)
	for was, is := range compile.Pairs(old, next) {
		if a, b := old.Snapshot.Registries[was].Key, next.Snapshot.Registries[is].Key; a != b {
			out[a] = b
		}
	}
	return out
}

// rename follows registries that have another key under the same served name: what
// operators have ordered for them is ordered for the new key from now on. v.mu is held.
func (v *Availability) rename(keyOf func(ledger.Subject, *override) string) {
	moved := make(map[ledger.Subject]*override)
	var r renaming
	names := make(map[string]string)
	for s, o := range v.overrides {
		if key := keyOf(s, o); key != s.Registry {
			names[s.Registry] = key
			delete(v.overrides, s)
			moved[ledger.Subject{Registry: key, Region: s.Region}] = o
			v.reasons.orders.Delete(s)
			r.add(s, key, o, v.o.Now())
		}
	}
	if len(moved) == 0 {
		return
	}
	maps.Copy(v.overrides, moved)
	// One write: two registries may have changed keys, and a kill must leave no half.
	v.journal.verdicts(slices.Concat(r.ended, r.orders), func(stored []ledger.Event, err error) {
		if err == nil {
			v.renamed(r, stored[len(r.ended):])
		}
	})
	v.o.Log.Info("orders follow registries that have another key under the same name", "keys", names)
}

// renaming collects the events by which orders follow registries that have another key.
type renaming struct {
	ended  []ledger.Event // for the old keys
	orders []ledger.Event // for the new keys
	// each is, for each of orders, where the event is to be known, and since when it is in
	// force; nil and zero for one of which neither is so.
	each []renamedOrder
}

type renamedOrder struct {
	place   **ledger.Event
	event   *ledger.Event // that is there until it is stored
	inForce bool
	at      time.Time
}

// add adds the orders for a replica whose registry has the given key now.
func (r *renaming) add(s ledger.Subject, key string, o *override, now time.Time) {
	order := func(place **ledger.Event, inForce bool, at time.Time) {
		if *place == nil {
			return
		}
		e := **place
		e.Registry = key
		*place = &e
		r.orders, r.each = append(r.orders, e), append(r.each, renamedOrder{place, &e, inForce, at})
	}
	order(&o.drain, o.inForce, o.drainAt)
	order(&o.undrain, false, o.undrainAt)
	if o.routing != nil {
		r.orders = append(r.orders, ledger.Event{
			Kind: ledger.Routing, Registry: key, Region: s.Region, DecidedAt: now, By: o.routingBy, Why: "the registry was " + s.Registry + " before", Routing: o.routing,
		})
		r.each = append(r.each, renamedOrder{})
	}
	order(&o.nextRouting, false, o.nextAt)
	why := "the registry is " + key + " now"
	r.ended = append(r.ended,
		ledger.Event{Kind: ledger.Undrain, Registry: s.Registry, Region: s.Region, DecidedAt: now, By: "portolan", Why: why},
		ledger.Event{Kind: ledger.Routing, Registry: s.Registry, Region: s.Region, DecidedAt: now, By: "portolan", Why: why})
}

// renamed makes known which numbers the orders have in the ledger.
func (v *Availability) renamed(r renaming, stored []ledger.Event) {
	v.mu.Lock()
	defer v.mu.Unlock()
	var facts []ledger.Event
	for i := range stored {
		e, order := &stored[i], &r.each[i]
		if order.place != nil && *order.place == order.event {
			*order.place = e
		}
		if order.inForce {
			facts = append(facts, ledger.Event{
				Kind: ledger.Effective, Registry: e.Registry, Region: e.Region, DecidedAt: v.o.Now(), EffectiveAt: order.at, By: "portolan", Of: e.Seq,
			})
		}
	}
	v.record(facts)
}

// renameRestored follows registries whose key was changed between two processes, by the
// names that the ledger has beside the keys. v.mu is held.
func (v *Availability) renameRestored() {
	c := v.current.Compiled
	var byName map[string]string // made when it is needed
	keyOf := func(key, name string) string {
		if i, ok := c.Index[key]; name == "" || ok && c.Snapshot.Registries[i].Name == name {
			return key
		}
		if byName == nil {
			byName = make(map[string]string, len(c.Snapshot.Registries))
			for i := range c.Snapshot.Registries {
				byName[c.Snapshot.Registries[i].Name] = c.Snapshot.Registries[i].Key
			}
		}
		return cmp.Or(byName[name], key)
	}
	for _, e := range v.out {
		e.subject.Registry = keyOf(e.subject.Registry, e.name)
	}
	for i := range v.recent {
		v.recent[i].Registry = keyOf(v.recent[i].Registry, v.recent[i].Name)
	}
	v.rename(func(s ledger.Subject, o *override) string {
		for _, e := range []*ledger.Event{o.drain, o.undrain, o.nextRouting, o.routed} {
			if e != nil && e.Name != "" {
				return keyOf(s.Registry, e.Name)
			}
		}
		return s.Registry
	})
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
	before := make(map[string]string) // the key that a registry had
	for was, is := range otherKeys(old.Compiled, c) {
		before[is] = was
	}
	return func(number int) *endpoint {
		key := c.Endpoints[number].Key
		if old.Compiled.EndpointIndex(key) >= 0 {
			return nil
		}
		subject := v.subject(c.Members(key)[0])
		if key, ok := before[subject.Registry]; ok {
			subject.Registry = key
		}
		m, ok := memberOf(old.Compiled, subject)
		if !ok {
			return nil
		}
		if e := old.Compiled.EndpointOf(m); e >= 0 {
			return v.out[old.Compiled.Endpoints[e].Key]
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
