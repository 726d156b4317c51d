package decide

const (
	// together is how long in seconds before all replicas of a registry were down one of
	// them may have gone down and still belong to the outage.
	together = 60
	// longestSettle bounds, in seconds, how long an outage goes on as it began once the
	// first replica works.
	longestSettle = 15
	// publishedBy is how long after a verdict, in seconds, it is in the history at the
	// latest.
	publishedBy = 2
	// shortestReturn is the least time in seconds that replicas of an outage have to come
	// back together.
	shortestReturn = 60
)

// Condition is what is known of the replicas of one registry, each a mask of regions.
type Condition struct {
	// Routed: the operator lets the global name answer it. Drained: it would, but for a
	// drain that is in force.
	Routed, Drained Mask
	// Up: health has not taken it out. Passing: health has, and it works.
	Up, Passing Mask
	// Manual says that replicas wait for the operator when they have recovered.
	Manual bool
}

// resort returns what is answered while no routed replica is up: those that work, else
// drained ones that do, else none in particular. Without a routed replica there is no
// resort: that all are out is then by order.
func (st *Condition) resort() Mask {
	if works := st.Routed & st.Passing; works != 0 || st.Routed == 0 {
		return works
	}
	return st.Drained & (st.Up | st.Passing)
}

// Facts are what an outage has to know of replicas beside their condition.
type Facts interface {
	// Since is when a replica that is down went down, in Unix seconds; 0 for one that is
	// not.
	Since(region uint8) uint32
	// Times are how long it takes, in seconds, until each of these replicas has been
	// probed once more, and the longest of their recovery holds.
	Times(members Mask) (probe, recovery uint32)
}

// Outage is the time of a registry in which all of its routed replicas are down, and
// until those are well again that went down with it. The zero value is none.
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
//
// An Outage belongs to one goroutine at a time.
type Outage struct {
	begun    bool
	members  Mask // and not up by themselves since
	returned Mask // members that count as up
	// settles is when what works begins to count, ends when members stop to return; 0 as
	// long as none works. Unix seconds, as all here.
	settles, ends uint32
	// died is when members went down: kept here while it does not count as a death, for
	// holds. Of those that are members no more it is when they ceased to be.
	died map[uint8]uint32
	// left is when replicas went down again that had returned, until they are up by
	// themselves: should all be down again soon, they are members of that, too.
	left map[uint8]uint32
}

// Active reports whether there is an outage, or what is left of one.
func (o *Outage) Active() bool { return o.begun }

// Missing returns the members that are down, and whose clients are to be back there when
// they are. It shrinks behind the masks, and grows before them.
func (o *Outage) Missing() Mask { return o.members &^ o.returned }

// Step returns the masks that follow from a condition, where was is what was published
// last. free says that the change is no reason to hold clients. What is up in the masks
// and not in the condition has returned. Call [Outage.Tell] once the change is in the
// history.
func (o *Outage) Step(st Condition, was Masks, now uint32, f Facts) (m Masks, free bool) {
	m = Masks{Routed: st.Routed, Up: st.Up}
	if !o.begun {
		if st.Routed == 0 || st.Routed&st.Up != 0 {
			return m, false
		}
		o.begin(&st, now, f)
	}
	returned := o.advance(&st, now, f)
	// The end of an outage by order of the operator is voluntary, as any order is.
	free = (returned || was.Routed&was.Up == 0) && was.Routed == st.Routed
	m.Up |= o.returned
	if m.Routed != 0 && m.Routed&m.Up == 0 {
		if was.Routed&was.Up != 0 && len(o.left) > 0 {
			o.begin(&st, now, f) // those that had returned are down again
		}
		if o.settles != 0 && now >= o.settles {
			m.Resort = st.resort()
		}
	}
	if o.members == 0 && len(o.left) == 0 && (st.Routed == 0 || st.Routed&st.Up != 0) {
		o.begun = false
	}
	return m, free
}

// Next returns when the outage goes on by itself; 0 for never.
func (o *Outage) Next(now uint32) uint32 {
	switch {
	case !o.begun:
	case o.settles > now:
		return o.settles
	case o.ends > now && o.members != o.returned:
		return o.ends
	}
	return 0
}

// begin finds out which replicas belong to the outage.
func (o *Outage) begin(st *Condition, now uint32, f Facts) {
	left := o.left
	if left == nil {
		left = make(map[uint8]uint32)
	}
	*o = Outage{begun: true, died: make(map[uint8]uint32), left: left}
	last := uint32(0)
	for out := st.Routed &^ st.Up; out != 0; out &= out - 1 {
		region := lowest(out)
		at := left[region]
		if at == 0 {
			at = f.Since(region)
		}
		if at != 0 {
			o.died[region], last = at, max(last, at)
		}
	}
	for region, at := range o.died {
		if last-at > together {
			delete(o.died, region)
			continue
		}
		o.members = o.members.With(region, true)
	}
	if st.resort() != 0 { // it worked all along: there is nothing to wait for
		o.settle(now, 0, f)
	}
}

// settle fixes when what works begins to count.
func (o *Outage) settle(now, wait uint32, f Facts) {
	_, recovery := f.Times(o.members)
	o.settles = now + wait
	o.ends = o.settles + max(recovery, shortestReturn)
}

// advance takes in what is known now, and reports whether members have returned.
func (o *Outage) advance(st *Condition, now uint32, f Facts) bool {
	for well := o.members & st.Up; well != 0; well &= well - 1 { // by themselves
		o.members = o.members.With(lowest(well), false)
		delete(o.died, lowest(well))
	}
	for region := range o.left {
		if st.Up.Has(region) {
			delete(o.left, region)
		}
	}
	o.returned &= o.members
	failed := o.returned &^ st.Passing
	o.members, o.returned = o.members&^failed, o.returned&^failed
	for ; failed != 0; failed &= failed - 1 {
		o.left[lowest(failed)], o.died[lowest(failed)] = now, now
	}
	if o.returned == 0 && st.resort() == 0 { // what worked all along does not any more
		o.settles, o.ends = 0, 0
	}
	if o.settles == 0 && st.resort() != 0 {
		probe, _ := f.Times(o.members)
		o.settle(now, min(probe, longestSettle), f)
	}
	switch {
	case o.settles == 0 || now < o.settles:
		return false
	case now >= o.ends:
		// Now it is a death, whoever has been given another one since.
		for lost := o.members &^ o.returned; lost != 0; lost &= lost - 1 {
			o.died[lowest(lost)] = now
		}
		o.members = o.returned
		return false
	case st.Manual:
		return false // what works is a last resort until the operator lets it back
	}
	was := o.returned
	o.returned |= o.members & st.Passing
	return o.returned != was
}

// Tell tells the history which deaths do not count as such, as far as clients are
// concerned that were active, so that the hold of one on a member goes on; and which do
// after all. idle is that of the registry's policy. Telling it again changes nothing.
func (o *Outage) Tell(h *History, idle uint32) {
	for region, at := range o.died {
		switch {
		case !o.members.Has(region):
			h.SetDown(region, max(h.Down(region), at))
		case h.Down(region) >= at:
			h.SetFree(at, at+publishedBy)                // nor is what moved clients off it a reason to hold them
			h.SetDown(region, at-min(idle+together, at)) // a client that had fallen silent has no claim
		}
	}
}

// Renumbered returns the outage for other region numbers, as [History.Carry] does.
func (o *Outage) Renumbered(local *[MaxRegions]uint8) *Outage {
	next := *o
	next.members, next.returned = renumber(o.members, local), renumber(o.returned, local)
	next.died, next.left = renumberKeys(o.died, local), renumberKeys(o.left, local)
	return &next
}

func renumberKeys(m map[uint8]uint32, local *[MaxRegions]uint8) map[uint8]uint32 {
	out := make(map[uint8]uint32, len(m))
	for was, at := range m {
		if to := local[was]; to != None {
			out[to] = at
		}
	}
	return out
}
