package main

import (
	lru "github.com/hashicorp/golang-lru/v2"

	"portolan.dev/resolver/decide"
)

// units is how many units a table of leases or holds has room for, the default of
// the server.
const units = 200_000

// chooser is one name server, as far as it chooses.
type chooser interface {
	// choose returns the replica for a unit whose locality has the given rank. spent
	// says that the unit is moved, or was within a TTL, because it had been held for as
	// long as there are holds: the bound that an operator's drain relies on.
	choose(unit uint32, rank []uint8, now moment) (replica uint8, spent bool)
	// peek returns what choose would, and remembers nothing. until is the end of the
	// hold that this is by; never for none.
	peek(unit uint32, rank []uint8, now moment) (replica uint8, until moment)
}

// algorithm is one way to choose, on one name server or several that share nothing.
type algorithm struct {
	name     string
	servers  int
	recovery bool // health has a recovery hold
	outages  bool // and an outage of all replicas is one
	make     func(*view) chooser
}

// The algorithms, and where the acceptance finds those it speaks of.
const (
	pureOne = iota
	recoveringOne
	leaseOne
	holdsOne
	noRuleOne
	pureTwo
	recoveringTwo
	leaseTwo
	holdsTwo
	algorithmCount
)

func algorithms() [algorithmCount]algorithm {
	return [algorithmCount]algorithm{
		pureOne:       {"pure", 1, false, false, newPure},
		recoveringOne: {"pure, recovery hold", 1, true, false, newPure},
		leaseOne:      {"leases", 1, true, false, newLeases},
		holdsOne:      {"holds", 1, true, true, newHolds},
		noRuleOne:     {"holds, no outage rule", 1, true, false, newHolds},
		pureTwo:       {"pure", 2, false, false, newPure},
		recoveringTwo: {"pure, recovery hold", 2, true, false, newPure},
		leaseTwo:      {"leases, not shared", 2, true, false, newLeases},
		holdsTwo:      {"holds, not shared", 2, true, true, newHolds},
	}
}

// pure is the first replica of the rank that is routed and up.
type pure struct{ *view }

func newPure(v *view) chooser { return &pure{v} }

func (p *pure) choose(_ uint32, rank []uint8, _ moment) (replica uint8, spent bool) {
	return p.base(rank), false
}

func (p *pure) peek(_ uint32, rank []uint8, _ moment) (replica uint8, until moment) {
	return p.base(rank), never
}

// base returns what is first for a rank.
func (v *view) base(rank []uint8) uint8 {
	r, _ := decide.Choose(rank, v.masks, decide.ServeNearest)
	return r
}

// leaseTime is how long a lease lasts after each answer.
const leaseTime = 300 * second

// leases keeps a unit on its replica for as long as it goes on asking and the replica
// is up, even if that is drained: the persistence of load balancers.
type leases struct {
	*view

	given *lru.Cache[uint32, lease]
}

type lease struct {
	replica uint8
	until   moment
}

func newLeases(v *view) chooser {
	given, err := lru.New[uint32, lease](units)
	if err != nil {
		panic(err) // for a size below 1 only
	}
	return &leases{v, given}
}

func (l *leases) choose(unit uint32, rank []uint8, now moment) (replica uint8, spent bool) {
	replica, _ = l.peek(unit, rank, now)
	l.given.Add(unit, lease{replica, now + leaseTime})
	return replica, false
}

func (l *leases) peek(unit uint32, rank []uint8, now moment) (replica uint8, until moment) {
	e, ok := l.given.Peek(unit)
	if !ok || now > e.until || !l.masks.Up.Has(e.replica) {
		return l.base(rank), never
	}
	return e.replica, e.until
}

// policy is the default of the server.
func policy() decide.Policy { return decide.Policy{Idle: 300, Hold: 900, Renewals: 4} }

// longestDrain is how long after a drain anybody may be held on the drained replica,
// and longestHold how long after an event on another one.
func longestDrain() moment { return moment(policy().Hold) * moment(policy().Renewals) * second }
func longestHold() moment  { return 2 * longestDrain() }

// holds is what the server does.
type holds struct {
	*view

	kept      map[uint32]*keeping
	table     *decide.Holds
	situation decide.Situation
}

// keeping is what the simulation itself knows of a unit's hold, so that the package's
// word is not taken for it.
type keeping struct {
	atBase moment // when it was last given what is first for it
	held   bool   // and since then something else
	spent  moment // when a hold of it was last spent
}

func newHolds(v *view) chooser {
	h := &holds{view: v, kept: make(map[uint32]*keeping), table: decide.NewHolds(units)}
	var same [decide.MaxRegions]uint8
	for i := range same {
		same[i] = uint8(i)
	}
	h.situation = decide.Situation{
		Policy: policy(), Configured: allIn().Routed,
		History: &v.history, Stable: &same, Local: &same,
	}
	return h
}

func (h *holds) choose(unit uint32, rank []uint8, now moment) (replica uint8, spent bool) {
	base, key := h.ask(unit, rank)
	replica, _ = h.table.Serve(key, base, unix(now), &h.situation)
	k := h.kept[unit]
	if k == nil {
		k = &keeping{spent: -day}
		h.kept[unit] = k
	}
	if replica != base {
		k.held = true
		return replica, false
	}
	if k.held && now-k.atBase >= longestHold() {
		k.spent = now
	}
	k.atBase, k.held = now, false
	// The other resolvers of the unit may have the former answer for a TTL more.
	return replica, now-k.spent <= ttl
}

func (h *holds) peek(unit uint32, rank []uint8, now moment) (replica uint8, until moment) {
	base, key := h.ask(unit, rank)
	replica, e, held := h.table.Peek(key, base, unix(now), &h.situation)
	if !held {
		return replica, never
	}
	return replica, moment(e.Until-epoch) * second
}

// ask makes up the situation of a unit.
func (h *holds) ask(unit uint32, rank []uint8) (base uint8, key decide.Key) {
	h.situation.Rank, h.situation.Masks, h.situation.Missing = rank, h.masks, 0
	if h.outage != nil {
		h.situation.Missing = h.outage.Missing()
	}
	return h.base(rank), decide.NewKey(1, 0, uint64(unit), 1)
}
