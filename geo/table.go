package geo

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"math"
	"net/netip"
	"time"
)

// Table maps every address to a cell. It is immutable, safe for concurrent use,
// and holds no file open.
//
// IPv4 places are known to /24 and IPv6 places to /48, the lengths to which
// resolvers cut a client subnet or nearly so (RFC 7871 section 11.1 recommends
// 24 and 56); a finer difference in the data goes to the place that has most of
// the block.
type Table struct {
	source string
	built  time.Time
	cells  []Cell
	v4     partition[uint32]
	v6     partition[uint64] // the upper half of the address
}

// Source says what the table was made from: file names and database types.
func (t *Table) Source() string { return t.source }

// Built is when the data was published, in UTC; of several files, the oldest.
func (t *Table) Built() time.Time { return t.built }

// Cells returns the cells by CellID. The caller must not change them.
func (t *Table) Cells() []Cell { return t.cells }

// Len4 is the number of IPv4 ranges.
func (t *Table) Len4() int { return len(t.v4.starts) }

// Len6 is the number of IPv6 ranges.
func (t *Table) Len6() int { return len(t.v6.starts) }

// Bytes is about how much memory the table takes.
func (t *Table) Bytes() int { return t.v4.bytes() + t.v6.bytes() + 32*len(t.cells) }

// Digest tells tables apart that place some address differently. Its cost is that of
// hashing [Table.Bytes].
func (t *Table) Digest() [sha256.Size]byte {
	h := sha256.New()
	var b []byte
	for _, c := range t.cells {
		b = binary.BigEndian.AppendUint64(b[:0], math.Float64bits(c.Latitude))
		b = binary.BigEndian.AppendUint64(b, math.Float64bits(c.Longitude))
		b = append(b, c.Country[0], c.Country[1], byte(c.Kind))
		h.Write(binary.BigEndian.AppendUint32(b, c.Weight))
	}
	t.v4.hash(h)
	t.v6.hash(h)
	return [sha256.Size]byte(h.Sum(nil))
}

// hash writes the ranges to h, by blocks: one at a time would cost more than hashing
// them.
func (p *partition[A]) hash(h hash.Hash) {
	const block = 4096
	b := binary.BigEndian.AppendUint64(nil, uint64(len(p.starts)))
	for i, start := range p.starts {
		b = binary.BigEndian.AppendUint64(b, uint64(start))
		b = binary.BigEndian.AppendUint16(b, p.values[i])
		if len(b) > block {
			h.Write(b)
			b = b[:0]
		}
	}
	h.Write(b)
}

// Named returns the same table with another source text.
func (t *Table) Named(source string) *Table {
	named := *t
	named.source = source
	return &named
}

// Cell returns the cell of an address and the widest block around the address
// that lies in the same range of the data. An IPv4-mapped address is looked up as
// IPv4; other embedded IPv4 addresses are not (see [Unwrap]). An invalid address
// has cell 0 and the zero prefix.
func (t *Table) Cell(addr netip.Addr) (CellID, netip.Prefix) {
	addr = addr.Unmap().WithZone("")
	switch {
	case addr.Is4():
		a := addr.As4()
		key := binary.BigEndian.Uint32(a[:])
		i := t.v4.find(key)
		return CellID(t.v4.values[i]), netip.PrefixFrom(addr, int(t.v4.scope(key, i))).Masked()
	case addr.Is6():
		a := addr.As16()
		key := binary.BigEndian.Uint64(a[:])
		i := t.v6.find(key)
		return CellID(t.v6.values[i]), netip.PrefixFrom(addr, int(t.v6.scope(key, i))).Masked()
	}
	return 0, netip.Prefix{}
}
