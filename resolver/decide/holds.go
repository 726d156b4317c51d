package decide

import (
	"math/bits"
	"sync/atomic"
)

// Holds is the activity table: which replica each client unit was last given,
// when, and whether it is held there. It is what keeps a client on its replica
// through a voluntary change.
//
//	buckets: [ lock | way 0 | way 1 | ... | way 6 ]   two cache lines each
//	way:     key   = 40 bits of the unit's hash, 24 bits of the registry's number
//	         state = last seen | rest of the hold | region | renewals | standing | epoch
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
// Anybody can forge the sources of queries, and so make units. What keeps them from
// driving out those of clients is the [Standing] that a unit earns by being met
// again, and what a newcomer may take: see Bucket.victim. A unit that qualified, and
// one whose hold is in force, is never evicted while it may matter. When a bucket has
// no way to give, the newcomer is refused: it gets what is nearest and is not
// remembered, which [Losses] counts. What the queries of one source can bring
// into the table is bounded: see sources.
//
// So everything in the table that asks is held as the rule of [Holds.Serve] says,
// also a unit that was met once, just before the change: a host whose push has just
// begun looks no different. Counts of held units are true therefore, and what a flood
// can add to them is what it can bring into the table.
//
// All methods are safe for concurrent use.
type Holds struct {
	buckets []Bucket
	mask    uint64

	longest atomic.Uint32 // idle time and hold of the policies met, where longer than Keep
	_       [64]byte      // what is written below is on other cache lines than what each query reads
	sources sources
	losses  [stripes]losses
}

// losses counts units that are not remembered; see [Losses]. Only newcomers write here,
// in as many places as there are stripes, by key: a flood on all cores does not meet in
// one.
type losses struct {
	evicted, full, source atomic.Uint64
	_                     [40]byte // the next stripe is on another cache line
}

const stripes = 16

const ways = 7

// Keep is how long in seconds after it was last seen a unit may still matter: the
// longest idle time a policy can have. Younger entries of units that qualified are
// not evicted, nor are they while a hold may still begin or last.
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

// bucketOf spreads keys by a hash of the whole key: the registry's number is in
// its lower bits.
func (h *Holds) bucketOf(k Key) *Bucket {
	hi, lo := bits.Mul64(uint64(k), 0xa0761d6478bd642f)
	return &h.buckets[(hi^lo)&h.mask]
}

// Get returns what is known of a unit.
func (h *Holds) Get(k Key) (Entry, bool) {
	w, state := h.bucketOf(k).find(k)
	return unpack(state), w != nil
}

// Put stores what is known of a unit that is not there yet, as loading a saved
// table does: in a free way, or in that of a unit that has a weaker claim, so that
// the order of loading does not decide who is remembered.
func (h *Holds) Put(k Key, e Entry) {
	b := h.bucketOf(k)
	version := b.acquire()
	defer b.release(version)
	if w, _ := b.find(k); w != nil {
		return
	}
	if w := b.weakest(e); w != nil {
		switch {
		case e.Standing == Qualified && !b.mayQualify(e.LastSeen, h.keep()):
			e.Standing = Returned // loaded from a larger table, maybe
		case e.Standing == Newcomer && e.Until > e.LastSeen:
			e.Standing = Returned // held by a version that did not note it
		}
		w.give(k, e)
	}
}

// insert gives a way to a unit that is not there, if one may be taken. missed is
// the version of the bucket at which the unit was not there.
func (h *Holds) insert(k Key, e Entry, missed uint32, s *Situation) {
	source := sourceOf(s.Asker)
	lost := &h.losses[k>>registryBits%stripes]
	if !h.sources.room(source, e.LastSeen, h.share()) {
		lost.source.Add(1)
		return
	}
	if span := s.Policy.Idle + s.Policy.Hold; span > h.keep() {
		h.longest.Store(span) // two that store at once differ by little, and the next one stores again
	}
	b := h.bucketOf(k)
	version := b.acquire()
	if version != missed {
		if w, _ := b.find(k); w != nil {
			b.release(version)
			return // another worker was first
		}
	}
	w, mattered := b.victim(e.LastSeen, h.keep(), s.Policy.Idle)
	if w != nil {
		w.give(k, e)
	}
	b.release(version)
	switch {
	case w == nil:
		lost.full.Add(1)
		return
	case mattered:
		lost.evicted.Add(1)
	}
	h.sources.charge(source, e.LastSeen)
}

// keep is how long a unit may matter after it was last seen, without a hold in force:
// a hold may begin with a change an idle time later.
func (h *Holds) keep() uint32 { return max(Keep, h.longest.Load()) }

// share is how many units one source can bring into the table in about an hour.
//
// An eighth: a resolver that serves the world sends from many prefixes, each with the
// clients of one area, and 28,000 client prefixes of one area that use the registries
// of one server within an hour are more than any are known to have. On the other side
// it takes eight sources that are not forged to fill a table.
func (h *Holds) share() uint32 { return min(uint32(max(h.Cap()/8, 1)), maxSourceCount) }

// Losses are how many units were not remembered although they may have mattered, since
// the table was made: they are given what is nearest, and may be moved by a change.
type Losses struct {
	// Evicted counts units that lost their way to a newcomer.
	Evicted uint64
	// Full counts newcomers whose bucket had no way to give.
	Full uint64
	// Source counts newcomers whose source had its share.
	Source uint64
}

// Losses adds up what was counted.
func (h *Holds) Losses() (l Losses) {
	for i := range h.losses {
		l.Evicted += h.losses[i].evicted.Load()
		l.Full += h.losses[i].full.Load()
		l.Source += h.losses[i].source.Load()
	}
	return l
}

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
