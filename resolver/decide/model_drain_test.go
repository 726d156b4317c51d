package decide

// episode is one drain, as an operator follows it: held counts the units that may
// still be given the replica, and once there are none, safeAt is when the last
// cache has forgotten it.
type episode struct {
	from       uint32 // since when it is out of routing
	lastAnswer uint32
	safe       bool
	safeAt     uint32
}

// watchDrains follows what is out of routing: once held is 0, nobody is given the
// replica, and no cache has it after safeAt.
func (m *model) watchDrains() {
	for r := range uint8(modelReplicas) {
		e := &m.drains[r]
		// All down is not a drain: the last resort is answered then.
		if m.masks.Routed.Has(r) || e.from != m.unrouted[r] {
			*e = episode{from: m.unrouted[r], lastAnswer: e.lastAnswer}
		}
		if m.masks.Routed.Has(r) || m.unrouted[r] == 0 {
			continue
		}
		if !e.safe && m.held(r) == 0 {
			e.safe, e.safeAt = true, e.lastAnswer+modelTTL
			m.counts.safe++
		}
		if e.safe && m.now >= e.safeAt {
			m.uncached(r, e)
		}
	}
}

// uncached checks that no cache holds a replica that is safe to switch off.
func (m *model) uncached(r uint8, e *episode) {
	for _, c := range m.clients {
		for i := range c.resolvers {
			for _, entry := range c.resolvers[i].cache {
				if entry.region == r && m.now < entry.expires {
					m.violated("I5", "%d was safe to switch off %d s ago, and a cache has it for %d s more",
						r, m.now-e.safeAt, entry.expires-m.now)
				}
			}
		}
	}
}

// held counts the units that the first server may still give a replica that was
// taken out of routing, from the table alone.
func (m *model) held(r uint8) (n int) {
	m.nodes[0].holds.Each(func(_ Key, e Entry) {
		if e.Region == r && m.mayBeGiven(e, m.unrouted[r]) {
			n++
		}
	})
	return n
}

// mayBeGiven says whether a unit may still be given its replica that was taken out
// of routing at a moment.
func (m *model) mayBeGiven(e Entry, unrouted uint32) bool {
	p := m.policy
	until := e.Until
	renewable := e.Renewals < p.Renewals
	if until == 0 {
		// Not asked since: its hold begins when it asks, from the event that the
		// table cannot know, but not before it was seen nor later than an idle time after.
		until, renewable = max(min(unrouted, e.LastSeen+p.Idle), e.LastSeen)+p.Hold, p.Renewals > 1
	}
	for renewable && until <= e.LastSeen+p.Idle {
		until += p.Hold // for a renewal, it must have been active when the period ended
	}
	return m.now < until
}
