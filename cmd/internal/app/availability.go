package app

import (
	"log/slog"
	"sync"
	"time"

	"portolan.dev/health"
	"portolan.dev/resolver/compile"
)

// availability turns verdicts of health into the masks that queries read. It is
// the border between what is probed (endpoints) and what is answered (replicas).
type availability struct {
	log     *slog.Logger
	now     func() time.Time
	monitor *health.Monitor

	mu    sync.Mutex // guards what follows; held while masks are written
	world *World
	// unresolved holds the replicas whose target host name has no addresses yet:
	// they cannot be answered, whatever health says.
	unresolved map[compile.Member]bool
	names      map[compile.Member]string // endpoint key by replica, for _explain
}

// adopt makes w what changes are published to. The masks of its snapshot are set
// from what health knows before it returns, so that the snapshot can be
// swapped in. Changes that come meanwhile wait for the lock.
func (v *availability) adopt(w *World, swap func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.world = w
	v.unresolved = make(map[compile.Member]bool)
	v.names = make(map[compile.Member]string)
	for key, members := range w.Compiled.Members {
		for _, m := range members {
			v.names[m] = key
		}
	}
	v.monitor.Set(w.Compiled.Endpoints)
	for _, st := range v.monitor.Statuses() {
		for _, m := range w.Compiled.Members[st.Endpoint] {
			w.Compiled.Snapshot.SetUp(m.Registry, m.Region, st.State.Eligible(), v.now())
		}
	}
	for _, t := range w.Compiled.Targets {
		v.unresolved[t.Member] = true
		w.Compiled.Snapshot.SetUp(t.Registry, t.Region, false, v.now())
	}
	swap()
}

// changed publishes changes of health, in order.
func (v *availability) changed(changes []health.Change) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, c := range changes {
		members := v.world.Compiled.Members[c.Endpoint]
		zones := make(map[uint32]bool)
		for _, m := range members {
			v.publish(m, c.Up, zones)
		}
		v.raise(zones)
		v.logChange(c, members)
	}
}

// publish sets one replica's bit and notes its zone if that changed anything.
func (v *availability) publish(m compile.Member, up bool, zones map[uint32]bool) {
	s := v.world.Compiled.Snapshot
	if s.SetUp(m.Registry, m.Region, up && !v.unresolved[m], v.now()) {
		zones[s.Registries[m.Registry].Zone] = true
	}
}

// raise raises the serials of zones whose answers have changed.
func (v *availability) raise(zones map[uint32]bool) {
	for z := range zones {
		v.world.Compiled.Snapshot.RaiseSerial(int(z), v.now())
	}
}

// logChange writes one line, however many registries share the replica.
func (v *availability) logChange(c health.Change, members []compile.Member) {
	if len(members) == 0 {
		return
	}
	s := v.world.Compiled.Snapshot
	args := []any{
		"registry", s.Registries[members[0].Registry].Key, "region", s.Regions[members[0].Region].Label,
		"reason", c.Reason, "flaps", c.Flaps,
	}
	if len(members) > 1 {
		args = append(args, "shared_by", len(members))
	}
	if c.Up {
		v.log.Info("replica is up", args...)
		return
	}
	v.log.Warn("replica is down", args...)
}

// resolved tells that a target has addresses now.
func (v *availability) resolved(w *World, m compile.Member) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.world != w || !v.unresolved[m] {
		return
	}
	delete(v.unresolved, m)
	up := true
	if st, ok := v.monitor.Status(v.names[m]); ok {
		up = st.State.Eligible()
	}
	zones := make(map[uint32]bool)
	v.publish(m, up, zones)
	v.raise(zones)
}

// status returns what health knows of one replica; false if it is not probed.
func (v *availability) status(m compile.Member) (health.Status, bool) {
	v.mu.Lock()
	key, ok := v.names[m]
	v.mu.Unlock()
	if !ok {
		return health.Status{}, false
	}
	return v.monitor.Status(key)
}

// excluded says in one line why a replica is not eligible, for _explain.
func (v *availability) excluded(registry int, region uint8) string {
	m := compile.Member{Registry: registry, Region: region}
	v.mu.Lock()
	unresolved := v.unresolved[m]
	v.mu.Unlock()
	if unresolved {
		return "its target is not resolved yet"
	}
	st, ok := v.status(m)
	if !ok || st.State.Eligible() {
		return ""
	}
	reason := st.State.String() + " since " + st.Since.UTC().Format(time.RFC3339)
	if st.State == health.Recovering {
		return reason + ", eligible at " + st.EligibleAt.UTC().Format(time.RFC3339)
	}
	return reason + ": " + st.Last.Detail
}
