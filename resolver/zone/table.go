package zone

import (
	"bytes"
	"encoding/binary"

	"portolan.dev/resolver/wire"
)

// Kind says who answers for a name.
type Kind uint8

const (
	// Static names answer their RRsets; without any, they are empty
	// non-terminals.
	Static Kind = iota
	// Global names answer A, AAAA, CNAME and ANY by decision; Ref is the
	// registry. Other types are answered from their RRsets, if any.
	Global
	// Explain names answer TXT with the reasons of a decision; Ref is the
	// registry.
	Explain
	// Whoami names answer TXT with what is known of the asker.
	Whoami
)

// Below says what answers for the names below a node that do not exist.
type Below uint8

const (
	// Nothing does: NXDOMAIN.
	Nothing Below = iota
	// Wildcard means: the name * directly below does (RFC 4592 section 3.3).
	Wildcard
	// Delegation means: another server does, the node is a zone cut (RFC 1034
	// section 4.2.1).
	Delegation
	// Redirection means: the DNAME record of the node does (RFC 6672 section 2.2).
	Redirection
)

// Node is one owner name. Nodes are immutable once the Table is built.
type Node struct {
	// Ref is the number of the registry for Global and Explain.
	Ref uint32

	name    uint32 // where the folded name begins in Table.names
	zone    uint32
	first   uint32 // first RRset in Table.sets
	sets    uint16 // how many
	nameLen uint8
	Kind    Kind
	// Below is what answers for the names below that do not exist.
	Below   Below
	defined bool // false for an empty non-terminal that nothing else claims
}

// Zone is one zone: its apex and the negative answers below it.
type Zone struct {
	// Apex is the folded name of the zone in wire form.
	Apex []byte
	// Number is the position of the zone, in order of definition; serial numbers
	// are kept by it.
	Number   int
	negative negative
}

// Ending says how an answer goes on behind its packed records.
type Ending uint8

const (
	// Complete answers need nothing more.
	Complete Ending = iota
	// NoData answers end with the SOA record and NOERROR: a CNAME chain to a name
	// that has not the type.
	NoData
	// NoName answers end with the SOA record and NXDOMAIN: a CNAME chain to a name
	// that does not exist (RFC 6604 section 3).
	NoName
	// Referral answers are those of another server: without AA.
	Referral
	// Chase answers end with a CNAME, spelled out, whose target depends on the
	// query or on a decision.
	Chase
)

// RRset is one packed positive answer. Type 0 is that to all types without an
// RRset of their own.
type RRset struct {
	body      uint32 // where it begins in Table.bodies
	size      uint16 // octets of all sections
	core      uint16 // octets of what may not be left out
	answer    uint16 // records in the answer section
	authority uint16 // records in the authority section
	glue      uint16 // records in the additional section that may not be left out
	extra     uint16 // records in the additional section that may
	mark      uint16 // of the SOA serial in the body, 0: none; of the spelled target of a Chase
	Type      uint16
	End       Ending
}

// Target returns where in the answer the target of a [Chase] is spelled out.
func (s *RRset) Target() int { return int(s.mark) }

// Found is the outcome of [Table.Find].
type Found uint8

const (
	// Outside means: no zone of this server holds the name.
	Outside Found = iota
	// Hit means: the name exists.
	Hit
	// Miss means: the name is in a zone and does not exist: NXDOMAIN.
	Miss
)

// slot is one place of the open-addressed hash table. tag is the upper half of
// the hash, so that nearly every wrong candidate is passed over without
// touching its name; node is 1 + the number of the node, 0 when empty.
type slot struct {
	tag  uint32
	node uint32
}

// Table holds the names of all zones. It is immutable and safe for concurrent
// use; build one with a [Builder].
type Table struct {
	seed    uint64
	slots   []slot // a power of two, at most two thirds full
	nodes   []Node
	names   []byte
	sets    []RRset
	bodies  []byte
	zones   []Zone
	longest int // octets of the longest owner name
}

// Find looks up the name of q. On Hit node is that of the name, on Miss that of the
// closest encloser (RFC 4592 section 3.3.1); zone is set on Hit and Miss.
func (t *Table) Find(q *wire.Query) (node *Node, z *Zone, found Found) {
	return t.FindHash(q, t.Hash(q))
}

// Hash returns the hash of the name of q, for [Table.Warm] and [Table.FindHash].
func (t *Table) Hash(q *wire.Query) uint64 { return q.HashName(0, t.seed) }

// Warm reads the memory that [Table.FindHash] will need for names with these
// hashes, so that it is in the processor's caches then. Each step is made for all
// of them before the next one: the reads of one step do not wait for each other.
// met has the length of hashes and is overwritten; what it holds then means
// nothing.
func (t *Table) Warm(hashes []uint64, met []uint32) {
	if len(t.slots) < coldSlots {
		return
	}
	mask := uint64(len(t.slots) - 1)
	for i, h := range hashes {
		met[i] = t.slots[h&mask].node
	}
	for i := range met[:len(hashes)] {
		if met[i] != 0 {
			met[i] = t.nodes[met[i]-1].name
		}
	}
	for i := range met[:len(hashes)] {
		met[i] = uint32(t.names[met[i]])
	}
}

// coldSlots is the size from which a table does not stay in the caches next to a
// core.
const coldSlots = 1 << 12

// FindHash is [Table.Find] for a name whose hash is known.
func (t *Table) FindHash(q *wire.Query, hash uint64) (node *Node, z *Zone, found Found) {
	name := q.Name()
	if id := t.lookup(name, hash); id != 0 {
		node = &t.nodes[id-1]
		return node, &t.zones[node.zone], Hit
	}
	// Shorter and shorter, skipping suffixes that are longer than any name here,
	// so that a name of 127 labels costs no more than one of ours.
	for off := 0; name[off] != 0; {
		off += int(name[off]) + 1
		if len(name)-off > t.longest {
			continue
		}
		if id := t.lookup(name[off:], q.HashName(off, t.seed)); id != 0 {
			node = &t.nodes[id-1]
			return node, &t.zones[node.zone], Miss
		}
	}
	return nil, nil, Outside
}

// FindName is Find for a folded name of n octets at the start of padded, which
// has seven octets of zero behind it.
func (t *Table) FindName(padded []byte, n int) (node *Node, z *Zone, found Found) {
	found = Hit
	for off := 0; off < n; off += int(padded[off]) + 1 {
		if id := t.lookup(padded[off:n], wire.Hash(padded[off:], n-off, t.seed)); id != 0 {
			node = &t.nodes[id-1]
			return node, &t.zones[node.zone], found
		}
		found = Miss
	}
	return nil, nil, Outside
}

// Wildcard returns the node of the name * directly below n, which must have
// [Wildcard] below it.
func (t *Table) Wildcard(n *Node) *Node {
	var padded [wire.MaxName + 9]byte
	padded[0], padded[1] = 1, '*'
	size := 2 + copy(padded[2:], t.Name(n))
	// It is there: Below comes with the node.
	return &t.nodes[t.lookup(padded[:size], wire.Hash(padded[:], size, t.seed))-1]
}

// Answer returns what n answers to questions about a type, nil for nothing: NODATA.
// To ANY it is one RRset, whichever comes first (RFC 8482 section 4.1).
func (t *Table) Answer(n *Node, qtype uint16) *RRset {
	var rest *RRset
	sets := t.Sets(n)
	for i := range sets {
		switch sets[i].Type {
		case qtype:
			return &sets[i]
		case 0:
			rest = &sets[i]
		case wire.TypeCNAME:
			if rest == nil {
				rest = &sets[i]
			}
		}
	}
	if qtype == wire.TypeANY && len(sets) > 0 {
		return &sets[0]
	}
	return rest
}

// lookup returns 1 + the number of the node of a folded name with the given
// hash, or 0.
func (t *Table) lookup(name []byte, hash uint64) uint32 {
	mask := uint64(len(t.slots) - 1)
	tag := uint32(hash >> 32)
	for i := hash & mask; ; i = (i + 1) & mask {
		s := t.slots[i]
		if s.node == 0 {
			return 0
		}
		if s.tag != tag {
			continue
		}
		n := &t.nodes[s.node-1]
		if bytes.Equal(t.names[n.name:n.name+uint32(n.nameLen)], name) {
			return s.node
		}
	}
}

// Name returns the folded owner name of n in wire form. It aliases the table.
func (t *Table) Name(n *Node) []byte {
	return t.names[n.name : n.name+uint32(n.nameLen)]
}

// Sets returns the RRsets of n. The slice aliases the table.
func (t *Table) Sets(n *Node) []RRset {
	return t.sets[n.first : n.first+uint32(n.sets)]
}

// Zones returns all zones in order of definition. The slice aliases the table.
func (t *Table) Zones() []Zone { return t.zones }

// Names returns how many owner names and empty non-terminals there are.
func (t *Table) Names() int { return len(t.nodes) }

// Append appends the records of s, those of the additional section that may be left
// out only if they fit below limit octets in all, with serial in its SOA record, and
// returns the counts.
func (t *Table) Append(dst []byte, s *RRset, serial uint32, limit int) ([]byte, wire.Counts) {
	size, counts := s.size, wire.Counts{Answer: s.answer, Authority: s.authority, Additional: s.glue + s.extra}
	if len(dst)+int(size) > limit {
		size, counts.Additional = s.core, s.glue
	}
	start := len(dst)
	dst = append(dst, t.bodies[s.body:s.body+uint32(size)]...)
	if s.mark != 0 && s.End != Chase {
		putSerial(dst[start+int(s.mark):], serial)
	}
	return dst, counts
}

// Redirect returns the target of the DNAME record that s holds, uncompressed, and
// its TTL in seconds. The slice aliases the table.
func (t *Table) Redirect(s *RRset) (target []byte, ttl uint32) {
	// A pointer to the question, type, class, TTL and RDLENGTH stand before it.
	body := t.bodies[s.body : s.body+uint32(s.size)]
	return body[12:], binary.BigEndian.Uint32(body[6:])
}

// Feeds reports whether the DNAME record of n leads to names below n, and so back to
// itself for ever, each time by a longer name.
func (t *Table) Feeds(n *Node) bool {
	target, _ := t.Redirect(t.Answer(n, wire.TypeDNAME))
	name := t.Name(n)
	for off := 0; len(target)-off >= len(name); off += int(target[off]) + 1 {
		if len(target)-off == len(name) {
			return wire.EqualNames(target[off:], name)
		}
	}
	return false
}
