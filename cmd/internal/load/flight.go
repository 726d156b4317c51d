package load

// slot is one query in flight.
type slot struct {
	due   int64  // when it was to be sent, in ns of the run; 0: answered or lost
	query uint32 // which query of the mix
	nonce uint32
}

// flight is the queries in flight on one socket: a ring by message ID. IDs are
// given in order, so that an ID comes back only after 65535 others and a late
// answer is not taken for that of a newer query.
type flight struct {
	slots  []slot // by ID
	next   uint64 // number of the next query; its ID is the lower half
	oldest uint64 // every query before this one is answered or lost
	flying int
}

func newFlight() *flight {
	return &flight{slots: make([]slot, 1<<16)}
}

// room is how many more queries may fly, of at most limit at once.
func (f *flight) room(limit int) int {
	free := len(f.slots) - int(f.next-f.oldest)
	return max(min(limit-f.flying, free), 0)
}

// launch takes the next ID for a query. There must be room.
func (f *flight) launch(s slot) uint16 {
	id := uint16(f.next)
	f.slots[id] = s
	f.next++
	f.flying++
	return id
}

// land frees the slot of an ID.
func (f *flight) land(id uint16) {
	f.slots[id].due = 0
	f.flying--
	f.skip()
}

// skip moves oldest past everything that has landed.
func (f *flight) skip() {
	for f.oldest < f.next && f.slots[uint16(f.oldest)].due == 0 {
		f.oldest++
	}
}

// expire gives up the queries that were due before the time and calls lost with
// each. Queries are in order of being due.
func (f *flight) expire(before int64, lost func(slot)) {
	for f.skip(); f.oldest < f.next; f.skip() {
		s := f.slots[uint16(f.oldest)]
		if s.due >= before {
			return
		}
		f.land(uint16(f.oldest))
		lost(s)
	}
}
