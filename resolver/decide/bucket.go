package decide

import (
	"runtime"
	"sync/atomic"
)

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

const (
	// openWays is how many ways of a bucket stay for newcomers.
	openWays = 2
	// maxQualified is how many units of a bucket may qualify.
	maxQualified = ways - openWays
)

// probation is how long in seconds a unit has to show that it asks again: two of the
// usual TTLs and more. Without it a flood of units that are met once would evict each
// newcomer before it can. With it most newcomers under such a flood compete for one way
// of their bucket, but a client that asks on gets another one sooner or later, and
// stays.
const probation = 128

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

// give makes w the way of another unit. The bucket's lock is held.
func (w *way) give(k Key, e Entry) {
	w.key.Store(0)
	w.state.Store(e.pack() | (w.state.Load()+1)&epochMask)
	w.key.Store(uint64(k))
}

// victim returns the way that a newcomer may take at now, or nil when there is none, and
// whether the unit that loses it may have mattered:
//
//   - an empty one; else
//   - of the units that no longer matter, seen longer than keep ago and with no hold in
//     force, that of the longest silent; else
//   - one of two open ways, those of the units with the least standing that are not held:
//     that of which the [probation] is over; until then the other one, and if there is no
//     other one, none.
//
// The other one changes hands with each query of a flood. So a client gets in at once,
// and stays if it comes back soon enough or finds the first one free.
//
// A unit that qualified, or is held, has its way until it no longer matters; and one that
// returned is safe from any number of units that are met once, unless its bucket is full
// of others like it. Held is a unit for another idle time after the end of its hold, too:
// if it asks then, and was active, the hold is renewed.
func (b *Bucket) victim(now, keep, idle uint32) (w *way, mattered bool) {
	stale, oldest, newest, returned := uint64(none), uint64(none), uint64(0), uint64(none)
	newcomers, returners := 0, 0
	for i := range b.ways {
		if b.ways[i].key.Load() == 0 {
			return &b.ways[i], false
		}
		state := b.ways[i].state.Load()
		seen, rest := state>>seenShift, state>>restShift&restMask
		numbered := seen<<3 | uint64(i)
		switch standing := standingIn(state); {
		case uint64(now) > seen+max(uint64(keep), rest):
			stale = min(stale, numbered)
		case standing == Newcomer:
			newcomers++
			oldest, newest = min(oldest, numbered), max(newest, numbered)
		case standing == Returned && (rest == 0 || seen+rest+uint64(idle) < uint64(now)):
			returners++
			returned = min(returned, numbered)
		}
	}
	if stale != none {
		return &b.ways[stale%8], false
	}
	numbered := contenders{oldest, newest, returned, newcomers, returners}.choose(uint64(now))
	if numbered == none {
		return nil, false
	}
	return &b.ways[numbered%8], true
}

// contenders are the ways of a bucket that a newcomer may get. Each is a number: when
// its unit was last seen and, in the lower three bits, the index of the way.
type contenders struct {
	oldest, newest       uint64 // of the newcomers; newest is 0 without any
	returned             uint64 // the longest silent of those that returned and are not held
	newcomers, returners int
}

// none is no way.
const none = 1<<64 - 1

// choose returns the number of the way to take, or none.
func (c contenders) choose(now uint64) (numbered uint64) {
	silent := func(numbered uint64) bool { return numbered != none && now > numbered>>3+probation }
	switch {
	case silent(c.oldest):
		return c.oldest
	case c.newcomers < openWays && silent(c.returned):
		return c.returned
	case c.newcomers > 1 || c.newcomers == 1 && c.returners > 0:
		return c.newest
	case c.newcomers == 0 && c.returners > 1:
		return c.returned
	}
	return none
}

// weakest returns the way that a loaded entry may take: an empty one, else that of the
// unit with the weakest claim, if the claim of e is better; else nil.
func (b *Bucket) weakest(e Entry) *way {
	var best *way
	least := e.claim()
	for i := range b.ways {
		w := &b.ways[i]
		if w.key.Load() == 0 {
			return w
		}
		if claim := unpack(w.state.Load()).claim(); claim < least {
			best, least = w, claim
		}
	}
	return best
}

// claim orders loaded entries: held ones last, then by standing, then by when they
// were seen.
func (e Entry) claim() uint64 {
	claim := uint64(e.Standing)<<32 | uint64(e.LastSeen)
	if e.Until > e.LastSeen {
		claim |= 1 << 40
	}
	return claim
}

// mayQualify reports whether another unit of b may qualify at now: fewer than
// maxQualified have that still matter. Two at once may both; a bucket whose ways are
// all taken so refuses newcomers until one falls silent.
func (b *Bucket) mayQualify(now, keep uint32) bool {
	n := 0
	for i := range b.ways {
		state := b.ways[i].state.Load()
		if b.ways[i].key.Load() != 0 && standingIn(state) >= Qualified && uint64(now) <= state>>seenShift+uint64(keep) {
			n++
		}
	}
	return n < maxQualified
}

// standing returns the standing of a unit of b that is met again at now, after e. held
// says that it is held with this answer.
//
// Three seconds tell clients from floods only by what they cost: whoever forges three
// queries for each unit qualifies too. That is why a unit that did so first keeps its
// way, and why some ways of a bucket stay for newcomers.
func (b *Bucket) standing(e Entry, now, keep uint32, held bool) Standing {
	switch again := now != e.LastSeen; {
	case again && now > e.LastSeen+keep && !held:
		return Newcomer // as if it had been evicted meanwhile
	case e.Standing == Newcomer && (again || held):
		return Returned
	case e.Standing == Returned && again && b.mayQualify(now, keep):
		return Qualified
	}
	return e.Standing
}
