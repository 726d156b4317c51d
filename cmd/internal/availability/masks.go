package availability

import (
	"time"

	"portolan.dev/config/ledger"
	"portolan.dev/resolver/compile"
	"portolan.dev/resolver/decide"
)

// condition collects what is known of a registry. v.mu is held.
func (v *Availability) condition(registry int) decide.Condition {
	c := v.current.Compiled
	st := decide.Condition{
		Routed: c.Routed[registry], Up: c.Snapshot.Registries[registry].Configured, Manual: v.current.Manual(registry),
	}
	for region := range uint8(len(c.Snapshot.Regions)) {
		m := compile.Member{Registry: registry, Region: region}
		if !c.Snapshot.Registries[registry].Configured.Has(region) {
			continue
		}
		if e := v.endpointOf(m); e != nil {
			st.Up = st.Up.With(region, false)
			st.Passing = st.Passing.With(region, e.passing || e.parked)
		}
		if len(v.unresolved) > 0 && v.unresolved[m] {
			st.Up, st.Passing = st.Up.With(region, false), st.Passing.With(region, false)
		}
		if len(v.overrides) > 0 {
			if o := v.overrides[v.subject(m)]; o != nil {
				o.apply(&st, region, v.o.Now())
			}
		}
	}
	return st
}

// apply lays what operators have said of a replica over a condition.
func (o *override) apply(st *decide.Condition, region uint8, now time.Time) {
	if o.routing != nil {
		st.Routed = st.Routed.With(region, *o.routing)
	}
	if !o.drainedAt(now) {
		return
	}
	if o.drain.Now { // as if it were down
		st.Up, st.Passing = st.Up.With(region, false), st.Passing.With(region, false)
	} else {
		st.Drained = st.Drained.With(region, st.Routed.Has(region))
	}
	st.Routed = st.Routed.With(region, false)
}

// set writes the masks of a registry into a snapshot that is not served yet. v.mu is
// held.
func (v *Availability) set(registry int) {
	m, _ := v.judge(registry, v.condition(registry), decide.Masks{})
	live := &v.current.Compiled.Snapshot.Live[registry]
	live.Set(m)
	live.SetMissing(v.missing(registry))
	v.tell(registry)
}

// publish writes the masks of a registry as a change, and notes its zone if it is one.
// v.mu is held.
func (v *Availability) publish(registry int, zones map[uint32]bool) {
	s := v.current.Compiled.Snapshot
	live := &s.Live[registry]
	m, free := v.judge(registry, v.condition(registry), live.Masks())
	missing := v.missing(registry)
	if before := live.Missing(); before|missing != before {
		live.SetMissing(before | missing)
	}
	if live.Change(m, v.o.Now(), free) {
		zones[s.Registries[registry].Zone] = true
	}
	if live.Missing() != missing {
		live.SetMissing(missing)
	}
	v.tell(registry)
}

// missing returns the replicas of an outage that are still to come back. v.mu is held.
func (v *Availability) missing(registry int) decide.Mask {
	if o := v.outages[registry]; o != nil {
		return o.Missing()
	}
	return 0
}

// publishReplica publishes the registry of a replica, of which an operator has said
// something. v.mu is held.
func (v *Availability) publishReplica(m compile.Member, zones map[uint32]bool) {
	v.deadline(m)
	v.publish(m.Registry, zones)
	v.explainOrder(v.subject(m))
}

// deadline publishes when holds on a drained replica end at the latest: what the
// operator was told holds over restarts, whatever is still known of the clients.
func (v *Availability) deadline(m compile.Member) {
	s := v.current.Compiled.Snapshot
	live := &s.Live[m.Registry]
	var at uint32
	if o := v.overrides[v.subject(m)]; o != nil && o.drain != nil {
		at = uint32(o.holdsEnd(s.Registries[m.Registry].Policy).Unix())
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

// raise raises the serials of zones whose answers have changed. v.mu is held.
func (v *Availability) raise(zones map[uint32]bool) {
	for z := range zones {
		v.current.Compiled.Snapshot.RaiseSerial(int(z), v.o.Now())
	}
}

// Resolved tells that the target of a replica of c has addresses now.
func (v *Availability) Resolved(c *Configuration, m compile.Member) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.current != c || !v.unresolved[m] {
		return
	}
	delete(v.unresolved, m)
	zones := make(map[uint32]bool)
	v.publish(m.Registry, zones)
	v.explainOrder(v.subject(m))
	v.raise(zones)
}

// Readdressed tells that the target of a replica of c has other addresses than before.
func (v *Availability) Readdressed(c *Configuration, m compile.Member) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.current == c {
		v.raise(map[uint32]bool{c.Compiled.Snapshot.Registries[m.Registry].Zone: true})
	}
}

// override is what operators have said of one replica. Moments are by the clock of
// this process.
type override struct {
	drain *ledger.Event
	// drainAt is when the drain takes effect, drainEnds when it ends by itself (zero:
	// never), inForce set once it has taken effect.
	drainAt, drainEnds time.Time
	inForce            bool
	undrain            *ledger.Event // decided; nil: not
	undrainAt          time.Time

	routing     *bool // in force; nil: what the configuration says
	routingBy   string
	routed      *ledger.Event // the switch in force, as far as it is from the ledger
	nextRouting *ledger.Event // decided, not in force
	nextAt      time.Time
}

// drainedAt reports whether a drain is in force.
func (o *override) drainedAt(now time.Time) bool {
	if o.drain == nil || !o.inForce && now.Before(o.drainAt) {
		return false
	}
	return o.undrain == nil || now.Before(o.undrainAt)
}

// holdsEnd is when nobody can be held on the drained replica any more.
func (o *override) holdsEnd(p decide.Policy) time.Time {
	end := o.drainAt
	if !o.drain.Now {
		end = end.Add(time.Duration(p.Hold) * time.Second * time.Duration(p.Renewals))
	}
	if deadline := o.drain.Deadline; !deadline.IsZero() && deadline.Before(end) {
		end = deadline
	}
	return end
}

// override returns the override of a replica, made if need be. v.mu is held.
func (v *Availability) override(s ledger.Subject) *override {
	o := v.overrides[s]
	if o == nil {
		o = &override{}
		v.overrides[s] = o
	}
	return o
}
