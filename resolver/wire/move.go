package wire

import "encoding/binary"

// Move says where what packed records point to stands, once the records have been
// copied behind another question, or behind other records, than the one they were
// packed for. All offsets count from the start of the message.
type Move struct {
	// Base is where the records began when they were packed: behind a question
	// about a name.
	Base int
	// Whole is where that name stands now; for a wildcard, the name that it stands
	// for.
	Whole int
	// Suffix is how far the names above it have moved.
	Suffix int
	// Body is how far the records themselves have moved.
	Body int
}

// NewMove returns the Move of records that were packed for a question about a name
// of packed octets, begin at body now, and are to belong to a name of the given
// length that is spelled out at owner. The two names end in the same labels.
func NewMove(packed, owner, length, body int) Move {
	base := HeaderLen + packed + 4
	return Move{Base: base, Whole: owner, Suffix: owner - HeaderLen + length - packed, Body: body - base}
}

// Apply rewrites the compression pointers of n packed records at the start of
// records, which a [Packer] made. It never looks past the records.
func (m *Move) Apply(records []byte, n int) {
	off := 0
	for ; n > 0; n-- {
		off = m.name(records, off)
		typ := binary.BigEndian.Uint16(records[off:])
		data := off + 10
		off = data + int(binary.BigEndian.Uint16(records[off+8:]))
		switch typ {
		case TypeNS, TypeCNAME, TypePTR:
			m.name(records, data)
		case TypeMX:
			m.name(records, data+2)
		case TypeSOA:
			m.name(records, m.name(records, data))
		}
	}
}

// name rewrites the pointer that ends the name at off, if one does, and returns the
// offset behind the name.
func (m *Move) name(records []byte, off int) int {
	for {
		n := int(records[off])
		switch {
		case n == 0:
			return off + 1
		case n >= 0xc0:
			at := int(binary.BigEndian.Uint16(records[off:])) & maxOffset
			binary.BigEndian.PutUint16(records[off:], 0xc000|uint16(m.to(at)))
			return off + 2
		}
		off += n + 1
	}
}

// to returns where what stood at an offset stands now.
func (m *Move) to(at int) int {
	switch {
	case at == HeaderLen:
		return m.Whole
	case at < m.Base:
		return at + m.Suffix
	}
	return at + m.Body
}
