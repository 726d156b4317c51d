package decide

// MaxRegions is how many regions one server can tell apart: one bit each. A rank
// is then at most one cache line.
const MaxRegions = 64

// Mask is a set of regions; bit n is region number n.
type Mask uint64

// Has reports whether region is in m.
func (m Mask) Has(region uint8) bool { return m>>region&1 != 0 }

// With returns m with region added when in is true, else removed.
func (m Mask) With(region uint8, in bool) Mask {
	if in {
		return m | 1<<region
	}
	return m &^ (1 << region)
}

// Masks is what is known of the replicas of one registry at one instant.
type Masks struct {
	// Routed holds the replicas that the operator lets the global name answer:
	// configured, global endpoint routing on, not drained.
	Routed Mask
	// Up holds the replicas that health has not taken out. Never-probed replicas
	// are up.
	Up Mask
	// Resort holds what is answered while no routed replica is up: the best of the
	// rest, as those that pass their probes and wait for the end of their recovery
	// hold. It is empty if all are equally bad, and not looked at otherwise.
	Resort Mask
}

// Candidates returns the replicas that a client may be given: the first of its rank
// is. It is empty only if the operator has taken every replica out.
func (m Masks) Candidates() Mask {
	switch up := m.Routed & m.Up; {
	case up != 0 || m.Routed == 0:
		return up
	case m.Resort != 0:
		return m.Resort
	}
	return m.Routed
}

// LastResort returns what is answered because no routed replica is up; empty while one
// is, or none is routed.
func (m Masks) LastResort() Mask {
	if m.Routed == 0 || m.Routed&m.Up != 0 {
		return 0
	}
	return m.Resort
}

// Outcome says how a decision came about.
type Outcome uint8

const (
	// Nearest means: the first routed replica that is up.
	Nearest Outcome = iota
	// LastResort means: no routed replica is up; one that works is answered.
	LastResort
	// AllDown means: no routed replica is up, and none is known to work; the first
	// routed one is answered as if all were up.
	AllDown
	// Held means: the client is kept on the replica it had, although another is
	// first now. Only [Holds.Serve] leads to it.
	Held
	// NoneUp means: no routed replica is up, none is known to work, and the registry
	// prefers NODATA to a dead replica. There is no region.
	NoneUp
	// NoneRouted means: the operator has taken every replica out. There is no region.
	NoneRouted
)

// String returns the outcome as explanations print it.
func (o Outcome) String() string {
	switch o {
	case LastResort:
		return "last-resort"
	case AllDown:
		return "all-down"
	case Held:
		return "held"
	case NoneUp:
		return "none-up"
	case NoneRouted:
		return "none-routed"
	case Nearest:
	}
	return "nearest"
}

// AllDownPolicy says what to answer when no routed replica is up or known to work.
type AllDownPolicy uint8

const (
	// ServeNearest answers as if all were up.
	ServeNearest AllDownPolicy = iota
	// ServeNothing answers NODATA.
	ServeNothing
)

// Choose returns the region that answers a client of the given rank, and how it
// was found. rank lists region numbers, nearest first, and must hold every region
// in m; the region is meaningless for NoneUp and NoneRouted.
func Choose(rank []uint8, m Masks, policy AllDownPolicy) (region uint8, o Outcome) {
	candidates := m.Candidates()
	if m.Routed&m.Up == 0 {
		switch {
		case m.Routed == 0:
			return 0, NoneRouted
		case m.Resort != 0:
			o = LastResort
		case policy == ServeNothing:
			return 0, NoneUp
		default:
			o = AllDown
		}
	}
	for _, r := range rank {
		if candidates.Has(r) {
			return r, o
		}
	}
	// A rank without a region of the registry cannot be compiled; answering any
	// candidate beats not answering.
	return lowest(candidates), o
}
