package availability

import (
	"math/bits"
	"time"

	"portolan.dev/config/ledger"
	"portolan.dev/resolver/compile"
	"portolan.dev/resolver/decide"
)

const (
	// together is how long before all replicas of a registry were down one of them may
	// have gone down and still belong to the outage.
	together = time.Minute
	// longestSettle bounds how long an outage goes on once the first replica works.
	longestSettle = 15 * time.Second
	// shortestReturn is the least time that replicas of an outage have to come back
	// together.
	shortestReturn = time.Minute
)

// outage is the time of a registry in which all of its routed replicas are down, and
// until those are well again that went down with it.
//
// What takes all replicas at once is seldom theirs: a failed database, a network, or
// the prober's own uplink. So while it lasts what works is answered, although its
// recovery hold is not over. What went down with it, its members, comes back without
// one, as soon as it works; and no client is held on what came back first, so that
// each is where it was before. A member that stays down for as long as a recovery
// hold takes has trouble of its own, and comes back as from any failure.
//
// The first replica that works ends nothing by itself: all that the prober knows of
// the others may be of the same instant. So until each of them can have been probed
// once more all are answered as before. A replica that worked all along is answered
// at once.
type outage struct {
	members  decide.Mask // and not up by themselves since
	returned decide.Mask // members that count as up
	// settles is when what works begins to count, ends when members stop to return;
	// zero as long as none works.
	settles, ends time.Time
	next          time.Time // when it goes on by itself; zero for never
	// died is when members went down, in Unix seconds: kept here while it does not
	// count as a death, for holds. fresh is set until the history is told.
	died  map[uint8]uint32
	fresh bool
	// left is when replicas went down again that had returned.
	left map[uint8]time.Time
}

// judge returns the masks that follow from a standing, and whether the change to them,
// from those that were published last, is no reason to hold clients. v.mu is held.
func (v *Availability) judge(registry int, st standing, was decide.Masks) (m decide.Masks, free bool) {
	m = decide.Masks{Routed: st.routed, Up: st.up}
	o, now := v.outages[registry], v.o.Now()
	if o == nil {
		if st.routed == 0 || st.routed&st.up != 0 {
			return m, false
		}
		o = &outage{}
		v.outages[registry] = o
		v.begin(registry, o, st)
	}
	free = was.Routed&was.Up == 0
	if v.advance(registry, o, st, now) {
		free = true
	}
	m.Up |= o.returned
	if m.Routed != 0 && m.Routed&m.Up == 0 {
		if was.Routed&was.Up != 0 && len(o.left) > 0 {
			v.begin(registry, o, st) // those that had returned are down again
		}
		if !now.Before(o.settles) && !o.settles.IsZero() {
			m.Resort = st.resort()
		}
	}
	if o.members == 0 && (st.routed == 0 || st.routed&st.up != 0) {
		delete(v.outages, registry)
	}
	if next := o.nextAt(now); !next.Equal(o.next) {
		o.next = next
		v.wake()
	}
	return m, free
}

// nextAt returns when an outage goes on by itself; zero for never.
func (o *outage) nextAt(now time.Time) time.Time {
	next := soonest(time.Time{}, o.settles, now)
	if o.members != o.returned {
		next = soonest(next, o.ends, now)
	}
	return next
}

// begin finds out which replicas belong to an outage. v.mu is held.
func (v *Availability) begin(registry int, o *outage, st standing) {
	s := v.current.Compiled.Snapshot
	since := make(map[uint8]time.Time)
	var last time.Time
	for region := range uint8(len(s.Regions)) {
		at := o.left[region]
		if e := v.endpointOf(compile.Member{Registry: registry, Region: region}, st.routed); e != nil && at.IsZero() {
			at = e.since
		}
		if !at.IsZero() {
			since[region] = at
			if at.After(last) {
				last = at
			}
		}
	}
	*o = outage{died: make(map[uint8]uint32), left: make(map[uint8]time.Time), fresh: true}
	for region, at := range since {
		if last.Sub(at) <= together {
			o.members = o.members.With(region, true)
			o.died[region] = uint32(at.Unix())
		}
	}
	if st.resort() != 0 { // it worked all along: there is nothing to wait for
		o.settle(v.o.Now(), v.returnTime(registry, o.members))
	}
}

// pardon tells the history of a registry of which an outage has just begun that its
// members have not died, as far as clients are concerned that were active: the hold of
// one on a member goes on. It belongs behind the change that began it. v.mu is held.
func (v *Availability) pardon(registry int) {
	o := v.outages[registry]
	if o == nil || !o.fresh {
		return
	}
	o.fresh = false
	s := v.current.Compiled.Snapshot
	active := s.Registries[registry].Policy.Idle + uint32(together/time.Second)
	for region, at := range o.died {
		s.Live[registry].History.SetDown(region, at-min(active, at))
	}
}

// endpointOf returns the endpoint of a replica of the mask if it is out; else nil.
func (v *Availability) endpointOf(m compile.Member, of decide.Mask) *endpoint {
	if !of.Has(m.Region) {
		return nil
	}
	if e := v.current.Compiled.EndpointOf(m); e >= 0 {
		return v.outAt[e]
	}
	return nil
}

func (o *outage) settle(at time.Time, returns time.Duration) {
	o.settles, o.ends = at, at.Add(returns)
}

// advance takes in what is known now, and reports whether members have returned. v.mu
// is held.
func (v *Availability) advance(registry int, o *outage, st standing, now time.Time) (came bool) {
	o.members &^= st.up // well again by themselves
	o.returned &= o.members
	if failed := o.returned &^ st.passing; failed != 0 {
		o.members, o.returned = o.members&^failed, o.returned&^failed
		for ; failed != 0; failed &= failed - 1 {
			o.left[uint8(bits.TrailingZeros64(uint64(failed)))] = now
		}
	}
	if o.settles.IsZero() && st.resort() != 0 {
		o.settle(now.Add(v.settleTime(registry, o.members)), v.returnTime(registry, o.members))
	}
	if o.settles.IsZero() || now.Before(o.settles) {
		return false
	}
	if !now.Before(o.ends) {
		v.expel(registry, o)
		return false
	}
	if v.current.Manual(registry) {
		return false // what works is a last resort until the operator lets it back
	}
	back := o.members & st.passing &^ o.returned
	o.returned |= back
	v.noteReturn(registry, back)
	return back != 0
}

// expel ends the membership of what has not come back: it did die.
func (v *Availability) expel(registry int, o *outage) {
	history := &v.current.Compiled.Snapshot.Live[registry].History
	for gone := o.members &^ o.returned; gone != 0; gone &= gone - 1 {
		region := uint8(bits.TrailingZeros64(uint64(gone)))
		history.SetDown(region, max(history.Down(region), o.died[region]))
	}
	o.members = o.returned
}

// settleTime is the time in which each of these replicas is probed once more.
func (v *Availability) settleTime(registry int, members decide.Mask) (settle time.Duration) {
	c := v.current.Compiled
	for ; members != 0; members &= members - 1 {
		e := c.EndpointOf(compile.Member{Registry: registry, Region: uint8(bits.TrailingZeros64(uint64(members)))})
		if e < 0 {
			continue
		}
		for i := range c.Endpoints[e].Checks {
			settle = max(settle, c.Endpoints[e].Checks[i].Interval+c.Endpoints[e].Checks[i].Timeout)
		}
	}
	return min(settle, longestSettle)
}

// returnTime is how long members have to come back: the longest of their recovery
// holds.
func (v *Availability) returnTime(registry int, members decide.Mask) time.Duration {
	c, longest := v.current.Compiled, shortestReturn
	for ; members != 0; members &= members - 1 {
		if e := c.EndpointOf(compile.Member{Registry: registry, Region: uint8(bits.TrailingZeros64(uint64(members)))}); e >= 0 {
			longest = max(longest, c.Endpoints[e].RecoveryHold)
		}
	}
	return longest
}

// noteReturn makes durable that replicas count as up although they are not, by
// themselves: a restart must not take them out. v.mu is held.
func (v *Availability) noteReturn(registry int, back decide.Mask) {
	var events []ledger.Event
	for ; back != 0; back &= back - 1 {
		m := compile.Member{Registry: registry, Region: uint8(bits.TrailingZeros64(uint64(back)))}
		e := v.endpointOf(m, back)
		if e == nil || e.noted {
			continue
		}
		e.noted = true
		s := v.subject(m)
		events = append(events, ledger.Event{
			Kind: ledger.Passing, Endpoint: v.current.Compiled.Endpoints[v.current.Compiled.EndpointOf(m)].Key,
			Registry: s.Registry, Region: s.Region, DecidedAt: v.o.Now(), By: "health",
			Why: "works again after an outage of all replicas",
		})
	}
	v.journal.verdicts(events, false, nil)
}

// soonest returns the earlier of two moments, of which zero and what is past count for
// nothing.
func soonest(next, at, now time.Time) time.Time {
	if at.After(now) && (next.IsZero() || at.Before(next)) {
		return at
	}
	return next
}
