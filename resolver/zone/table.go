package zone

import (
	"bytes"

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

// RRset is one packed positive answer.
type RRset struct {
	body     uint32 // where it begins in Table.bodies
	size     uint16 // octets of answer and additional section
	core     uint16 // octets of the answer section alone
	answer   uint16 // records in the answer section
	extra    uint16 // records in the additional section
	serialAt uint16 // of the SOA serial in the body; 0: none
	Type     uint16
}

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

// Find looks up the name of q. On Hit node is set; zone is set on Hit and Miss.
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
		if int(met[i]) < len(t.names) {
			met[i] = uint32(t.names[met[i]])
		}
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
			return nil, &t.zones[t.nodes[id-1].zone], Miss
		}
	}
	return nil, nil, Outside
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

// Append appends the answer section of s, and its additional section if that
// fits below limit octets in all, with serial in its SOA record, and returns
// the counts.
func (t *Table) Append(dst []byte, s *RRset, serial uint32, limit int) ([]byte, wire.Counts) {
	size, counts := s.size, wire.Counts{Answer: s.answer, Additional: s.extra}
	if len(dst)+int(size) > limit {
		size, counts.Additional = s.core, 0
	}
	start := len(dst)
	dst = append(dst, t.bodies[s.body:s.body+uint32(size)]...)
	if s.serialAt != 0 {
		putSerial(dst[start+int(s.serialAt):], serial)
	}
	return dst, counts
}
