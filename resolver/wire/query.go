package wire

import "encoding/binary"

// MaxName is the longest name on the wire, RFC 1035 section 2.3.4.
const MaxName = 255

// Disposition is what header policy and parsing make of a message, before any
// zone is looked at.
type Disposition uint8

const (
	// Drop means: no reply at all. Runts, responses and nothing else: answering a
	// response is how reflection loops start.
	Drop Disposition = iota
	// Refer means: the query is well formed; go and answer it.
	Refer
	// CookieOnly means: no question but a COOKIE option, RFC 7873 section 5.4.
	CookieOnly
	// Reject means: answer with [Query.Rcode] and nothing else.
	Reject
)

// Query is one received message taken apart by [Query.Parse], any number of times
// one after the other. Name and Question borrow the message.
type Query struct {
	ID    uint16
	Type  uint16
	Class uint16
	// Rcode is the response code to send when Parse answers Reject.
	Rcode uint16
	// EDNS is what the OPT record said; EDNS.Present is false without one.
	EDNS EDNS

	flags   uint16
	tsigAt  uint16 // where the TSIG record begins; good only if Rcode is NOTAUTH
	nameLen uint8  // octets of the query name with its root label; 0: no question parsed
	msg     []byte
	// lower is the query name with ASCII upper case folded (RFC 4343). Label
	// lengths are at most 63 and so below 'A': the whole name folds as one run.
	// Eight zeroes follow the name, which Hash relies on.
	lower [MaxName + 9]byte
}

// Name returns the query name in wire form, lower case, with its root label.
// It is empty when no question was parsed. It is valid as long as q is.
func (q *Query) Name() []byte { return q.lower[:q.nameLen] }

// Question returns the question section as received, for the byte-exact echo;
// empty when no question was parsed.
func (q *Query) Question() []byte {
	if q.nameLen == 0 {
		return nil
	}
	return q.msg[HeaderLen : HeaderLen+int(q.nameLen)+4]
}

// Message returns the message that was parsed, as received.
func (q *Query) Message() []byte { return q.msg }

// Parse takes msg apart and says what to do with it. Header policy comes first
// and is the same for every transport.
func (q *Query) Parse(msg []byte) Disposition {
	q.EDNS = EDNS{}
	q.Type, q.Class, q.Rcode, q.nameLen = 0, 0, 0, 0
	if len(msg) < HeaderLen {
		return Drop
	}
	q.msg = msg
	q.ID = binary.BigEndian.Uint16(msg)
	q.flags = binary.BigEndian.Uint16(msg[2:])
	if q.flags&FlagQR != 0 {
		return Drop
	}
	if q.flags&opcodeMask != 0 {
		// IQUERY, STATUS, NOTIFY, UPDATE, DSO and the unassigned ones, RFC 8906
		// section 3.1.4. The question is echoed if there is one to echo.
		q.parseQuestion()
		return q.reject(RcodeNotImp)
	}
	return q.parseSections()
}

// WantsTransfer reports whether msg, which came over a stream, is a query of type AXFR
// or IXFR (RFC 5936 section 2.1, RFC 1995 section 3). It reads no further.
func WantsTransfer(msg []byte) bool {
	if len(msg) < HeaderLen+5 || binary.BigEndian.Uint16(msg[2:])&(FlagQR|opcodeMask) != 0 || binary.BigEndian.Uint16(msg[4:]) != 1 {
		return false
	}
	off := HeaderLen
	for off < len(msg) && msg[off] != 0 && msg[off] < 64 {
		off += int(msg[off]) + 1
	}
	if off+5 > len(msg) || msg[off] != 0 {
		return false
	}
	t := binary.BigEndian.Uint16(msg[off+1:])
	return t == TypeAXFR || t == TypeIXFR
}

// parseSections walks the sections of a QUERY by the counts of its header.
func (q *Query) parseSections() Disposition {
	questions := binary.BigEndian.Uint16(q.msg[4:])
	answers := binary.BigEndian.Uint16(q.msg[6:])
	authority := binary.BigEndian.Uint16(q.msg[8:])
	additional := int(binary.BigEndian.Uint16(q.msg[10:]))
	end := HeaderLen
	switch {
	case questions > 1: // RFC 9619 section 4
		return q.reject(RcodeFormErr)
	case questions == 1:
		if end = q.parseQuestion(); end < 0 {
			return q.reject(RcodeFormErr)
		}
	}
	// An IXFR request carries the client's SOA in the authority section (RFC 1995
	// section 3). It is refused like AXFR, so the SOA is never read.
	if q.Type == TypeIXFR && authority == 1 && answers == 0 {
		return Refer
	}
	if answers != 0 || authority != 0 || additional > maxAdditional {
		return q.reject(RcodeFormErr)
	}
	if rcode := q.parseAdditional(end, additional); rcode != RcodeNoError {
		return q.reject(rcode)
	}
	if questions == 0 {
		if q.EDNS.CookieLen == 0 {
			return q.reject(RcodeFormErr)
		}
		return CookieOnly
	}
	return Refer
}

// parseQuestion reads one question behind the header and returns the offset
// behind it, or -1. Compression pointers are refused: nothing stands before the
// first name that one could point at (RFC 1035 section 4.1.4).
func (q *Query) parseQuestion() int {
	off := HeaderLen
	for {
		if off >= len(q.msg) {
			return -1
		}
		n := int(q.msg[off])
		if n > 63 {
			return -1
		}
		off += n + 1
		if off-HeaderLen > MaxName {
			return -1
		}
		if n == 0 {
			break
		}
	}
	if off+4 > len(q.msg) {
		return -1
	}
	fold(q.lower[:], q.msg[HeaderLen:off])
	clear(q.lower[off-HeaderLen:][:8])
	q.nameLen = uint8(off - HeaderLen)
	q.Type = binary.BigEndian.Uint16(q.msg[off:])
	q.Class = binary.BigEndian.Uint16(q.msg[off+2:])
	return off + 4
}

func (q *Query) reject(rcode uint16) Disposition {
	q.Rcode = rcode
	return Reject
}
