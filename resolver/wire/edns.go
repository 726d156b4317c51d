package wire

import "encoding/binary"

// maxAdditional is how many additional records a query may carry: an OPT and a
// TSIG or SIG(0). The bound is checked on the header, before any walk.
const maxAdditional = 2

// EDNS option codes, IANA registry.
const (
	OptionNSID        uint16 = 3  // RFC 5001
	OptionECS         uint16 = 8  // RFC 7871
	OptionCookie      uint16 = 10 // RFC 7873
	OptionKeepalive   uint16 = 11 // RFC 7828
	OptionPadding     uint16 = 12 // RFC 7830
	OptionEDE         uint16 = 15 // RFC 8914
	OptionZoneVersion uint16 = 19 // RFC 9660
)

// ECS address families, RFC 7871 section 6.
const (
	FamilyIPv4 uint16 = 1
	FamilyIPv6 uint16 = 2
)

// EDNS is what the OPT record of a query said (RFC 6891).
type EDNS struct {
	Present bool
	DO      bool
	// NSID, Keepalive, Padding and ZoneVersion say that the option was there. What
	// it carried is ignored: RFC 5001 section 2.1, RFC 7828 section 3.3.2, RFC 7830
	// section 3, RFC 9660 section 3.
	NSID, Keepalive, Padding, ZoneVersion bool
	Version                               uint8
	// CookieLen is 0 without a COOKIE option, else 8 or 16 to 40.
	CookieLen uint8
	Size      uint16 // the requestor's UDP payload size, at least 512
	ECS       ECS
	Cookie    [40]byte
}

// ECS is a client subnet option (RFC 7871 section 6). Family is 0 without one.
type ECS struct {
	Family uint16
	Source uint8    // source prefix length in bits
	Octets uint8    // octets of Addr that the option carried
	Addr   [16]byte // zero behind the source prefix: anything else was refused
}

// parseAdditional reads n additional records at off and checks that the message
// ends with them. It returns the response code of the first fault.
func (q *Query) parseAdditional(off, n int) uint16 {
	tsig := false
	for ; n > 0; n-- {
		if tsig {
			return RcodeFormErr // RFC 8945 section 5.1: TSIG is the last record
		}
		start := off
		root := off < len(q.msg) && q.msg[off] == 0
		off = skipName(q.msg, off)
		if off < 0 || off+10 > len(q.msg) {
			return q.formErrNoOPT()
		}
		rr := q.msg[off:]
		typ := binary.BigEndian.Uint16(rr)
		end := off + 10 + int(binary.BigEndian.Uint16(rr[8:]))
		if end > len(q.msg) {
			return q.formErrNoOPT()
		}
		switch typ {
		case TypeOPT:
			if q.EDNS.Present || !root { // RFC 6891 section 6.1.1
				return q.formErrNoOPT()
			}
			if rcode := q.EDNS.parse(rr[2:8], q.msg[off+10:end]); rcode != RcodeNoError {
				return rcode
			}
		case TypeTSIG:
			tsig, q.tsigAt = true, uint16(start)
		case TypeSIG: // SIG(0): not asked for, so not checked (RFC 2931)
		default:
			return RcodeFormErr
		}
		off = end
	}
	switch {
	case off != len(q.msg), tsig && !checkTSIG(q.msg, int(q.tsigAt)):
		return RcodeFormErr
	case tsig:
		return RcodeNotAuth // no keys are configured, RFC 8945 section 5.2.1
	}
	return RcodeNoError
}

// formErrNoOPT forgets an OPT record that cannot be trusted to be the only one.
func (q *Query) formErrNoOPT() uint16 {
	q.EDNS = EDNS{}
	return RcodeFormErr
}

// parse reads the fixed part of an OPT record from its class on, and its options.
func (e *EDNS) parse(fixed, rdata []byte) uint16 {
	e.Present = true
	// Values below 512 mean 512, RFC 6891 section 6.2.3.
	e.Size = max(binary.BigEndian.Uint16(fixed), 512)
	e.Version = fixed[3]
	e.DO = fixed[4]&0x80 != 0
	if e.Version != 0 {
		// Options of a version not spoken here are not read, RFC 6891 section 6.1.3.
		return RcodeBadVers
	}
	for len(rdata) > 0 {
		if len(rdata) < 4 {
			*e = EDNS{}
			return RcodeFormErr
		}
		code := binary.BigEndian.Uint16(rdata)
		n := int(binary.BigEndian.Uint16(rdata[2:]))
		rdata = rdata[4:]
		if n > len(rdata) {
			*e = EDNS{}
			return RcodeFormErr
		}
		ok := true
		switch code {
		case OptionECS:
			ok = e.ECS.parse(rdata[:n])
		case OptionCookie:
			ok = e.parseCookie(rdata[:n])
		case OptionNSID:
			e.NSID = true
		case OptionKeepalive:
			e.Keepalive = true
		case OptionPadding:
			e.Padding = true
		case OptionZoneVersion:
			e.ZoneVersion = true
		}
		if !ok {
			e.ECS = ECS{}
			return RcodeFormErr
		}
		rdata = rdata[n:]
	}
	return RcodeNoError
}

// parse reads a client subnet option with the checks of RFC 7871 sections 6 and
// 7.2.1: known family, source within it, scope 0, exactly the octets the source
// needs, no bits behind it. A second option is a fault as well.
func (e *ECS) parse(opt []byte) bool {
	if e.Family != 0 || len(opt) < 4 {
		return false
	}
	family := binary.BigEndian.Uint16(opt)
	source, scope, addr := opt[2], opt[3], opt[4:]
	limit := uint8(32)
	switch family {
	case FamilyIPv4:
	case FamilyIPv6:
		limit = 128
	default:
		return false
	}
	if source > limit || scope != 0 || len(addr) != (int(source)+7)/8 {
		return false
	}
	if rest := source % 8; rest != 0 && addr[len(addr)-1]<<rest != 0 {
		return false
	}
	e.Family, e.Source, e.Octets = family, source, uint8(len(addr))
	copy(e.Addr[:], addr)
	return true
}

// parseCookie checks the lengths of RFC 7873 section 4. The first of several
// options counts, section 5.2.
func (e *EDNS) parseCookie(opt []byte) bool {
	if len(opt) != 8 && (len(opt) < 16 || len(opt) > 40) {
		return false
	}
	if e.CookieLen == 0 {
		e.CookieLen = uint8(len(opt))
		copy(e.Cookie[:], opt)
	}
	return true
}

// skipName returns the offset behind the owner name at off, or -1. A pointer
// ends a name; it is not followed, because no owner name but the root matters.
func skipName(msg []byte, off int) int {
	for start := off; off < len(msg) && off-start < MaxName; {
		n := int(msg[off])
		switch {
		case n == 0:
			return off + 1
		case n >= 0xc0:
			if off+2 > len(msg) {
				return -1
			}
			return off + 2
		case n > 63:
			return -1
		}
		off += n + 1
	}
	return -1
}
