package availability

import (
	"cmp"
	"slices"
	"time"

	"portolan.dev/config/ledger"
	"portolan.dev/resolver/compile"
	"portolan.dev/resolver/decide"
)

// Drain is how far a drain of one replica has come. Zero times mean "not".
type Drain struct {
	By, Reason string
	// Now says that the replica is treated as down.
	Now bool
	// EffectiveAt is when it took or takes effect, InForce whether it has and has not
	// ended.
	EffectiveAt time.Time
	InForce     bool
	// UndrainAt is when it ends because somebody said so, Until when by itself.
	UndrainAt, Until time.Time
	// Deadline is when holds end because of the order, HoldsEnd when the last one does.
	Deadline, HoldsEnd time.Time
	// LastResort says that the replica is answered, because no other works.
	LastResort bool
}

// Decided is what operators have said of one replica.
type Decided struct {
	// Returning says that health has found the replica well again, which is not in force
	// yet: the ledger is to know first.
	Returning bool
	Drain     *Drain // nil without one
	// Routing is how global endpoint routing was switched, nil for what the
	// configuration says, and RoutingBy by whom.
	Routing   *bool
	RoutingBy string
	// Next is a switch that has not taken effect, nil for none, and NextAt when it does.
	Next   *ledger.Event
	NextAt time.Time
}

// Decided returns what operators have said of the replica m of c, which configuration
// is served, and the number that the replica has there; false if it is gone.
func (v *Availability) Decided(c *Configuration, m compile.Member) (d Decided, current *Configuration, now compile.Member, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if m, ok = v.here(c, m); !ok {
		return d, v.current, m, false
	}
	if o := v.overrides[v.subject(m)]; o != nil {
		s := v.current.Compiled.Snapshot
		d = v.decided(o, s.Registries[m.Registry].Policy)
		if masks := s.Live[m.Registry].Masks(); d.Drain != nil {
			d.Drain.LastResort = masks.LastResort().Has(m.Region)
		}
	}
	e := v.endpointOf(m)
	d.Returning = e != nil && e.returning
	return d, v.current, m, true
}

func (v *Availability) decided(o *override, p decide.Policy) Decided {
	d := Decided{Routing: o.routing, RoutingBy: o.routingBy, Next: o.nextRouting, NextAt: o.nextAt}
	if o.drain == nil {
		return d
	}
	d.Drain = &Drain{
		By: o.drain.By, Reason: o.drain.Why, Now: o.drain.Now, EffectiveAt: o.drainAt, InForce: o.drainedAt(v.o.Now()),
		Until: o.drainEnds, Deadline: o.drain.Deadline, HoldsEnd: o.holdsEnd(p),
	}
	if o.undrain != nil {
		d.Drain.UndrainAt = o.undrainAt
	}
	return d
}

// Drained returns the drained replicas of what is served that a selector matches.
func (v *Availability) Drained(s Selector) (c *Configuration, members []compile.Member, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	members, err = v.selected(s)
	members = slices.DeleteFunc(members, func(m compile.Member) bool {
		o := v.overrides[v.subject(m)]
		return o == nil || o.drain == nil
	})
	return v.current, members, err
}

// Absent is a drained replica that is not configured. It comes back drained.
type Absent struct {
	ledger.Subject
	Drain
}

// Absent returns the drained replicas that a selector matches and that are not
// configured now, by name.
func (v *Availability) Absent(s Selector) (out []Absent) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for subject, o := range v.overrides {
		if _, ok := v.member(subject); ok || o.drain == nil || !s.Matches(subject) {
			continue
		}
		out = append(out, Absent{subject, *v.decided(o, decide.Policy{}).Drain})
	}
	slices.SortFunc(out, func(a, b Absent) int {
		return cmp.Or(cmp.Compare(a.Registry, b.Registry), cmp.Compare(a.Region, b.Region))
	})
	return out
}
