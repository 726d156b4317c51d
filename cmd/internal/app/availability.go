package app

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"portolan.dev/config/ledger"
	"portolan.dev/health"
	"portolan.dev/resolver/compile"
	"portolan.dev/resolver/decide"
)

// availability turns what health, the operator and the configuration say of
// replicas into the masks that queries read. Whatever changes, the bits of the
// replicas concerned are computed anew from all of it, so that no order of events
// can leave a bit behind.
type availability struct {
	log     *slog.Logger
	now     func() time.Time
	monitor *health.Monitor
	record  *record

	mu    sync.Mutex // guards what follows; held while masks are written
	world *World
	// down holds the endpoints that are out, parked those of them that have
	// recovered and wait for an operator.
	down, parked map[string]bool
	// unresolved holds the replicas whose target host name has no addresses yet:
	// they cannot be answered, whatever health says.
	unresolved map[compile.Member]bool
	// overrides is what operators have said, by registry key and region label.
	overrides map[ledger.Subject]*override
	// save makes durable what clients were given, before a voluntary change is decided
	// and before it takes effect: whoever was active then is known after a crash too,
	// even if the change takes effect while the server is down.
	save func()
	// recent is what the ledger tells of the last hour, for the first world.
	recent []ledger.Event
	// kick wakes the schedule when an override has come.
	kick chan struct{}
}

// override is what operators have said of one replica. What has been decided but
// is not effective yet is in the next fields.
type override struct {
	drain       *ledger.Event // in force from its EffectiveAt on
	undrainAt   time.Time     // when drain ends; zero: not decided
	routing     *bool
	routingBy   string
	nextRouting *ledger.Event
}

// adopt makes w what changes are published to: its masks are set from all that is
// known, its history goes on from the world before, and swap is called. Changes
// that come meanwhile wait for the lock.
func (v *availability) adopt(w *World, swap func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	old := v.world
	v.world = w
	v.adoptTargets(old, w)
	if old != nil {
		v.inherit(old)
	}
	v.monitor.Set(w.Compiled.Endpoints)
	v.forget()
	for i := range w.Compiled.Endpoints {
		if key := w.Compiled.Endpoints[i].Key; v.down[key] {
			for _, m := range w.Compiled.Members(key) {
				v.set(m)
			}
		}
	}
	for m := range v.unresolved {
		v.set(m)
	}
	for subject := range v.overrides {
		if m, ok := v.member(subject); ok {
			v.set(m)
		}
	}
	if old != nil {
		carryHistory(old, w, v.now())
	} else {
		v.remember(v.recent)
		v.recent = nil
	}
	swap()
}

// inherit keeps replicas down whose probe has changed: they are watched by another
// endpoint now, which must not take a dead replica for one never seen.
func (v *availability) inherit(old *World) {
	var events []ledger.Event
	for i := range v.world.Compiled.Endpoints {
		e := &v.world.Compiled.Endpoints[i]
		if old.Compiled.EndpointIndex(e.Key) >= 0 {
			continue
		}
		subject := v.subject(v.world.Compiled.Members(e.Key)[0])
		m, ok := memberOf(old, subject)
		if !ok {
			continue
		}
		before := old.Compiled.EndpointOf(m)
		if before < 0 || !v.down[old.Compiled.Endpoints[before].Key] {
			continue
		}
		v.down[e.Key] = true
		e.Resume = health.Resume{DownAt: v.now()}
		events = append(events, ledger.Event{
			Kind: ledger.Down, Endpoint: e.Key, Registry: subject.Registry, Region: subject.Region,
			By: "portolan", Why: "was down when its probe was changed",
		})
	}
	v.record.append(context.Background(), events...)
}

// adoptTargets keeps the addresses of targets that the new world has too: a reload
// must not wait for a resolver. A first world has those that were saved.
func (v *availability) adoptTargets(old, w *World) {
	v.unresolved = make(map[compile.Member]bool)
	known := make(map[string]*compile.Target)
	if old != nil {
		for i := range old.Compiled.Targets {
			known[targetKey(old, &old.Compiled.Targets[i])] = &old.Compiled.Targets[i]
		}
	}
	for i := range w.Compiled.Targets {
		t := &w.Compiled.Targets[i]
		if was := known[targetKey(w, t)]; was != nil {
			if a := old.Compiled.Snapshot.Resolved[was.Resolved].Load(); a != nil {
				keepAddresses(w, t, compile.PackAddresses(*t, a.From, a.At, a.Until))
			}
		}
		if w.Compiled.Snapshot.Resolved[t.Resolved].Load() == nil {
			v.unresolved[t.Member] = true
		}
	}
}

func targetKey(w *World, t *compile.Target) string {
	s := w.Compiled.Snapshot
	return s.Registries[t.Registry].Key + " " + s.Regions[t.Region].Name + " " + t.Host
}

// forget drops what is known of endpoints that are no longer configured, in the
// ledger too: an endpoint that comes back one day begins anew.
func (v *availability) forget() {
	var gone []ledger.Event
	for key := range v.down {
		if v.world.Compiled.EndpointIndex(key) < 0 {
			gone = append(gone, ledger.Event{Kind: ledger.Up, Endpoint: key, By: "portolan", Why: "no longer configured"})
			delete(v.down, key)
			delete(v.parked, key)
		}
	}
	if len(gone) > 0 {
		v.record.append(context.Background(), gone...)
	}
}

// changed publishes changes of health, in order. They are durable first; when they
// cannot be made so, they are published all the same: a dead replica must be left.
func (v *availability) changed(changes []health.Change) {
	changes = slices.DeleteFunc(changes, func(c health.Change) bool { return c.State.Eligible() == c.Was.Eligible() })
	v.mu.Lock()
	defer v.mu.Unlock()
	events := make([]ledger.Event, 0, len(changes))
	for _, c := range changes {
		members := v.world.Compiled.Members(c.Endpoint)
		if len(members) == 0 {
			continue // gone with the last reload
		}
		if c.State == health.Up && v.manual(members[0]) {
			v.parked[c.Endpoint] = true
			v.logChange("replica has recovered and waits for portolan failback", c, members)
			continue
		}
		events = append(events, v.verdict(c, members))
	}
	v.record.append(context.Background(), events...)
	if slices.ContainsFunc(changes, func(c health.Change) bool { return c.State == health.Up }) {
		v.save()
	}
	zones := make(map[uint32]bool)
	for _, c := range changes {
		members := v.world.Compiled.Members(c.Endpoint)
		if c.State == health.Up && v.parked[c.Endpoint] || len(members) == 0 {
			continue
		}
		v.setDown(c.Endpoint, c.State != health.Up, zones)
		msg := "replica is down"
		if c.State == health.Up {
			msg = "replica is up"
		}
		v.logChange(msg, c, members)
	}
	v.raise(zones)
}

// verdict is the ledger's event for a change.
func (v *availability) verdict(c health.Change, members []compile.Member) ledger.Event {
	e := ledger.Event{Kind: ledger.Down, Endpoint: c.Endpoint, DecidedAt: c.At, By: "health", Why: c.Reason, Flaps: c.Flaps}
	if c.State == health.Up {
		e.Kind = ledger.Up
	}
	subject := v.subject(members[0])
	e.Registry, e.Region = subject.Registry, subject.Region
	return e
}

// setDown publishes the health of an endpoint to all replicas it decides for.
func (v *availability) setDown(endpoint string, down bool, zones map[uint32]bool) {
	delete(v.parked, endpoint)
	if down {
		v.down[endpoint] = true
	} else {
		delete(v.down, endpoint)
	}
	members := v.world.Compiled.Members(endpoint)
	// What operators and resolvers say of replicas is asked only where they have said
	// anything.
	left := []flipped{{rest: members}}
	if len(v.overrides) == 0 && len(v.unresolved) == 0 {
		left = v.flip(members, !down, v.now())
	}
	for _, f := range left {
		for _, zone := range f.zones {
			zones[zone] = true
		}
		for _, m := range f.rest {
			v.publish(m, zones)
		}
	}
}

// manual reports whether a replica waits for an operator when it has recovered.
func (v *availability) manual(m compile.Member) bool {
	return v.world.said.registries[m.Registry].manualFailback
}

// bits computes what a replica's bits are now.
func (v *availability) bits(m compile.Member) (routed, up bool) {
	up = !v.unresolved[m]
	if e := v.world.Compiled.EndpointOf(m); e >= 0 && v.down[v.world.Compiled.Endpoints[e].Key] {
		up = false
	}
	routed = v.world.Compiled.Routed[m.Registry].Has(m.Region)
	o := v.overrides[v.subject(m)]
	if o == nil {
		return routed, up
	}
	if o.routing != nil {
		routed = *o.routing
	}
	if o.drainedAt(v.now()) {
		routed = false
		up = up && !o.drain.Now
	}
	return routed, up
}

// drainedAt reports whether a drain is in force.
func (o *override) drainedAt(now time.Time) bool {
	if o.drain == nil || now.Before(o.drain.EffectiveAt) {
		return false
	}
	return o.undrainAt.IsZero() || now.Before(o.undrainAt)
}

// set writes a replica's bits into a snapshot that is not served yet.
func (v *availability) set(m compile.Member) {
	live := &v.world.Compiled.Snapshot.Live[m.Registry]
	live.Set(v.masks(m, live.Masks()))
	v.deadline(m)
}

// publish writes a replica's bits as a change, and notes its zone if it is one.
func (v *availability) publish(m compile.Member, zones map[uint32]bool) {
	s := v.world.Compiled.Snapshot
	live := &s.Live[m.Registry]
	v.deadline(m)
	if live.Change(v.masks(m, live.Masks()), v.now(), false) {
		zones[s.Registries[m.Registry].Zone] = true
	}
}

func (v *availability) masks(m compile.Member, now decide.Masks) decide.Masks {
	routed, up := v.bits(m)
	return decide.Masks{Routed: now.Routed.With(m.Region, routed), Up: now.Up.With(m.Region, up)}
}

// deadline publishes when holds on a drained replica end at the latest: what the
// operator was told holds over restarts, whatever is still known of the clients.
func (v *availability) deadline(m compile.Member) {
	s := v.world.Compiled.Snapshot
	live := &s.Live[m.Registry]
	var at uint32
	if o := v.overrides[v.subject(m)]; o != nil && o.drain != nil {
		at = uint32(holdsEnd(o, s.Registries[m.Registry].Policy).Unix())
	}
	was := live.Deadlines.Load()
	if was == nil && at == 0 || was != nil && was[m.Region] == at {
		return
	}
	next := decide.Deadlines{}
	if was != nil {
		next = *was
	}
	next[m.Region] = at
	live.Deadlines.Store(&next)
}

// raise raises the serials of zones whose answers have changed.
func (v *availability) raise(zones map[uint32]bool) {
	for z := range zones {
		v.world.Compiled.Snapshot.RaiseSerial(int(z), v.now())
	}
}

// logChange writes one line, however many registries share the replica.
func (v *availability) logChange(msg string, c health.Change, members []compile.Member) {
	subject := v.subject(members[0])
	level := slog.LevelWarn
	if c.State == health.Up {
		level = slog.LevelInfo
	}
	//nolint:sloglint // one of three fixed texts
	v.log.Log(context.Background(), level, msg, "registry", subject.Registry, "region", subject.Region,
		"reason", c.Reason, "flaps", c.Flaps, "shared_by", len(members))
}

// subject names a replica as operators and the ledger do.
func (v *availability) subject(m compile.Member) ledger.Subject { return subjectOf(v.world, m) }

// here returns the number that the replica m of w has now; false if a reload has
// taken it away. Whoever lets go of mu between learning a number and using it must
// ask. v.mu is held.
func (v *availability) here(w *World, m compile.Member) (compile.Member, bool) {
	if w == v.world {
		return m, true
	}
	return v.member(subjectOf(w, m))
}

func subjectOf(w *World, m compile.Member) ledger.Subject {
	s := w.Compiled.Snapshot
	return ledger.Subject{Registry: s.Registries[m.Registry].Key, Region: s.Regions[m.Region].Label}
}

// member finds the replica of a name; false if it is not configured.
func (v *availability) member(subject ledger.Subject) (compile.Member, bool) {
	return memberOf(v.world, subject)
}

func memberOf(w *World, subject ledger.Subject) (compile.Member, bool) {
	s := w.Compiled.Snapshot
	registry, ok := w.Compiled.Index[subject.Registry]
	if !ok {
		return compile.Member{}, false
	}
	for i := range s.Regions {
		if s.Regions[i].Label == subject.Region && s.Registries[registry].Configured.Has(uint8(i)) {
			return compile.Member{Registry: registry, Region: uint8(i)}, true
		}
	}
	return compile.Member{}, false
}

// resolved tells that a target has addresses now.
func (v *availability) resolved(w *World, m compile.Member) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.world != w || !v.unresolved[m] {
		return
	}
	delete(v.unresolved, m)
	zones := make(map[uint32]bool)
	v.publish(m, zones)
	v.raise(zones)
}
