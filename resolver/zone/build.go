package zone

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"portolan.dev/resolver/wire"
)

// SOA is the start of authority of a zone (RFC 1035 section 3.3.13); names in
// folded wire form, times in seconds. The serial is not here: it is written
// into every answer.
type SOA struct {
	MName, RName                    []byte
	Refresh, Retry, Expire, Minimum uint32
	TTL                             uint32
}

// appendNumbers appends the fixed part of the RDATA with a serial of 0.
func (s *SOA) appendNumbers(dst []byte) []byte {
	for _, v := range []uint32{0, s.Refresh, s.Retry, s.Expire, s.Minimum} {
		dst = binary.BigEndian.AppendUint32(dst, v)
	}
	return dst
}

func (s *SOA) rdata() []byte {
	return s.appendNumbers(append(bytes.Clone(s.MName), s.RName...))
}

// Builder collects zones and names into a [Table]. Not safe for concurrent use.
// Memory while building is that of the table plus its growth: no map beside it.
type Builder struct {
	t      Table
	packer wire.Packer
	padded []byte // scratch of pad
}

// NewBuilder returns an empty Builder. seed keys the hash of names and should
// be random per process.
func NewBuilder(seed uint64) *Builder {
	return &Builder{t: Table{seed: seed, slots: make([]slot, 64)}}
}

// ErrDefined reports a name that is defined twice.
var ErrDefined = errors.New("the name is defined already")

// ErrElsewhere reports a name that belongs to another zone of the table.
var ErrElsewhere = errors.New("the name is not one of this zone")

// Grow makes room for that many more names, so that the table need not be laid out
// anew as it grows.
func (b *Builder) Grow(names int) {
	b.t.nodes = slices.Grow(b.t.nodes, names)
	if want := (len(b.t.nodes) + names) * 3 / 2; want >= len(b.t.slots) {
		b.rehash(1 << bits.Len(uint(want)))
	}
}

// pad is [wire.Pad] in memory that the next call overwrites.
func (b *Builder) pad(name []byte) []byte {
	b.padded = append(append(b.padded[:0], name...), 0, 0, 0, 0, 0, 0, 0, 0)
	return b.padded
}

// AddZone defines a zone with its SOA record, the other RRsets at its apex, and
// the number by which [Zone.Number] speaks of it. Zones may lie below one
// another; all are added before the first name is defined, because a zone owns
// what is at and below its apex. It fails with [ErrDefined] when the apex is a
// name that exists.
func (b *Builder) AddZone(apex []byte, soa *SOA, rest ...Set) (int, error) {
	if _, ok := b.find(apex, wire.Pad(apex)); ok {
		return 0, fmt.Errorf("zone %s: %w", wire.AppendName(nil, apex), ErrDefined)
	}
	number := len(b.t.zones)
	b.t.zones = append(b.t.zones, Zone{Apex: bytes.Clone(apex), Number: number, negative: newNegative(apex, soa)})
	if err := b.insert(number, apex, wire.Pad(apex)); err != nil {
		return 0, err
	}
	sets := append([]Set{{Type: wire.TypeSOA, TTL: soa.TTL, Data: [][]byte{soa.rdata()}}}, rest...)
	return number, b.Define(number, apex, Static, 0, sets...)
}

// Define gives a name of a zone its kind and RRsets, and makes empty
// non-terminals of the names between it and the apex. A name is defined once
// ([ErrDefined]); the apex, defined by AddZone, may be given another kind by
// [Builder.Redefine]. It fails with [ErrElsewhere] for a name out of the zone, or
// in a zone below it.
func (b *Builder) Define(zone int, name []byte, kind Kind, ref uint32, sets ...Set) error {
	id, err := b.node(zone, name)
	if err != nil {
		return err
	}
	n := &b.t.nodes[id]
	if n.defined {
		return fmt.Errorf("%s: %w", wire.AppendName(nil, name), ErrDefined)
	}
	n.defined, n.Kind, n.Ref = true, kind, ref
	n.first, n.sets = uint32(len(b.t.sets)), uint16(len(sets))
	if under := below(sets); under != Nothing {
		n.Below = under
	}
	for i := range sets {
		if err := b.pack(name, &sets[i]); err != nil {
			return err
		}
	}
	return nil
}

// below returns what the answers of a name mean for the names below it.
func below(sets []Set) Below {
	for i := range sets {
		switch {
		case sets[i].End == Referral && sets[i].Type == 0:
			return Delegation
		case sets[i].Type == wire.TypeDNAME && len(sets[i].Data) > 0: // not a CNAME's that leads to one
			return Redirection
		}
	}
	return Nothing
}

// spread makes a wildcard known to the name above it, also one that is an empty
// non-terminal (RFC 4592 section 4.9).
func (b *Builder) spread(name []byte) {
	if len(name) < 3 || name[0] != 1 || name[1] != '*' {
		return
	}
	if id, ok := b.find(name[2:], wire.Pad(name[2:])); ok {
		b.t.nodes[id].Below = Wildcard
	}
}

// Exists reports whether a name has been defined or is an empty non-terminal.
func (b *Builder) Exists(name []byte) bool {
	_, ok := b.find(name, wire.Pad(name))
	return ok
}

// Redefine makes a defined static name a Global one, keeping its RRsets: a
// registry at the apex of its zone.
func (b *Builder) Redefine(name []byte, kind Kind, ref uint32) error {
	n := b.existing(name)
	if n == nil || n.Kind != Static {
		return fmt.Errorf("%s: %w", wire.AppendName(nil, name), ErrDefined)
	}
	n.Kind, n.Ref = kind, ref
	return nil
}

// Defined reports whether a name has been defined; an empty non-terminal has not.
func (b *Builder) Defined(name []byte) bool {
	return b.existing(name) != nil
}

// existing returns the node of a defined name, or nil.
func (b *Builder) existing(name []byte) *Node {
	id, ok := b.find(name, wire.Pad(name))
	if !ok || !b.t.nodes[id].defined {
		return nil
	}
	return &b.t.nodes[id]
}

// Table ends the building and returns the table; the Builder is empty after it.
// On error, which only a table that has grown too large gives, there is none.
func (b *Builder) Table() (*Table, error) {
	if err := b.joinZones(); err != nil {
		return nil, err
	}
	t := b.t
	b.t = Table{seed: t.seed, slots: make([]slot, 64)}
	t.nodes = trim(t.nodes)
	t.names = trim(t.names)
	t.sets = trim(t.sets)
	t.bodies = trim(t.bodies)
	return &t, nil
}

// joinZones makes empty non-terminals of the names between the apex of a zone and
// that of the zone it lies in. Without them the names above a zone would be
// NXDOMAIN, from which a resolver concludes that the zone is not there either
// (RFC 8020 section 2).
func (b *Builder) joinZones() error {
	for i := range b.t.zones {
		apex := b.t.zones[i].Apex
		if len(apex) == 1 {
			continue
		}
		up := apex[int(apex[0])+1:]
		if zone, missing, ok := b.closest(up); ok && !b.cut(up[missing:]) {
			if err := b.fill(zone, up, missing); err != nil {
				return err
			}
		}
	}
	return nil
}

// cut reports whether the names below an existing one are another server's.
func (b *Builder) cut(name []byte) bool {
	id, ok := b.find(name, wire.Pad(name))
	return ok && b.t.nodes[id].Below >= Delegation
}

// trim returns s without the spare room that growing left behind it, if that is
// worth a copy.
func trim[T any](s []T) []T {
	if cap(s)-len(s) <= len(s)/32 {
		return s
	}
	return append(make([]T, 0, len(s)), s...)
}

// node returns the number of the node of name, making it and the empty
// non-terminals above it if need be.
func (b *Builder) node(zone int, name []byte) (uint32, error) {
	closest, missing, ok := b.closest(name)
	switch {
	case !ok:
		return 0, fmt.Errorf("%s: %w: it lies in no zone", wire.AppendName(nil, name), ErrElsewhere)
	case closest != zone:
		return 0, fmt.Errorf("%s: %w: it lies in zone %s", wire.AppendName(nil, name), ErrElsewhere,
			wire.AppendName(nil, b.t.zones[closest].Apex))
	}
	if err := b.fill(zone, name, missing); err != nil {
		return 0, err
	}
	id, _ := b.find(name, b.pad(name))
	return id, nil
}

// closest returns the zone that name belongs to, which is that of the longest
// suffix that exists, and how many octets stand in front of that suffix. All
// apexes exist, and so does every name between an apex and a name below it.
func (b *Builder) closest(name []byte) (zone, missing int, ok bool) {
	padded := b.pad(name)
	for off := 0; off < len(name); off += int(name[off]) + 1 {
		if id, ok := b.find(name[off:], padded[off:]); ok {
			return int(b.t.nodes[id].zone), off, true
		}
	}
	return 0, 0, false
}

// fill gives nodes to name and to its suffixes that begin in its first missing
// octets.
func (b *Builder) fill(zone int, name []byte, missing int) error {
	padded := b.pad(name)
	for off := 0; off < missing; off += int(name[off]) + 1 {
		if err := b.insert(zone, name[off:], padded[off:]); err != nil {
			return err
		}
	}
	for off := 0; off < missing; off += int(name[off]) + 1 {
		b.spread(name[off:])
	}
	return nil
}

// find returns the number of the node of name. padded is as [wire.Hash] wants it.
func (b *Builder) find(name, padded []byte) (id uint32, ok bool) {
	id = b.t.lookup(name, wire.Hash(padded, len(name), b.t.seed))
	return id - 1, id != 0
}

// insert gives a node to name, which has none.
func (b *Builder) insert(zone int, name, padded []byte) error {
	t := &b.t
	if len(t.nodes)*3 >= len(t.slots)*2 {
		b.rehash(2 * len(t.slots))
	}
	if uint64(len(t.names)+len(name)) > math.MaxUint32 || uint64(len(t.nodes)) >= math.MaxUint32-1 {
		return errors.New("more names than one server holds (4 GiB of names): split the zones over several servers")
	}
	hash := wire.Hash(padded, len(name), t.seed)
	t.longest = max(t.longest, len(name))
	t.nodes = append(t.nodes, Node{name: uint32(len(t.names)), nameLen: uint8(len(name)), zone: uint32(zone)})
	t.names = append(t.names, name...)
	t.slots[b.free(hash)] = slot{uint32(hash >> 32), uint32(len(t.nodes))}
	return nil
}

// free returns the first free slot for hash.
func (b *Builder) free(hash uint64) uint64 {
	mask := uint64(len(b.t.slots) - 1)
	i := hash & mask
	for b.t.slots[i].node != 0 {
		i = (i + 1) & mask
	}
	return i
}

// rehash puts all names into a table of that many slots, a power of two.
func (b *Builder) rehash(size int) {
	t := &b.t
	t.slots = make([]slot, size)
	padded := make([]byte, wire.MaxName+9)
	for i := range t.nodes {
		name := t.Name(&t.nodes[i])
		clear(padded)
		copy(padded, name)
		hash := wire.Hash(padded, len(name), t.seed)
		t.slots[b.free(hash)] = slot{uint32(hash >> 32), uint32(i + 1)}
	}
}
