package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// RR is one resource record to pack: names folded or not, in wire form, RDATA
// uncompressed.
type RR struct {
	Owner []byte // nil: the name of the question
	Type  uint16
	Class uint16
	TTL   uint32 // seconds
	Data  []byte
}

// Packer lays out records behind a question whose name is known, with name
// compression (RFC 1035 section 4.1.4): against the question, the owner names,
// and the names inside the RDATA of the types RFC 3597 section 4 allows.
// The question of a response has the same length whenever the name matches, so
// the pointers stay true for every query. Make one with [NewPacker]. It is for
// compile time, not for the path of a query, and not safe for concurrent use.
type Packer struct {
	body  []byte
	base  int    // offset of body in the message
	qname []byte // of the question
	known []suffix
	// SerialAt is the offset in the body of the serial number of the last SOA
	// record packed; 0 without one (an owner name stands before any RDATA).
	SerialAt int
}

// suffix is a name that a later one may point to.
type suffix struct {
	name []byte
	at   int
}

const (
	// maxOffset is the highest offset that 14 bits can point to.
	maxOffset = 1<<14 - 1
	// MaxMoved is how far packed records may be moved behind where they were packed
	// for, so that what they point to is still in reach.
	MaxMoved = 9 << 10
	// maxPointer is the highest offset that a Packer points to.
	maxPointer = maxOffset - MaxMoved
)

// NewPacker returns a Packer for responses to questions about qname. Where that
// is a wildcard, only records without an owner of their own point to its first label,
// which is another one in every question that it answers: the name * itself, in RDATA
// or as an owner, is meant as it is written.
func NewPacker(qname []byte) *Packer {
	p := new(Packer)
	p.Reset(qname)
	return p
}

// Reset makes p what NewPacker returns, in the memory it has: what [Packer.Bytes]
// returned is overwritten by what is packed next.
func (p *Packer) Reset(qname []byte) {
	*p = Packer{base: HeaderLen + len(qname) + 4, qname: qname, body: p.body[:0], known: p.known[:0]}
	if len(qname) > 2 && qname[0] == 1 && qname[1] == '*' {
		p.remember(qname[2:], HeaderLen+2)
	} else {
		p.remember(qname, HeaderLen)
	}
}

// owner packs an owner name; nil is that of the question.
func (p *Packer) owner(name []byte) {
	switch {
	case name != nil:
		p.name(name)
	case len(p.qname) == 1: // the root is shorter than a pointer to it
		p.body = append(p.body, 0)
	default:
		p.body = append(p.body, 0xc0, HeaderLen)
	}
}

// ownerText is an owner name for errors.
func (p *Packer) ownerText(name []byte) []byte {
	if name == nil {
		name = p.qname
	}
	return AppendName(nil, name)
}

// Bytes returns what was packed so far: all that follows the question. It
// aliases the packer's buffer.
func (p *Packer) Bytes() []byte { return p.body }

// Add packs rr. It fails on RDATA that is not what its type says, or when the
// message would pass 65,535 octets.
func (p *Packer) Add(rr RR) error {
	p.owner(rr.Owner)
	p.body = binary.BigEndian.AppendUint16(p.body, rr.Type)
	p.body = binary.BigEndian.AppendUint16(p.body, rr.Class)
	p.body = binary.BigEndian.AppendUint32(p.body, rr.TTL)
	at := len(p.body)
	p.body = append(p.body, 0, 0)
	if err := p.rdata(rr); err != nil {
		return err
	}
	n := len(p.body) - at - 2
	if n > 0xffff || p.base+len(p.body) > 0xffff {
		return fmt.Errorf("%s type %d: the answer passes 65535 octets: use fewer or shorter records", p.ownerText(rr.Owner), rr.Type)
	}
	binary.BigEndian.PutUint16(p.body[at:], uint16(n))
	return nil
}

// AddSpelled packs a record whose RDATA is one name and nothing else, spelled out so
// that what follows at run time can belong to that name, and returns where in the
// body the name stands.
func (p *Packer) AddSpelled(rr RR) (at int) {
	p.owner(rr.Owner)
	p.body = binary.BigEndian.AppendUint16(p.body, rr.Type)
	p.body = binary.BigEndian.AppendUint16(p.body, rr.Class)
	p.body = binary.BigEndian.AppendUint32(p.body, rr.TTL)
	p.body = binary.BigEndian.AppendUint16(p.body, uint16(len(rr.Data)))
	at = len(p.body)
	p.body = append(p.body, rr.Data...)
	return at
}

// rdata packs the RDATA of rr, compressing the names that may be.
func (p *Packer) rdata(rr RR) error {
	var fixed, names, tail int
	switch rr.Type {
	case TypeNS, TypeCNAME, TypePTR:
		names = 1
	case TypeMX:
		fixed, names = 2, 1
	case TypeSOA:
		names, tail = 2, 20
	default:
		p.body = append(p.body, rr.Data...)
		return nil
	}
	if len(rr.Data) < fixed {
		return fmt.Errorf("%s type %d: RDATA is cut short", p.ownerText(rr.Owner), rr.Type)
	}
	p.body = append(p.body, rr.Data[:fixed]...)
	rest := rr.Data[fixed:]
	for range names {
		end := skipName(rest, 0)
		if end < 0 {
			return fmt.Errorf("%s type %d: RDATA has a bad name", p.ownerText(rr.Owner), rr.Type)
		}
		p.name(rest[:end])
		rest = rest[end:]
	}
	if len(rest) != tail {
		return fmt.Errorf("%s type %d: RDATA has the wrong length", p.ownerText(rr.Owner), rr.Type)
	}
	if rr.Type == TypeSOA {
		p.SerialAt = len(p.body)
	}
	p.body = append(p.body, rest...)
	return nil
}

// name packs a name: its longest known suffix becomes a pointer.
func (p *Packer) name(name []byte) {
	start := p.base + len(p.body)
	for off := 0; ; off += int(name[off]) + 1 {
		if name[off] == 0 {
			p.body = append(p.body, name...)
			p.remember(name, start)
			return
		}
		if at := p.find(name[off:]); at > 0 {
			p.body = append(p.body, name[:off]...)
			p.body = binary.BigEndian.AppendUint16(p.body, 0xc000|uint16(at))
			p.rememberUntil(name, off, start)
			return
		}
	}
}

func (p *Packer) find(name []byte) int {
	for _, s := range p.known {
		if bytes.Equal(s.name, name) {
			return s.at
		}
	}
	return 0
}

func (p *Packer) remember(name []byte, at int) {
	p.rememberUntil(name, len(name)-1, at)
}

// rememberUntil records every suffix of name that starts before end.
func (p *Packer) rememberUntil(name []byte, end, at int) {
	for off := 0; off < end && at+off <= maxPointer; off += int(name[off]) + 1 {
		p.known = append(p.known, suffix{name[off:], at + off})
	}
}
