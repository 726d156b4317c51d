package decide

import "sync/atomic"

// historySize is how many changes of one registry are remembered. Recovery holds
// and grace periods space voluntary changes; when more than this come within an
// idle time, the oldest memory stands for all before it, and clients are held
// rather than moved.
const historySize = 8

// History remembers the last changes of the masks of one registry, for the rare
// query that has to know when the answer of its client changed. One writer at a
// time, any number of readers, no lock: readers retry while a write is under way.
// The zero value is a registry that never changed.
type History struct {
	version  atomic.Uint32 // odd while written
	count    atomic.Uint32 // changes ever noted
	lastDown atomic.Uint32 // when a replica last went down, Unix seconds
	ring     [historySize]noted
}

type noted struct {
	at         atomic.Uint32
	routed, up atomic.Uint64
}

// Change is the masks of a registry from a moment on.
type Change struct {
	At    uint32 // Unix seconds
	Masks Masks
}

// Note remembers that the masks were these from at on. died says that a replica
// went down with it.
func (h *History) Note(c Change, died bool) {
	h.version.Add(1)
	n := h.count.Load()
	slot := &h.ring[n%historySize]
	slot.at.Store(c.At)
	slot.routed.Store(uint64(c.Masks.Routed))
	slot.up.Store(uint64(c.Masks.Up))
	h.count.Store(n + 1)
	if died {
		h.lastDown.Store(c.At)
	}
	h.version.Add(1)
}

// Since calls f for the changes at or after t, oldest first, until f returns
// false. complete is false when older changes at or after t may have been
// forgotten.
func (h *History) Since(t uint32, f func(Change) bool) (complete bool) {
	changes, n, total := h.read()
	complete = total <= historySize || changes[0].At < t
	for _, c := range changes[:n] {
		if c.At >= t && !f(c) {
			break
		}
	}
	return complete
}

// read copies the ring, oldest first.
func (h *History) read() (changes [historySize]Change, n int, total uint32) {
	for {
		version := h.version.Load()
		total = h.count.Load()
		n = int(min(total, historySize))
		for i := range n {
			slot := &h.ring[(total-uint32(n)+uint32(i))%historySize]
			changes[i] = Change{slot.at.Load(), Masks{Mask(slot.routed.Load()), Mask(slot.up.Load())}}
		}
		if version&1 == 0 && h.version.Load() == version {
			return changes, n, total
		}
	}
}

// All returns the remembered changes, oldest first, and when a replica last went
// down.
func (h *History) All() ([]Change, uint32) {
	changes, n, _ := h.read()
	return append([]Change(nil), changes[:n]...), h.lastDown.Load()
}
