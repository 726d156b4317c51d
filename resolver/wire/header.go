package wire

import "encoding/binary"

// HeaderLen is the size of the fixed message header, RFC 1035 section 4.1.1.
const HeaderLen = 12

// Header flag bits as they stand in the second 16-bit word of a message,
// RFC 1035 section 4.1.1 and RFC 4035 section 3.
const (
	FlagQR uint16 = 1 << 15 // response
	FlagAA uint16 = 1 << 10 // authoritative answer
	FlagTC uint16 = 1 << 9  // truncated
	FlagRD uint16 = 1 << 8  // recursion desired
	FlagCD uint16 = 1 << 4  // checking disabled

	opcodeMask  uint16 = 0xf << 11
	echoedFlags        = opcodeMask | FlagRD | FlagCD
)

// Response codes, RFC 6895 section 2.3. Values above 15 need an OPT record for
// their upper bits.
const (
	RcodeNoError  uint16 = 0
	RcodeFormErr  uint16 = 1
	RcodeServFail uint16 = 2
	RcodeNXDomain uint16 = 3
	RcodeNotImp   uint16 = 4
	RcodeRefused  uint16 = 5
	RcodeYXDomain uint16 = 6 // RFC 6672 section 2.2
	RcodeNotAuth  uint16 = 9
	RcodeBadVers  uint16 = 16

	// RcodeBadCookie is of RFC 7873 section 8.
	RcodeBadCookie uint16 = 23
)

// Record types that the packet path treats by name, RFC 1035 section 3.2.2 and
// the IANA registry. All others pass through as numbers (RFC 3597).
const (
	TypeA      uint16 = 1
	TypeNS     uint16 = 2
	TypeCNAME  uint16 = 5
	TypeSOA    uint16 = 6
	TypePTR    uint16 = 12
	TypeHINFO  uint16 = 13
	TypeMX     uint16 = 15
	TypeTXT    uint16 = 16
	TypeSIG    uint16 = 24
	TypeAAAA   uint16 = 28
	TypeSRV    uint16 = 33
	TypeDNAME  uint16 = 39
	TypeOPT    uint16 = 41
	TypeDS     uint16 = 43
	TypeRRSIG  uint16 = 46
	TypeNXName uint16 = 128
	TypeTKEY   uint16 = 249
	TypeTSIG   uint16 = 250
	TypeIXFR   uint16 = 251
	TypeAXFR   uint16 = 252
	TypeMAILB  uint16 = 253
	TypeMAILA  uint16 = 254
	TypeANY    uint16 = 255
)

// Classes, RFC 1035 section 3.2.4.
const (
	ClassIN  uint16 = 1
	ClassCH  uint16 = 3
	ClassANY uint16 = 255
)

// Counts are the section counts of a response behind the question.
type Counts struct {
	Answer, Authority, Additional uint16
}

// PutHeader writes the header of the response to q into the first [HeaderLen]
// octets of msg, with the given flags (AA and TC; QR, the opcode, RD and CD
// follow the query, RA, AD and Z stay 0) and the lower four bits of rcode. The
// question count is 1 when q holds a parsed question, else 0.
func PutHeader(msg []byte, q *Query, flags, rcode uint16, c Counts) {
	_ = msg[HeaderLen-1]
	var questions uint16
	if q.nameLen > 0 {
		questions = 1
	}
	binary.BigEndian.PutUint16(msg, q.ID)
	binary.BigEndian.PutUint16(msg[2:], FlagQR|q.flags&echoedFlags|flags|rcode&0xf)
	binary.BigEndian.PutUint16(msg[4:], questions)
	binary.BigEndian.PutUint16(msg[6:], c.Answer)
	binary.BigEndian.PutUint16(msg[8:], c.Authority)
	binary.BigEndian.PutUint16(msg[10:], c.Additional)
}
