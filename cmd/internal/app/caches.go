package app

import (
	"context"
	"crypto/sha256"
	"maps"
	"slices"
	"sync"
	"time"

	"portolan.dev/cmd/internal/cached"
	"portolan.dev/resolver/compile"
)

// caches keeps track of the answers of earlier configurations that DNS caches may still
// hold, whichever process gave them. A configuration is on record before it is served,
// so that the next process knows the answers of this one.
type caches struct {
	mu sync.Mutex
	// past has the registries of which anything is left, by global name. It is
	// replaced, never changed.
	past map[string]cached.Record
	// saved is the checksum of what was saved last, unsaved that it is not all, failed
	// that the last saving did.
	saved           [sha256.Size]byte
	unsaved, failed bool
}

// of returns the record of a registry, by its global name; false if there is nothing
// but what its configuration says.
func (c *caches) of(name string) (cached.Record, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, ok := c.past[name]
	return r, ok
}

func (c *caches) all() map[string]cached.Record {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.past
}

func (c *caches) set(past map[string]cached.Record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.past = past
}

// forget has the record saved again, even if it is the same as the last.
func (c *caches) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.saved = [sha256.Size]byte{}
}

// served fills in what w answers of a registry. The record shares the slices of w, and
// reuses its own.
func (w *World) served(registry int, r *cached.Record) {
	s := w.Compiled.Snapshot
	have := &s.Registries[registry]
	*r = cached.Record{Name: have.Name, TTL: have.TTL, RegionalTTL: w.said.registries[registry].regionalTTL, Replicas: r.Replicas[:0]}
	for region := range uint8(len(s.Regions)) {
		if have.Configured.Has(region) {
			r.Replicas = append(r.Replicas, cached.Replica{
				Label: s.Regions[region].Label, Addresses: w.said.addressesOf(s.ReplicaNumber(registry, region)),
			})
		}
	}
}

// sameAnswers reports whether a registry has the TTLs and replicas that it had, and
// data names or none as before.
func sameAnswers(old *World, was int, next *World, is int) bool {
	before, after := &old.said.registries[was], &next.said.registries[is]
	return old.Compiled.Snapshot.Registries[was].TTL == next.Compiled.Snapshot.Registries[is].TTL &&
		before.regionalTTL == after.regionalTTL && before.data == after.data &&
		slices.Equal(old.replicasSaid(was), next.replicasSaid(is))
}

// overtaken returns the records that caches may hold after next has replaced old. past are
// those that they may hold before; differs reports whether the record changes.
func overtaken(old, next *World, past map[string]cached.Record, at time.Time) (out map[string]cached.Record, differs bool) {
	out = make(map[string]cached.Record)
	var was, is cached.Record
	follow := func(name string) {
		if p, ok := past[name]; ok {
			was.Merge(&p)
		}
		if was.Follow(&is, at); is.Past() {
			out[name] = is.Clone()
		}
	}
	before, after := old.Compiled.Snapshot.Registries, next.Compiled.Snapshot.Registries
	stays, come := make([]bool, len(before)), make([]bool, len(after))
	done := make(map[string]bool, len(past))
	for i, j := range compile.Pairs(old.Compiled, next.Compiled) {
		stays[i], come[j] = true, true
		if _, ok := past[after[j].Name]; !ok && sameAnswers(old, i, next, j) {
			continue
		}
		done[after[j].Name] = true
		old.served(i, &was)
		next.served(j, &is)
		follow(after[j].Name)
	}
	for i, stays := range stays {
		if name := before[i].Name; !stays {
			done[name] = true
			old.served(i, &was)
			is = cached.Record{Name: name}
			follow(name)
		}
	}
	for j, known := range come {
		if name := after[j].Name; !known {
			done[name] = true
			was = cached.Record{Name: name}
			next.served(j, &is)
			follow(name)
		}
	}
	for name := range past { // neither served before nor now
		if !done[name] {
			was, is = cached.Record{Name: name}, cached.Record{Name: name}
			follow(name)
		}
	}
	return out, len(done) > 0 || len(past) > 0
}

// inherited is overtaken for what another process has served, by its record. lost are
// the replicas that have not all addresses that they had.
func inherited(record []byte, next *World, at time.Time) (out map[string]cached.Record, lost []compile.Member, err error) {
	out = make(map[string]cached.Record)
	if record == nil {
		return out, nil, nil
	}
	come := make(map[string]int)
	for i := range next.Compiled.Snapshot.Registries {
		come[next.Compiled.Snapshot.Registries[i].Name] = i
	}
	var is cached.Record
	err = cached.Read(record, func(was *cached.Record) {
		if j, ok := come[was.Name]; ok {
			next.served(j, &is)
			lost = append(lost, next.lost(j, was, &is)...)
		} else {
			is = cached.Record{Name: was.Name}
		}
		if was.Follow(&is, at); is.Past() {
			out[was.Name] = is.Clone()
		}
	})
	return out, lost, err
}

// lost returns the replicas of a registry that have not all addresses that they had.
func (w *World) lost(registry int, was, is *cached.Record) (members []compile.Member) {
	for i := range was.Replicas {
		p := &was.Replicas[i]
		now := is.Find(p.Label)
		if now == nil || !cached.Lost(p.Addresses, now.Addresses) {
			continue
		}
		if m, ok := w.member(registry, p.Label); ok {
			members = append(members, m)
		}
	}
	return members
}

// recallServed loads the record of earlier answers, and returns the replicas that have
// lost an address since. A record that cannot be read counts as one of w.
func (a *App) recallServed(ctx context.Context, w *World) (lost []compile.Member) {
	record, _, err := a.record.store.Served(ctx)
	at := a.started
	if a.before != nil {
		at = cached.Open
	}
	var past map[string]cached.Record
	if err == nil {
		past, lost, err = inherited(record, w, at)
	}
	if err != nil {
		a.log.WarnContext(ctx, "what was served before is not known; safe_at goes by the TTLs of now", "error", err)
	}
	a.caches.set(past)
	if a.before == nil {
		a.saveServed(ctx, w)
	}
	return lost
}

// settleServed notes that the old process has given its last answer.
func (a *App) settleServed(ctx context.Context) {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	w := a.world.Load()
	// Now, and not when it was said: a reload may have come in between.
	past, differs := overtaken(w, w, a.caches.all(), a.o.Now())
	if a.caches.set(past); differs {
		a.saveServed(ctx, w)
	}
}

// overtake makes next what is served, with publish. What caches may hold of old is
// durable before.
func (a *App) overtake(ctx context.Context, old, next *World, publish func()) {
	past := a.caches.all()
	open, differs := overtaken(old, next, past, cached.Open)
	if !differs {
		publish()
		return
	}
	a.caches.set(open)
	a.saveServed(ctx, next)
	publish()
	at := a.o.Now()
	if a.before != nil && a.before.quiet.Load() == 0 {
		at = cached.Open // the old process still answers; settleServed ends both
	}
	settled, _ := overtaken(old, next, past, at)
	a.caches.set(settled)
	// What is saved says more than what is so. The rest has time.
	a.caches.mu.Lock()
	a.caches.unsaved = true
	a.caches.mu.Unlock()
}

// saveServed makes durable what w answers and what caches may hold besides, unless that
// was saved last. A failure is an alarm and no obstacle.
func (a *App) saveServed(ctx context.Context, w *World) {
	c := &a.caches
	record := w.record(c.all())
	sum := sha256.Sum256(record)
	c.mu.Lock()
	same := c.saved == sum
	c.unsaved = c.unsaved && !same
	c.mu.Unlock()
	if same {
		return
	}
	err := a.record.store.PutServed(ctx, record)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		if !c.failed {
			a.log.WarnContext(ctx, "what is served is not saved; after a restart with lower TTLs safe_at may be too early", "error", err)
		}
		c.saved, c.unsaved, c.failed = [sha256.Size]byte{}, true, true
		return
	}
	c.saved, c.unsaved, c.failed = sum, false, false
}

// saveServedRest saves what is not saved yet. a.reloading is held.
func (a *App) saveServedRest(ctx context.Context) {
	a.caches.mu.Lock()
	unsaved := a.caches.unsaved
	a.caches.mu.Unlock()
	if unsaved {
		a.saveServed(ctx, a.world.Load())
	}
}

// keepServedSaved is saveServedRest unless a reload or an upgrade is under way.
func (a *App) keepServedSaved(ctx context.Context) {
	if a.reloading.TryLock() {
		defer a.reloading.Unlock()
		a.saveServedRest(ctx)
	}
}

// record encodes what w answers and what caches may hold besides.
func (w *World) record(past map[string]cached.Record) []byte {
	s := w.Compiled.Snapshot
	const name, replica = 64, 32 // octets, and then some: growing would cost more
	b := append(make([]byte, 0, name*len(s.Registries)+replica*len(s.Replicas)), cached.Header()...)
	left := maps.Clone(past)
	var r cached.Record
	for i := range s.Registries {
		w.served(i, &r)
		if p, ok := left[r.Name]; ok {
			r.Merge(&p)
			delete(left, r.Name)
		}
		b = cached.Append(b, &r)
	}
	for _, name := range slices.Sorted(maps.Keys(left)) {
		p := left[name]
		b = cached.Append(b, &p)
	}
	return b
}
