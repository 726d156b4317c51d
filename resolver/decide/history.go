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
	version atomic.Uint32 // odd while written
	count   atomic.Uint32 // changes ever noted
	ring    [historySize]noted
	// downs is when each replica last went down, Unix seconds, by region number.
	// Deaths are kept apart from the ring: later changes must not push one out, or a
	// client would be held on a replica that died under it.
	downs [MaxRegions]atomic.Uint32
}

type noted struct {
	at                 atomic.Uint64 // and freeBit
	routed, up, resort atomic.Uint64
}

// freeBit stands beside the moment of a change that is free.
const freeBit = 1 << 32

// Change is the masks of a registry from a moment on.
type Change struct {
	At    uint32 // Unix seconds
	Masks Masks
	// Free is set for a change that is no reason to hold a client on what it had: the
	// end of an outage of all replicas brings every client back to where it was.
	Free bool
}

// Note remembers that the masks were these from at on. died says that a replica
// went down with it.
func (h *History) Note(c Change, died bool) {
	h.version.Add(1)
	n := h.count.Load()
	was := ^Mask(0)
	if n > 0 {
		was = Mask(h.ring[(n-1)%historySize].up.Load())
	}
	slot := &h.ring[n%historySize]
	at := uint64(c.At)
	if c.Free {
		at |= freeBit
	}
	slot.at.Store(at)
	slot.routed.Store(uint64(c.Masks.Routed))
	slot.up.Store(uint64(c.Masks.Up))
	if slot.resort.Load() != uint64(c.Masks.Resort) { // most have none, and a store costs more
		slot.resort.Store(uint64(c.Masks.Resort))
	}
	h.count.Store(n + 1)
	if died {
		h.stamp(was&^c.Masks.Up, c)
	}
	h.version.Add(1)
}

// stamp notes when replicas went down. Which did is known by the change before;
// where that does not say, all that are down now count.
func (h *History) stamp(lost Mask, c Change) {
	if lost == 0 {
		lost = ^c.Masks.Up
	}
	for ; lost != 0; lost &= lost - 1 {
		h.downs[lowest(lost)].Store(c.At)
	}
}

// Down returns when a replica last went down, in Unix seconds; 0 if it never did.
func (h *History) Down(region uint8) uint32 { return h.downs[region].Load() }

// SetDown replaces what [History.Down] returns: a death turns out to be part of an
// outage of all replicas, or not to be after all. It must not run at the same time
// as Note.
func (h *History) SetDown(region uint8, at uint32) { h.downs[region].Store(at) }

// SetFree makes the changes from one second to another no reason to hold a client. It
// must not run at the same time as Note.
func (h *History) SetFree(from, to uint32) {
	h.version.Add(1)
	for i := range h.ring {
		if at := h.ring[i].at.Load(); uint32(at) >= from && uint32(at) <= to {
			h.ring[i].at.Store(at | freeBit)
		}
	}
	h.version.Add(1)
}

// Carry makes h, which nobody reads yet, what from is in a configuration with other
// region numbers: local gives the new number of each old one, [MaxRegions] or more
// for a region that is gone. Unlike noting the changes again it keeps deaths, and
// what is known to be forgotten. It must not run at the same time as from.Note.
func (h *History) Carry(from *History, local *[MaxRegions]uint8) {
	if from.count.Load() == 0 {
		return // most registries never changed: their history is not even touched
	}
	for i := range from.ring {
		h.ring[i].at.Store(from.ring[i].at.Load())
		h.ring[i].resort.Store(uint64(renumber(Mask(from.ring[i].resort.Load()), local)))
		h.ring[i].routed.Store(uint64(renumber(Mask(from.ring[i].routed.Load()), local)))
		h.ring[i].up.Store(uint64(renumber(Mask(from.ring[i].up.Load()), local)))
	}
	for i, to := range local {
		if to != None {
			h.downs[to].Store(from.downs[i].Load())
		}
	}
	h.count.Store(from.count.Load())
}

func renumber(m Mask, local *[MaxRegions]uint8) (out Mask) {
	for ; m != 0; m &= m - 1 {
		if to := local[lowest(m)]; to != None {
			out = out.With(to, true)
		}
	}
	return out
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
			at := slot.at.Load()
			changes[i] = Change{
				At: uint32(at), Free: at&freeBit != 0,
				Masks: Masks{Mask(slot.routed.Load()), Mask(slot.up.Load()), Mask(slot.resort.Load())},
			}
		}
		if version&1 == 0 && h.version.Load() == version {
			return changes, n, total
		}
	}
}

// All returns the remembered changes, oldest first, and when a replica last went
// down.
func (h *History) All() (changes []Change, lastDown uint32) {
	all, n, _ := h.read()
	for i := range h.downs {
		lastDown = max(lastDown, h.downs[i].Load())
	}
	return append([]Change(nil), all[:n]...), lastDown
}
