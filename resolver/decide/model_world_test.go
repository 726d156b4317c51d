package decide

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// The model checker moves one registry through random days: replicas fail, flap
// and recover, operators drain and route, configurations are swapped, servers
// restart, and clients push through caches that honour the TTL. It keeps its own
// journal of what every client unit saw, and the invariants (model_test.go) compare
// what the package answers with that journal, never with the package's own
// memory.
//
// All of it speaks of replicas by stable number. Only at the border to the
// package are they translated to the numbers of the configuration in force, which
// each swap deals out anew.

const (
	modelReplicas   = 5
	modelLocalities = 4
	modelTTL        = 60
	recoveryHold    = 600
	flapWindow      = 3600
	maxRecoveryHold = 3600
	modelStart      = 1_800_000_000
)

// setup is one loaded configuration.
type setup struct {
	ranks         [modelLocalities][]uint8 // stable numbers
	configured    Mask                     // stable numbers
	stable, local [MaxRegions]uint8
}

// healthOf is what the health of one replica needs to remember: it is up again when
// dueUp is reached without another failure. The recovery hold doubles with each
// flap.
type healthOf struct{ dueUp, lastUp, hold uint32 }

type model struct {
	rng     *rand.Rand
	seed    uint64
	now     uint32
	policy  Policy
	allDown AllDownPolicy

	setup     setup
	swaps     []uint32
	up        Mask // by health
	forced    Mask // drained with --now: as if down
	routing   Mask
	drained   Mask
	deadlines Deadlines
	unrouted  [modelReplicas]uint32 // when it was last taken out of routing
	health    [modelReplicas]healthOf
	moved     uint32   // when the last event was
	masks     Masks    // as published, stable numbers
	log       []noting // what was published, for servers that restart

	units   []*unit
	clients []*client
	drains  [modelReplicas]episode
	nodes   []*node
	failed  map[string]string // the first violation, by invariant
	counts  counts
}

// noting is one entry of the log that outlives a restart.
type noting struct {
	Change
	died bool
}

// counts shows that a run was not vacuous.
type counts struct {
	answers, held, deaths, swaps, restarts, renewed, forgotten, safe int
}

func newModel(seed uint64) *model {
	m := &model{
		rng: rand.New(rand.NewPCG(seed, 7)), seed: seed, now: modelStart,
		policy: Policy{Idle: 300, Hold: 900, Renewals: 4},
		up:     1<<modelReplicas - 1, routing: 1<<modelReplicas - 1, failed: make(map[string]string),
	}
	switch m.rng.IntN(4) {
	case 0:
		m.policy.Renewals = 1
	case 1:
		m.policy = Policy{Idle: 120, Hold: 200, Renewals: 3}
	}
	if m.rng.IntN(4) == 0 {
		m.allDown = ServeNothing
	}
	m.load()
	m.masks = m.wanted()
	// The second server has a table of another size, under another seed, and is
	// restarted; the third forgets.
	for i, size := range []int{500, 3000, 500} {
		m.nodes = append(m.nodes, newNode(m, size, seed*10+uint64(i)))
	}
	m.populate()
	return m
}

// load makes a configuration with ranks, replicas and region numbers of its own.
func (m *model) load() {
	s := &m.setup
	for i := range s.ranks {
		s.ranks[i] = nil
		for _, r := range m.rng.Perm(modelReplicas) {
			s.ranks[i] = append(s.ranks[i], uint8(r))
		}
	}
	s.configured = 1<<modelReplicas - 1
	if m.rng.IntN(3) == 0 {
		s.configured = s.configured.With(uint8(m.rng.IntN(modelReplicas)), false)
	}
	for i := range s.local {
		s.stable[i], s.local[i] = 0, 255
	}
	for i, r := range m.rng.Perm(modelReplicas) {
		s.stable[i], s.local[r] = uint8(r), uint8(i)
	}
}

// base is the pure decision, written again without bits: the first replica of the
// rank that is configured, routed and up; else, with ServeNearest, the first that is
// routed. The pseudo-code of the design would give one that is up though drained
// before that; the package keeps to the order of the operator, on purpose.
func (m *model) base(u *unit) (uint8, Outcome) {
	routed := false
	first := uint8(0)
	for _, r := range slices.Backward(m.setup.ranks[u.locality]) {
		if m.masks.Routed.Has(r) {
			routed, first = true, r
		}
	}
	for _, r := range m.setup.ranks[u.locality] {
		if m.masks.Routed.Has(r) && m.masks.Up.Has(r) {
			return r, Nearest
		}
	}
	switch {
	case !routed:
		return 0, NoneRouted
	case m.allDown == ServeNothing:
		return 0, NoneUp
	}
	return first, AllDown
}

// wanted is what the masks come to.
func (m *model) wanted() Masks {
	return Masks{Routed: m.setup.configured & m.routing &^ m.drained, Up: m.up &^ m.forced}
}

// publish makes what was changed take effect on every server.
func (m *model) publish() {
	next := m.wanted()
	if next == m.masks {
		return
	}
	lost := m.masks.Up &^ next.Up
	for r := range uint8(modelReplicas) {
		if m.masks.Routed.Has(r) && !next.Routed.Has(r) {
			m.unrouted[r] = m.now
		}
	}
	m.masks = next
	m.log = append(m.log, noting{Change{At: m.now, Masks: next}, lost != 0})
	for _, n := range m.nodes {
		n.history.Note(Change{At: m.now, Masks: m.translate(next)}, lost != 0)
	}
	if lost != 0 {
		m.counts.deaths++
	}
	m.journal(lost, false)
}

// swap replaces the configuration: a change like any other for the clients, but one
// that the history of masks does not hold.
func (m *model) swap() {
	before := m.setup
	m.load()
	m.swaps = append(m.swaps, m.now)
	was := m.masks
	m.masks = m.wanted()
	for r := range uint8(modelReplicas) {
		if was.Routed.Has(r) && !m.masks.Routed.Has(r) {
			m.unrouted[r] = m.now
		}
	}
	var renumber [MaxRegions]uint8
	for i := range renumber {
		renumber[i] = None
		if i < modelReplicas {
			renumber[i] = m.setup.local[before.stable[i]]
		}
	}
	for _, n := range m.nodes {
		next := &History{}
		next.Carry(n.history, &renumber)
		n.history = next
	}
	m.counts.swaps++
	for _, u := range m.units {
		u.loose = u.loose || !m.setup.configured.Has(u.region)
	}
	m.journal(0, true)
}

// translate gives a mask the numbers of the configuration in force.
func (m *model) translate(stable Masks) Masks {
	var out Masks
	for r := range uint8(modelReplicas) {
		out.Routed = out.Routed.With(m.setup.local[r], stable.Routed.Has(r))
		out.Up = out.Up.With(m.setup.local[r], stable.Up.Has(r))
	}
	return out
}

// fail takes a replica down, or breaks its recovery. A failure within an hour of a
// recovery is a flap and doubles the hold of the next.
func (m *model) fail(r uint8) {
	h := &m.health[r]
	h.dueUp = 0
	if !m.up.Has(r) {
		return
	}
	if h.lastUp != 0 && m.now-h.lastUp < flapWindow {
		h.hold = min(2*h.hold, maxRecoveryHold)
	} else {
		h.hold = recoveryHold
	}
	m.up = m.up.With(r, false)
	m.publish()
}

// mend lets a replica begin its recovery hold.
func (m *model) mend(r uint8) {
	if h := &m.health[r]; !m.up.Has(r) && h.dueUp == 0 {
		h.dueUp = m.now + h.hold
	}
}

// recover ends the recovery holds that are over.
func (m *model) recover() {
	for r := range uint8(modelReplicas) {
		if h := &m.health[r]; h.dueUp != 0 && m.now >= h.dueUp {
			h.dueUp, h.lastUp = 0, m.now
			m.up = m.up.With(r, true)
			m.publish()
		}
	}
}

// drain takes a replica out for new clients; how is 0 without a deadline, 1 with
// one, 2 at once.
func (m *model) drain(r uint8, how int) {
	m.drained = m.drained.With(r, true)
	switch how {
	case 1:
		m.deadlines[r] = m.now + 30 + uint32(m.rng.IntN(1800))
		for _, u := range m.units {
			u.cut = u.cut || u.region == r
		}
	case 2:
		m.forced = m.forced.With(r, true)
	}
	m.publish()
}

func (m *model) undrain(r uint8) {
	m.drained, m.forced = m.drained.With(r, false), m.forced.With(r, false)
	m.deadlines[r] = 0
	m.publish()
}

// violated notes the first violation of an invariant.
func (m *model) violated(invariant, format string, args ...any) {
	if m.failed[invariant] == "" {
		m.failed[invariant] = fmt.Sprintf("seed %d, %d s after the start: ", m.seed, m.now-modelStart) + fmt.Sprintf(format, args...)
	}
}
