package wire

import "encoding/binary"

// badKey is the TSIG error of a key that is not known, RFC 8945 section 3. None is.
const badKey = 17

// checkTSIG reports whether the record that begins at start and ends with msg, whose
// fixed part and RDATA are known to be there, is what RFC 8945 section 4.2 says, names uncompressed.
// What it signs is not looked at.
func checkTSIG(msg []byte, start int) bool {
	off, end := plainName(msg, start), len(msg)
	if off < 0 || binary.BigEndian.Uint16(msg[off+2:]) != ClassANY {
		return false
	}
	at := plainName(msg, off+10)
	if at < 0 || at+10 > end {
		return false
	}
	at += 10 + int(binary.BigEndian.Uint16(msg[at+8:])) // time, fudge, MAC
	if at+6 > end {
		return false
	}
	return at+6+int(binary.BigEndian.Uint16(msg[at+4:])) == end
}

// plainName returns the offset behind the uncompressed name at off, or -1.
func plainName(msg []byte, off int) int {
	for start := off; off < len(msg) && off-start < MaxName; {
		n := int(msg[off])
		switch {
		case n == 0:
			return off + 1
		case n > 63:
			return -1
		}
		off += n + 1
	}
	return -1
}

// AppendTSIGError appends the TSIG record of a response to a query that was rejected
// with [RcodeNotAuth]: BADKEY, unsigned (RFC 8945 sections 5.2.1 and 5.3.2). The key,
// the algorithm and the time are those of the query.
func (q *Query) AppendTSIGError(dst []byte) []byte {
	rr := q.msg[q.tsigAt:]
	off := plainName(rr, 0)
	data := off + 10
	names := plainName(rr, data)
	dst = append(dst, rr[:off+8]...)
	dst = binary.BigEndian.AppendUint16(dst, uint16(names-data+8+2+2+2+2))
	dst = append(dst, rr[data:names+8]...) // algorithm, time, fudge
	dst = append(dst, 0, 0)
	dst = binary.BigEndian.AppendUint16(dst, q.ID)
	return append(dst, 0, badKey, 0, 0)
}
