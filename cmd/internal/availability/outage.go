package availability

import (
	"math/bits"
	"time"

	"portolan.dev/config/ledger"
	"portolan.dev/resolver/compile"
	"portolan.dev/resolver/decide"
)

// outage is that of one registry, and when it goes on by itself, in Unix seconds.
type outage struct {
	*decide.Outage

	next uint32
}

// judge returns the masks that follow from a condition, and whether the change to them,
// from those that were published last, is no reason to hold clients. v.mu is held.
func (v *Availability) judge(registry int, st decide.Condition, was decide.Masks) (m decide.Masks, free bool) {
	o := v.outages[registry]
	if o == nil {
		if st.Routed == 0 || st.Routed&st.Up != 0 {
			return decide.Masks{Routed: st.Routed, Up: st.Up}, false
		}
		o = &outage{Outage: new(decide.Outage)}
		v.outages[registry] = o
	}
	now := uint32(v.o.Now().Unix())
	m, free = o.Step(st, was, now, replicas{v, registry})
	v.notePassing(registry, m.Up&^st.Up|m.Resort)
	if next := o.Next(now); next != o.next {
		o.next = next
		v.wake()
	}
	return m, free
}

// tell tells the history of a registry what its outage has changed of it, behind the
// change of masks. v.mu is held.
func (v *Availability) tell(registry int) {
	o := v.outages[registry]
	if o == nil {
		return
	}
	s := v.current.Compiled.Snapshot
	o.Tell(&s.Live[registry].History, s.Registries[registry].Policy.Idle)
	if !o.Active() {
		delete(v.outages, registry)
	}
}

// replicas are those of a registry, as [decide.Outage] asks for them.
type replicas struct {
	v        *Availability
	registry int
}

// Since implements [decide.Facts].
func (r replicas) Since(region uint8) uint32 {
	if e := r.v.endpointOf(compile.Member{Registry: r.registry, Region: region}); e != nil {
		return uint32(e.since.Unix())
	}
	return 0
}

// Times implements [decide.Facts].
func (r replicas) Times(members decide.Mask) (probe, recovery uint32) {
	c := r.v.current.Compiled
	for ; members != 0; members &= members - 1 {
		e := c.EndpointOf(compile.Member{Registry: r.registry, Region: uint8(bits.TrailingZeros64(uint64(members)))})
		if e < 0 {
			continue
		}
		recovery = max(recovery, seconds(c.Endpoints[e].RecoveryHold))
		for i := range c.Endpoints[e].Checks {
			probe = max(probe, seconds(c.Endpoints[e].Checks[i].Interval+c.Endpoints[e].Checks[i].Timeout))
		}
	}
	return probe, recovery
}

// seconds rounds up.
func seconds(d time.Duration) uint32 { return uint32((d + time.Second - 1) / time.Second) }

// endpointOf returns the endpoint of a replica if it is out; else nil. v.mu is held.
func (v *Availability) endpointOf(m compile.Member) *endpoint {
	if e := v.current.Compiled.EndpointOf(m); e >= 0 {
		return v.outAt[e]
	}
	return nil
}

// notePassing makes durable that replicas that are down work, and count for that: a
// restart must not answer dead ones until it has probed. v.mu is held.
func (v *Availability) notePassing(registry int, counted decide.Mask) {
	var events []ledger.Event
	for ; counted != 0; counted &= counted - 1 {
		m := compile.Member{Registry: registry, Region: uint8(bits.TrailingZeros64(uint64(counted)))}
		e := v.endpointOf(m)
		if e == nil || e.noted {
			continue
		}
		e.noted = true
		s := v.subject(m)
		events = append(events, ledger.Event{
			Kind: ledger.Passing, Endpoint: v.current.Compiled.Endpoints[v.current.Compiled.EndpointOf(m)].Key,
			Registry: s.Registry, Region: s.Region, DecidedAt: v.o.Now(), By: "health",
			Why: "works while all replicas are or were down",
		})
	}
	v.journal.verdicts(events, nil)
}

// soonest returns the earlier of two moments, of which zero and what is past count for
// nothing.
func soonest(next, at, now time.Time) time.Time {
	if at.After(now) && (next.IsZero() || at.Before(next)) {
		return at
	}
	return next
}
