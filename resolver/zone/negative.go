package zone

import (
	"bytes"
	"encoding/binary"

	"portolan.dev/resolver/wire"
)

// negative is the SOA record that goes into the authority section of NXDOMAIN
// and NODATA answers (RFC 2308 sections 2 and 3). Its owner, and MNAME and RNAME
// where they lie in the zone, end in a pointer to the apex inside the question,
// whose place depends on the length of the query name: those pointers are the
// only octets, with the serial, that are written per response.
type negative struct {
	body     []byte
	pointers [3]uint16 // offsets in body of the pointers to the apex
	n        uint8     // how many of them there are
	serialAt uint16
}

// newNegative packs the record. ttl is the negative TTL: the lesser of the SOA
// TTL and its MINIMUM (RFC 2308 section 5).
func newNegative(apex []byte, soa *SOA) negative {
	var n negative
	n.name(apex, apex)
	n.body = binary.BigEndian.AppendUint16(n.body, wire.TypeSOA)
	n.body = binary.BigEndian.AppendUint16(n.body, wire.ClassIN)
	n.body = binary.BigEndian.AppendUint32(n.body, min(soa.TTL, soa.Minimum))
	at := len(n.body)
	n.body = append(n.body, 0, 0)
	n.name(soa.MName, apex)
	n.name(soa.RName, apex)
	n.serialAt = uint16(len(n.body))
	n.body = soa.appendNumbers(n.body)
	binary.BigEndian.PutUint16(n.body[at:], uint16(len(n.body)-at-2))
	return n
}

func (n *negative) pointer() {
	n.pointers[n.n] = uint16(len(n.body))
	n.n++
	n.body = append(n.body, 0, 0)
}

// name packs a name of the RDATA: spelled out unless it lies in the zone. The
// root is shorter than a pointer to it.
func (n *negative) name(name, apex []byte) {
	off := len(name) - len(apex)
	if off < 0 || !bytes.HasSuffix(name, apex) || !onLabel(name, off) || len(apex) == 1 {
		n.body = append(n.body, name...)
		return
	}
	n.body = append(n.body, name[:off]...)
	n.pointer()
}

// onLabel reports whether a label of name begins at off.
func onLabel(name []byte, off int) bool {
	at := 0
	for at < off && name[at] != 0 {
		at += int(name[at]) + 1
	}
	return at == off
}

// AppendNegative appends the SOA record of z for a query name of nameLen octets.
func (z *Zone) AppendNegative(dst []byte, nameLen int, serial uint32) []byte {
	start := len(dst)
	dst = append(dst, z.negative.body...)
	pointer := 0xc000 | uint16(wire.HeaderLen+nameLen-len(z.Apex))
	for _, at := range z.negative.pointers[:z.negative.n] {
		binary.BigEndian.PutUint16(dst[start+int(at):], pointer)
	}
	putSerial(dst[start+int(z.negative.serialAt):], serial)
	return dst
}

func putSerial(at []byte, serial uint32) { binary.BigEndian.PutUint32(at, serial) }
