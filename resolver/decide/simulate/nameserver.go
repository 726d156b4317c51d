package main

import (
	"math/rand/v2"

	lru "github.com/hashicorp/golang-lru/v2"

	"portolan.dev/resolver/decide"
)

// units is how many units a table of leases or holds has room for, the default of
// the server.
const units = 200_000

// epoch is the Unix time of the simulation's start.
const epoch = 1_800_000_000

func unix(at moment) uint32 { return uint32(epoch + at/second) }

// chooser is one name server, as far as it chooses.
type chooser interface {
	publish(p publication)
	// choose returns the replica for a unit whose locality has the given rank. spent
	// says that the unit is moved, or was within a TTL, because it had been held for as
	// long as there are holds: the bound that an operator's drain relies on.
	choose(unit uint32, rank []uint8, now moment) (replica uint8, spent bool)
}

// algorithm is one way to choose, on one name server or several that share nothing.
type algorithm struct {
	name     string
	servers  int
	recovery bool // health has a recovery hold
	make     func() chooser
}

// The algorithms, and where the acceptance finds those it speaks of.
const (
	pureOne = iota
	recoveringOne
	leaseOne
	holdsOne
	pureTwo
	recoveringTwo
	leaseTwo
	holdsTwo
	algorithmCount
)

func algorithms() [algorithmCount]algorithm {
	return [algorithmCount]algorithm{
		pureOne:       {"pure", 1, false, newPure},
		recoveringOne: {"pure, recovery hold", 1, true, newPure},
		leaseOne:      {"leases", 1, true, newLeases},
		holdsOne:      {"holds", 1, true, newHolds},
		pureTwo:       {"pure", 2, false, newPure},
		recoveringTwo: {"pure, recovery hold", 2, true, newPure},
		leaseTwo:      {"leases, not shared", 2, true, newLeases},
		holdsTwo:      {"holds, not shared", 2, true, newHolds},
	}
}

// pure is the first replica of the rank that is routed and up.
type pure struct{ masks decide.Masks }

func newPure() chooser { return &pure{allIn()} }

func (p *pure) publish(c publication) { p.masks = c.masks }

func (p *pure) choose(_ uint32, rank []uint8, _ moment) (replica uint8, spent bool) {
	return p.base(rank), false
}

func (p *pure) base(rank []uint8) uint8 {
	r, _ := decide.Choose(rank, p.masks, decide.ServeNearest)
	return r
}

// leaseTime is how long a lease lasts after each answer.
const leaseTime = 300 * second

// leases keeps a unit on its replica for as long as it goes on asking and the replica
// is up, even if that is drained: the persistence of load balancers.
type leases struct {
	pure
	given *lru.Cache[uint32, lease]
}

type lease struct {
	replica uint8
	until   moment
}

func newLeases() chooser {
	given, err := lru.New[uint32, lease](units)
	if err != nil {
		panic(err) // for a size below 1 only
	}
	return &leases{pure{allIn()}, given}
}

func (l *leases) choose(unit uint32, rank []uint8, now moment) (replica uint8, spent bool) {
	e, ok := l.given.Get(unit)
	if !ok || now > e.until || !l.masks.Up.Has(e.replica) {
		e.replica = l.base(rank)
	}
	l.given.Add(unit, lease{e.replica, now + leaseTime})
	return e.replica, false
}

// policy is the default of the server.
func policy() decide.Policy { return decide.Policy{Idle: 300, Hold: 900, Renewals: 4} }

// longestDrain is how long after a drain anybody may be held on the drained replica,
// and longestHold how long after an event on another one.
func longestDrain() moment { return moment(policy().Hold) * moment(policy().Renewals) * second }
func longestHold() moment  { return 2 * longestDrain() }

// holds is what the server does.
type holds struct {
	pure
	kept      map[uint32]*keeping
	table     *decide.Holds
	history   decide.History
	situation decide.Situation
}

// keeping is what the simulation itself knows of a unit's hold, so that the package's
// word is not taken for it.
type keeping struct {
	atBase moment // when it was last given what is first for it
	held   bool   // and since then something else
	spent  moment // when a hold of it was last spent
}

func newHolds() chooser {
	h := &holds{pure: pure{allIn()}, kept: make(map[uint32]*keeping), table: decide.NewHolds(units)}
	var same [decide.MaxRegions]uint8
	for i := range same {
		same[i] = uint8(i)
	}
	h.situation = decide.Situation{
		Policy: policy(), Configured: allIn().Routed,
		History: &h.history, Stable: &same, Local: &same,
	}
	return h
}

func (h *holds) publish(c publication) {
	h.history.Note(decide.Change{At: unix(c.at), Masks: c.masks}, c.died)
	h.pure.publish(c)
}

func (h *holds) choose(unit uint32, rank []uint8, now moment) (replica uint8, spent bool) {
	base := h.base(rank)
	h.situation.Rank, h.situation.Masks = rank, h.masks
	replica, _ = h.table.Serve(decide.NewKey(1, 0, uint64(unit), 1), base, unix(now), &h.situation)
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

// fleet is the name servers of one algorithm, and what they have still to publish.
type fleet struct {
	servers []chooser
	pending [][]publication
}

func newFleet(a *algorithm, f *faults, seed uint64) *fleet {
	fl := &fleet{}
	flips := f.flips(a.recovery)
	for i := range a.servers {
		var lag *rand.Rand
		if i > 0 {
			lag = rand.New(rand.NewPCG(seed, uint64(i))) //nolint:gosec // runs must repeat
		}
		fl.servers = append(fl.servers, a.make())
		fl.pending = append(fl.pending, publications(flips, lag))
	}
	return fl
}

// advance publishes all that is due.
func (f *fleet) advance(now moment) {
	for i, server := range f.servers {
		for len(f.pending[i]) > 0 && f.pending[i][0].at <= now {
			server.publish(f.pending[i][0])
			f.pending[i] = f.pending[i][1:]
		}
	}
}
