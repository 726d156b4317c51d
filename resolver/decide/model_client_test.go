package decide

import (
	"math"
	"math/rand/v2"
)

// unit is one client unit, and the journal of what it was given. Events write the
// journal when they happen, where the package works out afterwards what
// happened: two ways to the same facts.
type unit struct {
	id       uint64
	locality int

	known  bool
	region uint8  // given last
	seen   uint32 // when
	// Since then:
	died               bool   // its replica went down
	away               bool   // base is another now
	firstAway          uint32 // when base first became another; 0: never
	lastAway           uint32 // when it last did
	changes            int    // of the masks
	swapped, tied      bool   // a swap; an event in the very second it was seen
	loose              bool   // it was given a dead replica, for all were, or its replica was removed for a while
	cut                bool   // its replica has had a deadline
	heldFrom, heldLast uint32 // the event its hold stems from, and the longest silence since
	idle               bool   // it was silent for so long that it would not have had to be held
	inexact            bool   // that event is known to the package only nearly
}

// client is a host with one resolver or several. Resolvers of a site share their
// unit.
type client struct {
	resolvers []resolver
	pushing   uint32 // until
	next      uint32
	busy      bool
}

type resolver struct {
	unit  *unit
	cache [2]cached // A, AAAA
}

type cached struct {
	region  uint8
	expires uint32
}

// populate makes clients of each kind.
func (m *model) populate() {
	add := func(resolvers int, site, busy bool) {
		c := &client{busy: busy, next: m.now + uint32(m.rng.IntN(600))}
		locality := m.rng.IntN(modelLocalities)
		for i := range resolvers {
			if i == 0 || !site {
				m.units = append(m.units, &unit{id: uint64(len(m.units)), locality: locality})
			}
			c.resolvers = append(c.resolvers, resolver{unit: m.units[len(m.units)-1]})
		}
		m.clients = append(m.clients, c)
	}
	for range 8 {
		add(1, false, false)
		add(1+m.rng.IntN(4), true, false)
	}
	for range 3 {
		add(2+m.rng.IntN(3), false, false)
	}
	add(1, false, true)
	add(3, true, true)
}

// request is one connection of a push: the name is resolved for both types, from a
// cache where that is still good.
func (m *model) request(c *client) {
	r := &c.resolvers[m.rng.IntN(len(c.resolvers))]
	for i := range r.cache {
		if m.now < r.cache[i].expires {
			continue
		}
		if region, ok := m.ask(r.unit); ok {
			r.cache[i] = cached{region, m.now + modelTTL}
		}
	}
	switch {
	case m.now < c.pushing || c.busy:
		c.next = m.now + 1 + uint32(m.rng.IntN(15))
	default: // silent until the next push; many silences are about as long as what counts as idle
		gap := []uint32{20, m.policy.Idle - 10, m.policy.Idle + 10, m.policy.Hold, 2500, 9000}[m.rng.IntN(6)]
		c.next = m.now + gap/2 + uint32(m.rng.IntN(int(gap)))
		c.pushing = c.next + uint32(min(3600, 60*math.Exp(1.5*m.rng.NormFloat64())))
	}
}

// journal writes down an event for all units that have been given a replica. lost
// are the replicas it took for good.
func (m *model) journal(lost Mask, swapped bool) {
	m.moved = m.now
	for _, u := range m.units {
		if !u.known {
			continue
		}
		u.died = u.died || lost.Has(u.region)
		base, outcome := m.base(u)
		switch away := base != u.region || outcome > AllDown; {
		case !away:
			u.away = false
		case !u.away:
			u.away, u.lastAway = true, m.now
			if u.firstAway == 0 {
				u.firstAway = m.now
			}
		}
		if swapped {
			u.swapped = true
		} else {
			u.changes++
		}
		u.tied = u.tied || m.now == u.seen
		u.cut = u.cut || m.deadlines[u.region] != 0
	}
}

// given writes down an answer.
func (m *model) given(u *unit, a *answer) {
	switch {
	case a.region == a.base:
		u.heldFrom, u.heldLast, u.inexact, u.idle, u.cut = 0, 0, false, false, m.deadlines[a.region] != 0
	case u.heldFrom == 0:
		u.heldFrom, u.heldLast, u.inexact = max(u.firstAway, u.seen), m.now-u.seen, u.vague()
		u.idle = u.lastAway > u.seen+m.policy.Idle
	default:
		u.heldLast = max(u.heldLast, m.now-u.seen)
	}
	u.known, u.region, u.seen = true, a.region, m.now
	u.died, u.away, u.firstAway, u.lastAway = false, a.region != a.base, 0, 0
	u.changes, u.swapped, u.tied, u.loose = 0, false, m.moved == m.now, a.outcome == AllDown
}

// vague reports whether the package cannot know exactly when base became another
// since the unit was seen. There it differs from the pseudo-code on purpose: it
// counts in seconds, remembers eight changes and no former ranks, and where it
// does not know it takes the earliest moment, which holds a client that could have
// moved, and begins that hold earlier by at most the idle time.
func (u *unit) vague() bool { return u.swapped || u.tied || u.changes >= historySize }

// node is one name server.
type node struct {
	holds   *Holds
	history *History
	seed    uint64
	size    int
	fresh   map[uint64]bool // units that were forgotten and have not asked since
}

func newNode(m *model, size int, seed uint64) *node {
	n := &node{holds: NewHolds(size), history: &History{}, seed: seed, size: size, fresh: make(map[uint64]bool)}
	n.replay(m)
	return n
}

// replay builds the history from the log, of which a server keeps some hours.
func (n *node) replay(m *model) {
	n.history = &History{}
	for _, c := range m.log {
		if c.At+4*3600 > m.now {
			n.history.Note(Change{At: c.At, Masks: m.translate(c.Masks)}, c.died)
		}
	}
}

// restart saves and loads the table, and builds the history anew. Of every entry,
// share of the table is lost.
func (n *node) restart(m *model, share float64) {
	loaded := NewHolds(n.size)
	ids := make(map[Key]uint64)
	for _, u := range m.units {
		ids[n.key(u)] = u.id
	}
	n.holds.Each(func(k Key, e Entry) {
		if m.rng.Float64() < share {
			n.fresh[ids[k]] = true
			return
		}
		loaded.Put(k, e)
	})
	n.holds = loaded
	n.replay(m)
	m.counts.restarts++
}

func (n *node) key(u *unit) Key { return NewKey(n.seed, 7, u.id, 1) }

// situation is what resolver hands to Serve.
func (n *node) situation(m *model, u *unit) Situation {
	s := Situation{
		Masks: m.translate(m.masks), AllDown: m.allDown, Policy: m.policy, History: n.history,
		Swaps: m.swaps[max(0, len(m.swaps)-16):], Stable: &m.setup.stable, Local: &m.setup.local,
	}
	deadlines := Deadlines{}
	for r := range uint8(modelReplicas) {
		local := m.setup.local[r]
		s.Configured = s.Configured.With(local, m.setup.configured.Has(r))
		deadlines[local] = m.deadlines[r]
	}
	if deadlines != (Deadlines{}) {
		s.Deadlines = &deadlines
	}
	for _, r := range m.setup.ranks[u.locality] {
		s.Rank = append(s.Rank, m.setup.local[r])
	}
	return s
}

// answer asks one server as resolver does: Choose, and Serve if there is a
// region.
func (n *node) answer(m *model, u *unit) answer {
	s := n.situation(m, u)
	base, outcome := Choose(s.Rank, s.Masks, s.AllDown)
	a := answer{outcome: outcome, base: s.Stable[base]}
	if outcome > AllDown {
		return a
	}
	peeked, _, peekedHeld := n.holds.Peek(n.key(u), base, m.now, &s)
	region, held := n.holds.Serve(n.key(u), base, m.now, &s)
	if peeked != region || peekedHeld != held {
		m.violated("I6", "Peek says %d (held %v), Serve %d (held %v)", peeked, peekedHeld, region, held)
	}
	a.region, a.held = s.Stable[region], held
	return a
}

type answer struct {
	region, base uint8 // stable
	held         bool
	outcome      Outcome
}

// pick returns one of several things that may happen, by weight.
func pick(rng *rand.Rand, weights ...int) int {
	sum := 0
	for _, w := range weights {
		sum += w
	}
	n := rng.IntN(sum)
	for i, w := range weights {
		if n -= w; n < 0 {
			return i
		}
	}
	return 0
}
