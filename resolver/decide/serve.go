package decide

import "net/netip"

// Policy is how long a registry's clients are held, in seconds.
type Policy struct {
	// Idle is how recently a unit must have asked before a change to be held.
	Idle uint32
	// Hold is one period of a hold; 0 means there are no holds.
	Hold uint32
	// Renewals is how many periods a hold has at most on a replica that is to be left,
	// and after how many it ends with the unit's first silence elsewhere; see
	// [Situation.periods].
	Renewals uint8
}

// Situation is what Serve needs to know of the registry and the client's rank,
// beside what the table knows of the unit. It belongs to one call at a time.
type Situation struct {
	Rank    []uint8
	Masks   Masks
	AllDown AllDownPolicy
	Policy  Policy
	// Configured holds the regions that can be answered at all.
	Configured Mask
	// Missing holds the replicas that went down in an outage of all and are still to come
	// back: see [Outage.Missing].
	Missing Mask
	// History is that of the registry; there always is one.
	History *History
	// Swaps are the moments at which the configuration or the location data was
	// replaced, ascending, in Unix seconds.
	Swaps []uint32
	// Deadlines, by region, are when holds on a drained replica end; nil for none.
	Deadlines *Deadlines
	// Asker is the address that the query came from: what it can bring into the table
	// is bounded. The zero Addr is not counted.
	Asker netip.Addr
	// Before is set by Serve: the stable number of the region that the unit had,
	// when it is moved to another one; 255 otherwise.
	Before uint8
	// Stable gives the stable number of a region, Local the number in Rank and
	// masks of a stable one, 255 for a region that is not there.
	Stable, Local *[MaxRegions]uint8
}

// None stands for no region.
const None = 255

// Deadlines are the ends that the operator has set for holds, by region number in
// Unix seconds; 0 for none.
type Deadlines [MaxRegions]uint32

// Serve returns the region to answer a unit with, where base is what [Choose] says
// now, and remembers it. held is true when that is not base.
//
// The rule, for a unit that was given another replica before:
//
//   - it is dead, died since, or is gone: move to base, at once;
//   - base moved away from it because an outage of all replicas ended: the same;
//   - it lives, and base moved away from it by a voluntary change within Idle
//     seconds after the unit was last seen: hold it there, for Hold seconds;
//   - in an outage of all replicas, until it is over, a hold goes on, and begins as above,
//     on a replica that is first for the time of the outage only, and on one that is
//     still missing: the unit is given base meanwhile, and is back where it was when
//     that replica is;
//   - a hold whose end comes while the unit is active is renewed, up to Renewals
//     periods in all, and not beyond the operator's deadline;
//   - a hold on a replica that nobody wants empty goes on for as many periods again,
//     until the unit is silent for Idle seconds once;
//   - else: move to base.
func (h *Holds) Serve(k Key, base uint8, now uint32, s *Situation) (region uint8, held bool) {
	b := h.bucketOf(k)
	s.Before = None
	for {
		version := b.lock.Load()
		w, state := b.find(k)
		if w == nil {
			h.insert(k, Entry{LastSeen: now, Region: s.Stable[base]}, version, s)
			return base, false
		}
		e := unpack(state)
		region, held = base, false
		away := false
		switch {
		case s.Stable[base] != e.Region:
			region, held, away = s.resolve(&e, base, now)
		case s.Masks.Routed&s.Masks.Up == 0 || s.Missing != 0:
			_, _, _ = s.resolve(&e, base, now) // its hold is not over: what is first now is so for a while
		default:
			e.Until, e.Renewals = 0, 0
		}
		if e.Standing < Qualified || now > e.LastSeen+Keep {
			e.Standing = b.standing(e, now, h.keep(), held || away)
		}
		if e.LastSeen = now; !away {
			e.Region = s.Stable[region]
		}
		next := e.pack() | state&epochMask
		if next == state {
			return region, held
		}
		if w.state.CompareAndSwap(state, next) {
			h.sources.meet(uint32(state>>seenShift), s, now)
			if e.Region != unpack(state).Region {
				s.Before = unpack(state).Region
			}
			return region, held
		}
	}
}

// Peek returns what Serve would, and the unit's entry as it would be, without
// remembering anything.
func (h *Holds) Peek(k Key, base uint8, now uint32, s *Situation) (region uint8, e Entry, held bool) {
	e, ok := h.Get(k)
	if !ok || s.Stable[base] == e.Region {
		return base, e, false
	}
	region, held, _ = s.resolve(&e, base, now)
	return region, e, held
}

// resolve applies the rule to a unit whose replica is not base. away is set for one that
// is given base while the replica that it is held on is missing.
func (s *Situation) resolve(e *Entry, base uint8, now uint32) (region uint8, held, away bool) {
	region = s.Local[e.Region]
	away = region < MaxRegions && s.Missing.Has(region) && !s.answerable(region)
	if region >= MaxRegions || !away && !s.alive(region, e.LastSeen) {
		e.Until, e.Renewals = 0, 0
		return base, false, false
	}
	if e.Until == 0 {
		if at, ok := s.movedAt(region, e.LastSeen); ok && at <= e.LastSeen+s.Policy.Idle {
			e.Until, e.Renewals = at+s.Policy.Hold, 1
		}
	}
	deadline := s.deadline(region)
	for e.Until != 0 && now >= e.Until {
		active := e.Until <= e.LastSeen+s.Policy.Idle
		if !active || e.Renewals >= s.periods(region) {
			e.Until = 0
			break
		}
		e.Until += s.Policy.Hold
		e.Renewals++
	}
	overtime := e.Renewals > s.Policy.Renewals
	if e.Until == 0 || overtime && now > e.LastSeen+s.Policy.Idle || deadline != 0 && now >= deadline {
		e.Until, e.Renewals = 0, 0
		return base, false, false
	}
	if deadline != 0 {
		e.Until = min(e.Until, deadline)
	}
	if away {
		return base, false, true
	}
	return region, true, false
}

// periods is how many periods a hold on a replica may have.
//
// A drain has to end, and so have holds on a replica that is out of routing: after
// Renewals periods. Elsewhere the end of a hold only brings its unit back to a nearer
// replica, and a push that is under way then is broken for little. So the unit may
// take as long again to fall silent: a push of the length of all periods that began
// before their end is still carried through. It cannot be for ever, because a
// resolver with many hosts behind it never falls silent, and would be left on the far
// replica after each failure of the near one.
func (s *Situation) periods(region uint8) uint8 {
	if !s.Masks.Routed.Has(region) {
		return s.Policy.Renewals
	}
	return min(2*s.Policy.Renewals, renewMask)
}

// alive reports whether a replica can be answered now and has not died since the
// unit was last given it.
func (s *Situation) alive(region uint8, since uint32) bool {
	if !s.Configured.Has(region) || !s.answerable(region) {
		return false
	}
	// A death in the very second in which the unit was seen counts: leaving a replica
	// that lives costs less than staying on one that died.
	return s.History.downs[region].Load() < since
}

// answerable reports whether health lets a replica be answered, be it as one of those that
// are all down.
func (s *Situation) answerable(region uint8) bool {
	return (s.Masks.Up | s.Masks.Candidates()).Has(region)
}

// movedAt returns when base first moved away from region after since: the first
// change of masks under which another region comes first, or the first
// replacement of configuration or data. Both err to the early side, which holds a
// client rather than moves it. It returns false if nothing did, or if that was the
// end of an outage.
func (s *Situation) movedAt(region uint8, since uint32) (at uint32, ok bool) {
	free := false
	for _, swap := range s.Swaps {
		if swap >= since {
			at, ok = swap, true
			break
		}
	}
	complete := s.History.Since(since, func(c Change) bool {
		if ok && c.At >= at {
			return false
		}
		if chosen, o := Choose(s.Rank, c.Masks, s.AllDown); chosen != region || o > AllDown {
			at, ok, free = c.At, true, c.Free
			return false
		}
		return true
	})
	switch {
	case free:
		return 0, false
	case !complete:
		return since, true
	}
	return at, ok
}

func (s *Situation) deadline(region uint8) uint32 {
	if s.Deadlines == nil {
		return 0
	}
	return s.Deadlines[region]
}
