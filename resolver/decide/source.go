package decide

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"sync/atomic"
)

// sources counts the units that each source has brought into a table and keeps there:
// a resolver that sends client subnets can name any number, and without a bound one
// that lies would fill the table alone. A source is the /24 or /48 of the address that
// asked. The sources that hash to one place share their count, which is why what is
// counted is far below a share for all but a few.
//
// Counted is a unit that is given a way, and again when it is met for the first time in
// a later [period]. The count of the running period and what remains of the one before
// are together what a source has in the table, or had until an hour ago. Only giving a
// way asks for it: who is in the table stays, so that nobody who forges the address of
// a busy resolver can drive out the clients behind it. (The newcomers behind it he can
// keep out.)
//
// Memory is fixed, and there is no lock. A count may be a little too low when many
// workers count at once.
type sources [1 << sourceBits]atomic.Uint64

const sourceBits = 12

// The layout of a place: the number of a period, and the counts of the one before and
// of this one.
const (
	periodShift    = 12 // a period is 4096 seconds, a little more than [Keep]
	period         = 1 << periodShift
	numberShift    = 40
	beforeShift    = 20
	maxSourceCount = 1<<20 - 1
)

// sourceOf returns the number of the source that an address belongs to; 0 for none. The
// machine's own addresses are none: nobody else can send from them, and a forwarder
// there asks for everybody.
func sourceOf(a netip.Addr) uint64 {
	switch a = a.Unmap(); {
	case a.IsLoopback():
		return 0
	case a.Is4():
		b := a.As4()
		return 1<<48 | uint64(binary.BigEndian.Uint32(b[:])>>8)
	case a.Is6():
		b := a.As16()
		return 1<<49 | binary.BigEndian.Uint64(b[:])>>16
	}
	return 0
}

func (t *sources) place(source uint64) *atomic.Uint64 {
	hi, lo := bits.Mul64(source, 0x9e3779b97f4a7c15)
	return &t[(hi^lo)>>(64-sourceBits)]
}

// counted returns the counts of a place as of now.
func counted(state uint64, now uint32) (before, current uint64) {
	before, current = state>>beforeShift&maxSourceCount, state&maxSourceCount
	switch number := uint64(now >> periodShift); {
	case number <= state>>numberShift: // or the clock was set back
		return before, current
	case number == state>>numberShift+1:
		return current, 0
	}
	return 0, 0
}

// room reports whether a source may bring in another unit.
func (t *sources) room(source uint64, now, share uint32) bool {
	if source == 0 {
		return true
	}
	before, current := counted(t.place(source).Load(), now)
	remains := period - uint64(now%period)
	return current+before*remains>>periodShift < uint64(share)
}

// meet charges the source of a unit that is met for the first time in a period: it
// keeps its way for longer.
func (t *sources) meet(last uint32, s *Situation, now uint32) {
	if last>>periodShift != now>>periodShift {
		t.charge(sourceOf(s.Asker), now)
	}
}

// charge counts a unit of a source.
func (t *sources) charge(source uint64, now uint32) {
	if source == 0 {
		return
	}
	place := t.place(source)
	for range 4 { // who always loses here is not alone, and the others count
		state := place.Load()
		before, current := counted(state, now)
		number := max(uint64(now>>periodShift), state>>numberShift)
		next := number<<numberShift | before<<beforeShift | min(current+1, maxSourceCount)
		if place.CompareAndSwap(state, next) {
			return
		}
	}
}
