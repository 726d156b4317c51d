package zone

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

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
	t Table
}

// NewBuilder returns an empty Builder. seed keys the hash of names and should
// be random per process.
func NewBuilder(seed uint64) *Builder {
	return &Builder{t: Table{seed: seed, slots: make([]slot, 64)}}
}

// ErrDefined reports a name that is defined twice.
var ErrDefined = errors.New("the name is defined already")

// AddZone defines a zone with its SOA record, the other RRsets at its apex, and
// the number by which [Zone.Number] speaks of it. It fails with [ErrDefined]
// when the apex is a name that exists.
func (b *Builder) AddZone(apex []byte, soa *SOA, rest ...Set) (int, error) {
	number := len(b.t.zones)
	b.t.zones = append(b.t.zones, Zone{Apex: bytes.Clone(apex), Number: number, negative: newNegative(apex, soa)})
	sets := append([]Set{{Type: wire.TypeSOA, TTL: soa.TTL, Data: [][]byte{soa.rdata()}}}, rest...)
	return number, b.Define(number, apex, Static, 0, sets...)
}

// Define gives a name of a zone its kind and RRsets, and makes empty
// non-terminals of the names between it and the apex. A name is defined once;
// the apex, defined by AddZone, may be given another kind and further RRsets by
// [Builder.Redefine].
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
	for i := range sets {
		if err := b.pack(name, &sets[i]); err != nil {
			return err
		}
	}
	return nil
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
	id := b.t.lookup(name, wire.Hash(wire.Pad(name), len(name), b.t.seed))
	if id == 0 || !b.t.nodes[id-1].defined {
		return nil
	}
	return &b.t.nodes[id-1]
}

// Table ends the building and returns the table; the Builder is empty after it.
func (b *Builder) Table() *Table {
	t := b.t
	b.t = Table{seed: t.seed, slots: make([]slot, 64)}
	t.nodes = trim(t.nodes)
	t.names = trim(t.names)
	t.sets = trim(t.sets)
	t.bodies = trim(t.bodies)
	return &t
}

// trim returns s without the spare room that growing left behind it.
func trim[T any](s []T) []T { return append(make([]T, 0, len(s)), s...) }

// node returns the number of the node of name, making it and the empty
// non-terminals above it if need be.
func (b *Builder) node(zone int, name []byte) (uint32, error) {
	apex := b.t.zones[zone].Apex
	if !bytes.HasSuffix(name, apex) || !onLabel(name, len(name)-len(apex)) {
		return 0, fmt.Errorf("%s is not in zone %s", wire.AppendName(nil, name), wire.AppendName(nil, apex))
	}
	id, fresh, err := b.insert(zone, name)
	if err != nil {
		return 0, err
	}
	for up := name; fresh && len(up) > len(apex); {
		up = up[int(up[0])+1:]
		if _, fresh, err = b.insert(zone, up); err != nil {
			return 0, err
		}
	}
	return id, nil
}

// insert finds name or gives it a node.
func (b *Builder) insert(zone int, name []byte) (id uint32, fresh bool, err error) {
	t := &b.t
	if len(t.nodes)*3 >= len(t.slots)*2 {
		b.grow()
	}
	hash := wire.Hash(wire.Pad(name), len(name), t.seed)
	if id := t.lookup(name, hash); id != 0 {
		return id - 1, false, nil
	}
	if len(t.names)+len(name) > math.MaxUint32 || len(t.nodes) >= math.MaxUint32-1 {
		return 0, false, errors.New("more names than one server holds (4 GiB of names): split the zones over several servers")
	}
	t.longest = max(t.longest, len(name))
	t.nodes = append(t.nodes, Node{name: uint32(len(t.names)), nameLen: uint8(len(name)), zone: uint32(zone)})
	t.names = append(t.names, name...)
	id = uint32(len(t.nodes) - 1)
	t.slots[b.free(hash)] = slot{uint32(hash >> 32), id + 1}
	return id, true, nil
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

func (b *Builder) grow() {
	t := &b.t
	t.slots = make([]slot, 2*len(t.slots))
	padded := make([]byte, wire.MaxName+9)
	for i := range t.nodes {
		name := t.Name(&t.nodes[i])
		clear(padded)
		copy(padded, name)
		hash := wire.Hash(padded, len(name), t.seed)
		t.slots[b.free(hash)] = slot{uint32(hash >> 32), uint32(i + 1)}
	}
}
