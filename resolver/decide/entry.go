package decide

// Entry is the state of one unit. Times are Unix seconds.
type Entry struct {
	LastSeen uint32
	// Until is the end of the hold, 0 without one.
	Until uint32
	// Region is the replica given last, by its stable number.
	Region uint8
	// Renewals counts the periods of the hold, from 1.
	Renewals uint8
	// Standing is what the unit has earned by being met again.
	Standing Standing
}

// Standing says how a unit has shown that a client is behind it. One forged query
// makes a newcomer, and a flood of them is cheap; a resolver of a client asks again
// whenever a TTL ends.
type Standing uint8

// The standings, each above the one before.
const (
	// Newcomer: the unit was met in one second only.
	Newcomer Standing = iota
	// Returned: it was met in a second one, or held.
	Returned
	// Qualified: it was met in a third one, while its bucket had room for another that
	// was. Only its own silence frees its way.
	Qualified
)

// The layout of way.state.
const (
	seenShift     = 32
	restShift     = 15 // seconds from last seen to the end of the hold
	restMask      = 1<<17 - 1
	regionShift   = 9
	regionMask    = 1<<6 - 1
	renewShift    = 5
	renewMask     = 1<<4 - 1
	standingShift = 3
	standingMask  = 1<<2 - 1
	epochMask     = 1<<3 - 1 // of the way, not of the entry
)

func (e Entry) pack() uint64 {
	state := uint64(e.LastSeen)<<seenShift | uint64(e.Region&regionMask)<<regionShift |
		uint64(min(e.Renewals, renewMask))<<renewShift | uint64(e.Standing&standingMask)<<standingShift
	if e.Until > e.LastSeen {
		state |= uint64(min(e.Until-e.LastSeen, restMask)) << restShift
	}
	return state
}

func unpack(state uint64) Entry {
	e := Entry{
		LastSeen: uint32(state >> seenShift), Region: uint8(state >> regionShift & regionMask),
		Renewals: uint8(state >> renewShift & renewMask), Standing: standingIn(state),
	}
	if rest := uint32(state >> restShift & restMask); rest != 0 {
		e.Until = e.LastSeen + rest
	}
	return e
}

func standingIn(state uint64) Standing { return Standing(state >> standingShift & standingMask) }

// ConvertBuckets makes entries of the first layout, which nobody else reads or writes,
// those of this one. It had an epoch of four bits, and above it one that was set for
// units met in two different seconds, of which at most six in a bucket were: none of
// them loses what it had.
func ConvertBuckets(buckets []Bucket) {
	for i := range buckets {
		for j := range buckets[i].ways {
			state := &buckets[i].ways[j].state
			state.Store(state.Load() &^ (1 << standingShift)) // leaves Newcomer or Qualified
		}
	}
}
