package decide

import (
	"math/bits"
	"runtime"
	"sync/atomic"
)

// Holds is the activity table: which replica each client unit was last given,
// when, and whether it is held there. It is what keeps a client on its replica
// through a voluntary change.
//
//	buckets: [ lock | way 0 | way 1 | ... | way 6 ]   two cache lines each
//	way:     key   = 40 bits of the unit's hash, 24 bits of the registry's number
//	         state = last seen | rest of the hold | region | renewals | protected | epoch
//
// Built once at start and never resized: memory is bounded by its size, whatever
// is asked (see [NewHolds]). A unit lives in one bucket, two cache lines.
//
// Meeting a unit that is there takes no lock: its state is one word, replaced by
// compare-and-swap, and not at all when it was met in the same second already.
// Giving a way to another unit takes the bucket's spin lock; the way's key is 0
// meanwhile and its epoch changes, so that nobody takes the new unit's state for
// the old one's.
//
// A unit that is met in two different seconds is protected: only its own silence
// frees its way. Units met once compete for the ways that are left, of which each
// bucket always keeps one. So a flood of units that are met once churns through
// one way a bucket and evicts nobody who asks repeatedly: what 2Q caches do with
// their two queues, without the lists.
//
// All methods are safe for concurrent use.
type Holds struct {
	buckets []Bucket
	mask    uint64
}

const ways = 7

// never is the version of no free bucket.
const never = 1

// Bucket is a part of a table, for whoever provides its memory: [BucketSize] octets
// without pointers, of which all zero is empty. It may lie outside the heap, be
// written on by a process that is killed at any instant, and be read by the next
// one: no state between two writes of it says anything false. Only its lock means
// nothing then, so that a table is read from such memory and not gone on with.
type Bucket struct {
	lock atomic.Uint32
	_    uint32
	ways [ways]way
	_    uint64
}

// way is one entry. key 0 is empty, or being given to another unit.
type way struct{ key, state atomic.Uint64 }

// maxProtected leaves one way of a bucket to newcomers.
const maxProtected = ways - 1

// Keep is how long in seconds after it was last seen a unit may still matter: the
// longest idle time a policy can have. Younger protected entries are not evicted.
const Keep = 3600

// Key names a client unit of one registry. The zero Key is none.
type Key uint64

// registryBits is the part of a Key that holds the registry's number.
const registryBits = 24

// MaxRegistry is the highest registry number a Key can hold.
const MaxRegistry = 1<<registryBits - 1

// NewKey makes the key of a unit, given as two words that tell units apart (an
// address prefix, or a site), for a registry with a number up to [MaxRegistry].
// seed keeps strangers from choosing collisions.
func NewKey(seed uint64, registry uint32, hi, lo uint64) Key {
	a, b := bits.Mul64(hi^seed, 0x9e3779b97f4a7c15)
	c, d := bits.Mul64(lo^a^b, 0xd6e8feb86659fd93^seed)
	return Key((c^d)<<registryBits | uint64(registry)&MaxRegistry | 1<<63)
}

// Registry returns the registry's number in k.
func (k Key) Registry() uint32 { return uint32(k & MaxRegistry) }

// WithRegistry returns the key of the same unit for a registry that has another
// number now.
func (k Key) WithRegistry(number uint32) Key {
	return k&^MaxRegistry | Key(number)&MaxRegistry
}

// NewHolds returns a table with room for at least n units: 16 octets each, and an
// eighth more for locks, rounded up to a power of two of buckets.
func NewHolds(n int) *Holds { return HoldsIn(make([]Bucket, Buckets(n))) }

// BucketSize is the size of a Bucket in octets: two cache lines.
const BucketSize = 128

// Buckets returns how many buckets a table with room for at least n units has.
func Buckets(n int) int { return 1 << bits.Len(uint(max(n, ways)/ways)) }

// HoldsIn returns the table that lies in buckets, a power of two of them.
func HoldsIn(buckets []Bucket) *Holds {
	return &Holds{buckets: buckets, mask: uint64(len(buckets) - 1)}
}

// Bytes returns the size of the table.
func (h *Holds) Bytes() int { return len(h.buckets) * BucketSize }

// Cap returns how many units the table has room for.
func (h *Holds) Cap() int { return len(h.buckets) * ways }

// Entry is the state of one unit. Times are Unix seconds.
type Entry struct {
	LastSeen uint32
	// Until is the end of the hold, 0 without one.
	Until uint32
	// Region is the replica given last, by its stable number.
	Region uint8
	// Renewals counts the periods of the hold, from 1.
	Renewals uint8
	// Protected is set for a unit that was met in two different seconds.
	Protected bool
}

// The layout of way.state.
const (
	seenShift   = 32
	restShift   = 15 // seconds from last seen to the end of the hold
	restMask    = 1<<17 - 1
	regionShift = 9
	regionMask  = 1<<6 - 1
	renewShift  = 5
	renewMask   = 1<<4 - 1
	protectBit  = 1 << 4
	epochMask   = 1<<4 - 1 // of the way, not of the entry
)

func (e Entry) pack() uint64 {
	state := uint64(e.LastSeen)<<seenShift | uint64(e.Region&regionMask)<<regionShift | uint64(min(e.Renewals, renewMask))<<renewShift
	if e.Until > e.LastSeen {
		state |= uint64(min(e.Until-e.LastSeen, restMask)) << restShift
	}
	if e.Protected {
		state |= protectBit
	}
	return state
}

func unpack(state uint64) Entry {
	e := Entry{
		LastSeen: uint32(state >> seenShift), Region: uint8(state >> regionShift & regionMask),
		Renewals: uint8(state >> renewShift & renewMask), Protected: state&protectBit != 0,
	}
	if rest := uint32(state >> restShift & restMask); rest != 0 {
		e.Until = e.LastSeen + rest
	}
	return e
}

// bucketOf spreads keys by a hash of the whole key: the registry's number is in
// its lower bits.
func (h *Holds) bucketOf(k Key) *Bucket {
	hi, lo := bits.Mul64(uint64(k), 0xa0761d6478bd642f)
	return &h.buckets[(hi^lo)&h.mask]
}

// acquire takes the lock of a bucket, which is even while it is free and counts who
// had it. It is held for tens of nanoseconds, so spinning beats sleeping; yielding is
// for the case that its holder was descheduled.
func (b *Bucket) acquire() (version uint32) {
	for spin := 0; ; spin++ {
		version = b.lock.Load()
		if version&1 == 0 && b.lock.CompareAndSwap(version, version+1) {
			return version
		}
		if spin > 64 {
			runtime.Gosched()
		}
	}
}

func (b *Bucket) release(version uint32) { b.lock.Store(version + 2) }

// find returns the way of k and its state, or nil. The state belongs to k: had the
// way been given away between the two loads of its key, they would differ.
func (b *Bucket) find(k Key) (w *way, state uint64) {
	for i := range b.ways {
		w = &b.ways[i]
		if w.key.Load() == uint64(k) {
			state = w.state.Load()
			if w.key.Load() == uint64(k) {
				return w, state
			}
		}
	}
	return nil, 0
}

// insert gives a way to a unit that is not there, if one may be taken. missed is
// the version of the bucket at which the unit was not there.
func (b *Bucket) insert(k Key, e Entry, missed uint32) {
	version := b.acquire()
	if version != missed {
		if w, _ := b.find(k); w != nil {
			b.release(version)
			return // another worker was first
		}
	}
	if w := b.victim(e.LastSeen); w != nil {
		e.Protected = e.Protected && b.mayProtect() // loaded from a larger table, maybe
		w.key.Store(0)
		w.state.Store(e.pack() | (w.state.Load()+1)&epochMask)
		w.key.Store(uint64(k))
	}
	b.release(version)
}

// victim returns the way that a new unit may take at now, or nil when none may be
// taken: an empty one, else the longest silent of those that no longer matter,
// else the longest silent of those met once.
func (b *Bucket) victim(now uint32) *way {
	var best *way
	oldest := uint64(1) << 33
	for i := range b.ways {
		w := &b.ways[i]
		if w.key.Load() == 0 {
			return w
		}
		state := w.state.Load()
		rank := state >> seenShift
		rest := state >> restShift & restMask
		switch {
		case uint64(now) > rank+max(Keep, rest): // stale: before all that matter
		case state&protectBit != 0:
			continue
		default:
			rank |= 1 << 32
		}
		if rank < oldest {
			best, oldest = w, rank
		}
	}
	return best
}

// mayProtect reports whether another way of b may become protected.
func (b *Bucket) mayProtect() bool {
	n := 0
	for i := range b.ways {
		if b.ways[i].key.Load() != 0 && b.ways[i].state.Load()&protectBit != 0 {
			n++
		}
	}
	return n < maxProtected
}

// Get returns what is known of a unit.
func (h *Holds) Get(k Key) (Entry, bool) {
	w, state := h.bucketOf(k).find(k)
	return unpack(state), w != nil
}

// Put stores what is known of a unit that is not there yet, as loading a saved
// table does.
func (h *Holds) Put(k Key, e Entry) { h.bucketOf(k).insert(k, e, never) }

// Each calls f for every unit, while others go on using the table.
func (h *Holds) Each(f func(Key, Entry)) {
	for i := range h.buckets {
		for j := range h.buckets[i].ways {
			w := &h.buckets[i].ways[j]
			key := w.key.Load()
			state := w.state.Load()
			if key != 0 && w.key.Load() == key {
				f(Key(key), unpack(state))
			}
		}
	}
}

// Warm reads the memory that [Holds.Serve] will need for these units, so that it
// is in the processor's caches then: the reads do not wait for each other. The zero
// Key is passed over.
func (h *Holds) Warm(keys []Key) {
	for _, k := range keys {
		if k != 0 {
			b := h.bucketOf(k)
			b.ways[0].key.Load()
			b.ways[ways-1].key.Load() // the bucket's other line
		}
	}
}
