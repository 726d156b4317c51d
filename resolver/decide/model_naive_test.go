package decide

import (
	"math/rand/v2"
	"testing"

	lru "github.com/hashicorp/golang-lru/v2"
)

// naive is the design's pseudo-code as it stands there: a 2Q cache of entries, and a
// log that forgets neither an event nor the ranks that were in force.
type naive struct {
	act    *lru.TwoQueueCache[int, *naiveEntry]
	log    []naiveEvent
	policy Policy
}

type naiveEntry struct {
	replica  uint8
	lastSeen uint32
	hold     *naiveHold
}

type naiveHold struct {
	until uint32
	n     uint8
}

// naiveEvent is what was decided for each locality from a moment on, -1 where there
// was no replica, who was usable, and who died with it.
type naiveEvent struct {
	at           uint32
	base         [modelLocalities]int
	died         Mask
	live, routed Mask
	swap         bool
	outage       bool // no routed replica is up
}

func (n *naive) serve(key, locality int, now uint32) (r uint8) {
	b := uint8(n.log[len(n.log)-1].base[locality])
	e, _ := n.act.Get(key)
	switch {
	case e == nil:
		e = &naiveEntry{}
		r = b
	case b == e.replica && !n.log[len(n.log)-1].outage:
		r, e.hold = b, nil
	case n.hardDown(e.replica, e.lastSeen):
		r, e.hold = b, nil
	default:
		if e.hold == nil {
			if t := n.changedAway(e.replica, locality, e.lastSeen); t-e.lastSeen <= n.policy.Idle {
				e.hold = &naiveHold{t + n.policy.Hold, 1}
			}
		}
		periods := n.policy.Renewals
		if n.log[len(n.log)-1].routed.Has(e.replica) {
			periods *= 2 // overtime, which the pseudo-code does not have
		}
		for e.hold != nil && now >= e.hold.until {
			if e.hold.until-min(e.hold.until, e.lastSeen) <= n.policy.Idle && e.hold.n < periods {
				e.hold.until += n.policy.Hold
				e.hold.n++
			} else {
				e.hold = nil
			}
		}
		if e.hold != nil && e.hold.n > n.policy.Renewals && now-e.lastSeen > n.policy.Idle {
			e.hold = nil
		}
		r = b
		if e.hold != nil {
			r = e.replica
		}
	}
	n.act.Add(key, &naiveEntry{r, now, e.hold})
	return r
}

// hardDown reports whether a replica went down since, or is down. A unit that was
// given a dead replica, for all were down, is not moved when that comes back.
func (n *naive) hardDown(replica uint8, since uint32) bool {
	for _, e := range n.log {
		if e.at > since && e.died.Has(replica) {
			return true
		}
	}
	return !n.log[len(n.log)-1].live.Has(replica)
}

func (n *naive) changedAway(replica uint8, locality int, since uint32) uint32 {
	for _, e := range n.log {
		if e.at > since && e.base[locality] != int(replica) {
			return e.at
		}
	}
	return 1<<32 - 1
}

// vague reports whether the package may differ for an entry: a swap, or more
// changes than it remembers, since the unit was seen.
func (n *naive) vague(e *naiveEntry) bool {
	changes := 0
	for _, event := range n.log {
		if event.at > e.lastSeen {
			changes++
			if event.swap {
				return true
			}
		}
	}
	return changes >= historySize
}

// TestServeIsThePseudoCode compares the package with the pseudo-code on random
// streams of queries and events. Events fall on even seconds and queries on odd
// ones: the package knows no order within a second.
func TestServeIsThePseudoCode(t *testing.T) {
	compared, held, vague := 0, 0, 0
	for _, seed := range seeds(t, 60) {
		m := newModel(seed)
		act, err := lru.New2Q[int, *naiveEntry](10_000)
		if err != nil {
			t.Fatal(err)
		}
		// Odd, so that queries meet the very end of an idle time and of a hold.
		m.policy.Idle, m.policy.Hold = m.policy.Idle|1, m.policy.Hold|1
		n := &naive{act: act, policy: m.policy}
		n.note(m, 0, false)
		for i := range 4000 {
			step := uint32([]float64{3, 20, 60, 300}[m.rng.IntN(4)] * m.rng.ExpFloat64())
			m.now += step &^ 1
			if m.rng.IntN(8) == 0 {
				n.random(m)
			}
			u := m.units[(i/200+m.rng.IntN(3))%len(m.units)] // three are active at a time
			m.now |= 1
			a := m.nodes[0].answer(m, u)
			e, known := act.Peek(int(u.id))
			if a.outcome > AllDown {
				m.now++
				continue
			}
			unsure := known && n.vague(e)
			want := n.serve(int(u.id), u.locality, m.now)
			switch {
			case unsure:
				vague++
				if a.region != a.base && a.region != e.replica {
					t.Fatalf("seed %d: region %d is neither base %d nor the one before, %d", seed, a.region, a.base, e.replica)
				}
				n.adopt(m, u)
			case a.region != want:
				t.Fatalf("seed %d, %d s after the start: unit %d is given %d, by the pseudo-code %d (base %d, seen %d s ago)",
					seed, m.now-modelStart, u.id, a.region, want, a.base, m.now-e.lastSeen)
			default:
				compared++
				if want != a.base {
					held++
				}
			}
			m.now++
		}
	}
	t.Logf("%d answers compared, %d of them held, %d passed over", compared, held, vague)
	if held < compared/50 || vague > compared/2 {
		t.Error("the streams compare too little")
	}
}

// adopt gives the pseudo-code the package's entry, where both were right.
func (n *naive) adopt(m *model, u *unit) {
	e, _ := m.nodes[0].holds.Get(m.nodes[0].key(u))
	next := &naiveEntry{replica: e.Region, lastSeen: e.LastSeen}
	if e.Until != 0 {
		next.hold = &naiveHold{e.Until, e.Renewals}
	}
	n.act.Add(int(u.id), next)
}

// note logs what is decided from now on.
func (n *naive) note(m *model, died Mask, swap bool) {
	e := naiveEvent{at: m.now, died: died, live: m.masks.Up & m.setup.configured, routed: m.masks.Routed, swap: swap}
	if e.outage = m.masks.Routed&m.masks.Up == 0; e.outage {
		e.live |= m.masks.Routed // all are down: none of them more than another
	}
	for i := range e.base {
		base, outcome := m.base(&unit{locality: i})
		e.base[i] = int(base)
		if outcome > AllDown {
			e.base[i] = -1
		}
	}
	n.log = append(n.log, e)
}

// random lets something happen to the registry.
func (n *naive) random(m *model) {
	was := m.masks
	r := uint8(m.rng.IntN(modelReplicas))
	swap := false
	switch pick(m.rng, 4, 6, 4, 1) {
	case 0:
		m.up = m.up.With(r, false)
	case 1:
		m.up = m.up.With(r, true)
	case 2:
		m.routing ^= 1 << r
	case 3:
		swap = true
		m.swap()
	}
	m.publish()
	if swap || was != m.masks {
		n.note(m, was.Up&^m.masks.Up, swap)
	}
}

// scripted is a random script of queries and events for one registry of a fixed
// configuration.
type scripted struct {
	policy  Policy
	changes []Change
	queries []query
}

type query struct {
	at   uint32
	unit uint64
}

func newScript(rng *rand.Rand, units int) scripted {
	s := scripted{policy: Policy{Idle: 300, Hold: 900, Renewals: uint8(1 + rng.IntN(4))}}
	now := uint32(modelStart)
	m := Masks{Routed: 0b1111, Up: 0b1111}
	for range 3000 {
		now += uint32(rng.IntN(40))
		if rng.IntN(40) == 0 {
			if rng.IntN(2) == 0 {
				m.Routed ^= 1 << rng.IntN(4)
			} else {
				m.Up ^= 1 << rng.IntN(4)
			}
			if m.Routed == 0 {
				m.Routed = 0b1111
			}
			s.changes = append(s.changes, Change{At: now, Masks: m})
		}
		s.queries = append(s.queries, query{now, uint64(rng.IntN(units))})
	}
	return s
}

// play runs a script on a table and returns the answers of each unit in order; each
// is also handed to watch with the base of its moment.
func (s *scripted) play(h *Holds, queries []query, watch func(q query, base, region uint8)) map[uint64][]uint8 {
	var identity [MaxRegions]uint8
	for i := range identity {
		identity[i] = uint8(i)
	}
	history := &History{}
	situation := Situation{
		Rank: []uint8{2, 0, 3, 1}, Masks: Masks{Routed: 0b1111, Up: 0b1111}, Policy: s.policy, Configured: 0b1111,
		History: history, Stable: &identity, Local: &identity,
	}
	answers := make(map[uint64][]uint8)
	changes := s.changes
	for _, q := range queries {
		for len(changes) > 0 && changes[0].At <= q.at {
			history.Note(changes[0], situation.Masks.Up&^changes[0].Masks.Up != 0)
			situation.Masks = changes[0].Masks
			changes = changes[1:]
		}
		base, _ := Choose(situation.Rank, situation.Masks, ServeNearest)
		region, _ := h.Serve(NewKey(9, 7, q.unit, 1), base, q.at, &situation)
		answers[q.unit] = append(answers[q.unit], region)
		if watch != nil {
			watch(q, base, region)
		}
	}
	return answers
}
