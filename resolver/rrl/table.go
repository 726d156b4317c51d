package rrl

import (
	"encoding/binary"
	"math/bits"
	"sync/atomic"
)

// Table holds the counts. Make one with [NewTable].
type Table struct {
	near  []line // addresses, and the network next to each
	shift uint8  // of a hash, to its line
	// far holds the wider networks. There are fewer of them, and what is small stays
	// in the cache of a core.
	far  [farLines]line
	seed uint64
	// busyUntil is when all networks will have been within their limits for a while.
	busyUntil atomic.Uint64
}

// line is one cache line of counts, 16 bits of tag before 48 bits of time: when
// what was taken will have been paid back at the rate (the generic cell rate
// algorithm), modulo 2^48 units, 194 days. An empty count is one whose time has
// come, so counts need no sweep. The first two places of a line are for the wider of
// its networks, whose times are never far ahead and would otherwise be replaced
// first.
type line [8]atomic.Uint64

const (
	lineSize  = 64 // octets
	farLines  = 1 << 11
	farShift  = 64 - 11
	networks  = 2 // places for the wider networks
	timeBits  = 48
	timeMask  = 1<<timeBits - 1
	mixFactor = 0x9e3779b97f4a7c15
)

// sample is how many responses stand behind one that is written to the count of a
// network: writes that other cores must see are what counting costs.
const sample = 8

// busyFor is how long a network over its limit keeps the table busy.
const busyFor = 4 * second

// NewTable returns a table with room for addresses of the given size in octets,
// rounded down to a power of two and at least 4 KiB. seed spoils guessing which
// addresses share a count, and which responses are sampled.
func NewTable(octets int, seed uint64) *Table {
	n := bits.Len(uint(max(octets/lineSize, 64))) - 1
	return &Table{near: make([]line, 1<<n), shift: uint8(64 - n), seed: seed}
}

// take4 counts for a /32, its /24 and its /16.
func (t *Table) take4(a [4]byte, class Class, l *limit, now uint64, sampled bool) bool {
	u := uint64(binary.BigEndian.Uint32(a[:]))
	kind := uint64(class) << 60
	h := mix(kind|1<<56|u>>8, t.seed)
	in := &t.near[h>>t.shift]
	if !in.takeAddress(mix(h, u), l.cost, l.wait, now, true) {
		return false
	}
	if !sampled && !t.busy(now) {
		return true
	}
	far := mix(kind|2<<56|u>>16, t.seed)
	ok := in.takeNetwork(h, l.mid4, l.wait, now, sampled) &&
		t.far[far>>farShift].takeNetwork(far, l.coarse4, l.wait, now, sampled)
	return t.note(ok, now)
}

// take6 counts for a /128, its /56, its /48 and its /32.
func (t *Table) take6(a [16]byte, class Class, l *limit, now uint64, sampled bool) bool {
	hi, lo := binary.BigEndian.Uint64(a[:]), binary.BigEndian.Uint64(a[8:])
	seed := t.seed + uint64(class)<<1
	h := mix(hi>>8, seed)
	in := &t.near[h>>t.shift]
	if !in.takeAddress(mix(hi^h, lo), l.cost, l.wait, now, true) {
		return false
	}
	if !sampled && !t.busy(now) {
		return true
	}
	far := mix(hi>>32, seed+1)
	wide := &t.far[far>>farShift]
	ok := in.takeNetwork(h, l.mid6, l.wait, now, sampled) &&
		wide.takeAddress(mix(far, hi>>16), l.site6, l.wait, now, sampled) &&
		wide.takeNetwork(far, l.coarse6, l.wait, now, sampled)
	return t.note(ok, now)
}

// busy reports whether some network has lately been over its limit. Only then is
// every response held against those of its networks; else the sampled ones are
// enough to see one go over.
func (t *Table) busy(now uint64) bool { return (t.busyUntil.Load()-now)&timeMask < 2*busyFor }

// note remembers that a network was over its limit.
func (t *Table) note(ok bool, now uint64) bool {
	if !ok {
		if until := now + busyFor; t.busyUntil.Load() != until {
			t.busyUntil.Store(until)
		}
	}
	return ok
}

// mix spreads a key; its upper bits choose a line and the lower ones are the tag.
func mix(key, seed uint64) uint64 {
	hi, lo := bits.Mul64(key^seed, mixFactor)
	hi, lo = bits.Mul64(hi^lo, seed+mixFactor)
	return hi ^ lo
}

// takeAddress and takeNetwork count cost, if count is set, in the place of a key's
// tag, and report whether that keeps within wait. A count that another goroutine
// makes at the same moment may be lost: limits are approximate.
func (n *line) takeAddress(key, cost, wait, now uint64, count bool) bool {
	tag := key & (1<<(64-timeBits) - 1)
	for i := networks; i < len(n); i++ {
		if v := n[i].Load(); v>>timeBits == tag {
			return n.charge(i, v, tag, cost, wait, now, count)
		}
	}
	if count {
		n.begin(n.emptiest(networks, len(n), wait, now), tag, cost, now)
	}
	return true
}

func (n *line) takeNetwork(key, cost, wait, now uint64, count bool) bool {
	tag := key & (1<<(64-timeBits) - 1)
	for i := range networks {
		if v := n[i].Load(); v>>timeBits == tag {
			return n.charge(i, v, tag, cost, wait, now, count)
		}
	}
	if count {
		n.begin(n.emptiest(0, networks, wait, now), tag, cost, now)
	}
	return true
}

// begin gives place i to a key that has cost so far.
func (n *line) begin(i int, tag, cost, now uint64) { n[i].Store(tag<<timeBits | (now+cost)&timeMask) }

// charge adds cost to the count v at place i.
func (n *line) charge(i int, v, tag, cost, wait, now uint64, count bool) bool {
	ahead := remaining(v, now, wait)
	if ahead+cost > wait {
		return false
	}
	if count {
		n[i].Store(tag<<timeBits | (now+ahead+cost)&timeMask)
	}
	return true
}

// emptiest returns the place from low to high whose count is nearest to zero.
func (n *line) emptiest(low, high int, wait, now uint64) int {
	best, least := low, uint64(1<<63)
	for i := low; i < high; i++ {
		if d := remaining(n[i].Load(), now, wait); d < least {
			best, least = i, d
		}
	}
	return best
}

// remaining returns how far a count is ahead of now; 0 if its time has come, if it is
// of another time, and for a place without one.
func remaining(v, now, wait uint64) uint64 {
	d := (v - now) & timeMask
	if d > wait+slack || v == 0 {
		return 0
	}
	return d
}
