package resolver

import (
	"encoding/binary"
	"net/netip"

	"portolan.dev/resolver/rrl"
	"portolan.dev/resolver/wire"
	"portolan.dev/resolver/zone"
)

// Extended DNS errors, RFC 8914 section 4, packed once. "Other" (0) carries what
// an operator will look for when the answer surprises.
var (
	edeNoHealthy        = wire.EDE(0, "no healthy replica")                               //nolint:gochecknoglobals // never written
	edeNoneRouted       = wire.EDE(0, "no replica takes part in global endpoint routing") //nolint:gochecknoglobals // never written
	edeNotReady         = wire.EDE(14, "the replica's host name is not resolved yet")     //nolint:gochecknoglobals // never written
	edeNotAuthoritative = wire.EDE(20, "")                                                //nolint:gochecknoglobals // never written
	edeNotSupported     = wire.EDE(21, "")                                                //nolint:gochecknoglobals // never written
	edeInvalidType      = wire.EDE(30, "")                                                //nolint:gochecknoglobals // never written
)

// maxDatagram is the UDP response limit of a client without EDNS, RFC 1035
// section 4.2.1.
const maxDatagram = 512

// reply is a response being written: header and question first, then the
// records, the OPT record last. It lives on the stack of Answer.
type reply struct {
	s *Snapshot
	// q is held by value: behind a pointer it would count as leaked with every
	// write to msg, and be allocated.
	q     wire.Query
	msg   []byte // the response; what stood in dst before is before start
	start int
	limit int // length that msg may reach
	room  int // octets that a signature will add, 0 for none
	outcome
	known
}

// outcome is what has become of a question so far.
type outcome struct {
	flags  uint16
	rcode  uint16
	counts wire.Counts
	owner  spot // the name that is being answered for: the question's, or where its CNAMEs lead
	scope  uint8
	ecs    bool // echo the client subnet with scope
	// cookies are the keys in use, set only if the query has a COOKIE option, and
	// cookie is what they make of it.
	cookies *wire.CookieKeys
	cookie  wire.CookieState
	ede     []byte // packed EDE option
}

// known is what a [Batch] has looked up before the answer: the name if looked, the
// locality of the client if located.
type known struct {
	looked  bool
	located bool
	found   zone.Found
	node    *zone.Node
	zone    *zone.Zone
	client  client
}

// begin makes room for the header and echoes the question, once p.q is parsed.
func (p *reply) begin(dst []byte, t Transport) {
	size := maxDatagram
	switch {
	case t != UDP:
		size = 0xffff
	case p.q.EDNS.Present:
		size = min(int(p.q.EDNS.Size), p.s.UDPSize)
	}
	p.start, p.limit = len(dst), len(dst)+size-p.room
	var header [wire.HeaderLen]byte
	p.msg = append(append(dst, header[:]...), p.q.Question()...)
	p.owner = p.question()
	p.ecs = p.s.ECS && p.q.EDNS.ECS.Family != 0
}

// refuse answers REFUSED with the reason, for a name that is not ours: no
// referral, no authority (RFC 8906 section 3.1).
func (p *reply) refuse(ede []byte) {
	p.rcode, p.ede = wire.RcodeRefused, ede
}

// negative answers NXDOMAIN, or NODATA with rcode 0: no answer but the CNAMEs that led
// there, the SOA record
// in the authority section (RFC 2308 section 2). The scope stays 0: caches
// share negative answers between all clients (RFC 7871 section 7.4).
func (p *reply) negative(z *zone.Zone, rcode uint16) {
	p.flags, p.rcode, p.scope = wire.FlagAA, rcode, 0
	p.msg = z.AppendNegative(p.msg, len(p.q.Name()), p.s.Serials[z.Number].Load())
	p.counts.Authority = 1
}

// reserve returns the room that the OPT record with its options may take.
func (p *reply) reserve() int {
	if !p.q.EDNS.Present {
		return 0
	}
	const subnet, cookie = 4 + 4 + 16, 4 + wire.CookieLen
	n := wire.OPTLen + subnet + cookie + len(p.ede)
	if p.q.EDNS.NSID {
		n += len(p.s.NSID)
	}
	if p.q.EDNS.ZoneVersion {
		n += zoneVersionLen
	}
	return n
}

// zoneVersionLen is the size of a ZONEVERSION option.
const zoneVersionLen = 4 + 6

// checkCookie looks at the COOKIE option of a query, which has one, and reports
// whether it proves that the sender gets what is sent to its address.
func (w *Worker) checkCookie(p *reply, from netip.Addr, now int64) bool {
	p.cookies = p.s.Cookies
	if p.cookies == nil {
		p.cookies = &w.resolver.cookies
	}
	p.cookie = p.cookies.Check(&p.q.EDNS, from, p.s.Wall.seconds(now))
	return p.cookie != wire.CookieNone
}

// finish writes OPT and header, truncates if need be, counts, and holds datagrams
// against the rate limit.
func (w *Worker) finish(p *reply, from netip.AddrPort, now int64) []byte {
	body := p.start + wire.HeaderLen + len(p.q.Question())
	end := len(p.msg)
	w.appendOPT(p, from, now)
	sent := w.transport != UDP || p.s.Limits == nil || p.cookie != wire.CookieNone
	if !sent {
		sent = w.withinRate(p, from.Addr(), now)
	}
	if len(p.msg) > p.limit || !sent {
		// TC with nothing but question and OPT: a part of an RRset helps nobody,
		// RFC 2181 section 9.
		opt := copy(p.msg[body:], p.msg[end:])
		p.msg = p.msg[:body+opt]
		p.flags |= wire.FlagTC
		p.counts = wire.Counts{}
		if p.room != 0 && p.rcode < 16 {
			p.rcode = wire.RcodeNoError // RFC 8945 section 5.3: ask over TCP, whatever it would be
		}
		if sent {
			w.counters.truncated.Add(1)
		} else if !w.slips(p) {
			return p.msg[:p.start]
		}
	}
	if p.q.EDNS.Present {
		p.counts.Additional++
	}
	if p.rcode == wire.RcodeNotAuth { // and sent: what is over the rate limit ends above, for it never slips
		p.appendTSIG()
	}
	wire.PutHeader(p.msg[p.start:], &p.q, p.flags, p.rcode, p.counts)
	w.counters.of(from.Addr(), p.rcode).Add(1)
	return p.msg
}

// withinRate holds a response against the rate limit of its receiver.
func (w *Worker) withinRate(p *reply, to netip.Addr, now int64) bool {
	number := w.counters.of(to, p.rcode).Load() + w.counters.limited.Load()
	if p.s.Limits.Take(to, p.class(), now, number) {
		return true
	}
	w.counters.limited.Add(1)
	if p.s.Limits.DryRun {
		w.counters.spared.Add(1)
		return true
	}
	return false
}

// class is what the rate limit counts a response as.
func (p *reply) class() rrl.Class {
	switch {
	case p.rcode == wire.RcodeNoError && p.counts.Answer != 0:
		return rrl.Answer
	case p.rcode == wire.RcodeNoError, p.rcode == wire.RcodeNXDomain:
		return rrl.Negative
	}
	return rrl.Error
}

// slips reports whether a response over the rate limit is sent with TC instead of
// dropped: a client that is real then comes over TCP. Errors never are; they would
// say the same over TCP.
func (w *Worker) slips(p *reply) bool {
	n := uint64(p.s.Limits.Slip)
	if n == 0 || p.class() == rrl.Error || w.counters.limited.Load()%n != 0 {
		return false
	}
	w.counters.slipped.Add(1)
	return true
}

// appendOPT writes the OPT record: one if and only if the query had one
// (RFC 6891 section 6.1.1).
func (w *Worker) appendOPT(p *reply, from netip.AddrPort, now int64) {
	e := &p.q.EDNS
	if !e.Present {
		return
	}
	start := len(p.msg)
	p.msg = wire.AppendOPT(p.msg, uint16(p.s.UDPSize), e.DO, p.rcode)
	if p.rcode != wire.RcodeBadVers { // nothing of another version is understood
		w.appendOptions(p, e, from, now)
	}
	wire.FinishOPT(p.msg, start)
}

// appendOptions writes the options. NSID, EDE and ZONEVERSION give way when space is
// short.
func (w *Worker) appendOptions(p *reply, e *wire.EDNS, from netip.AddrPort, now int64) {
	if p.ecs && (p.rcode == wire.RcodeNoError || p.rcode == wire.RcodeNXDomain) {
		p.msg = wire.AppendECS(p.msg, &e.ECS, p.scope)
	}
	switch {
	case e.CookieLen == 0:
	case p.cookie == wire.CookieGood:
		p.msg = wire.EchoCookie(p.msg, e)
	default:
		p.msg = wire.AppendCookie(p.msg, e, from.Addr(), &p.cookies.Active, p.s.Wall.seconds(now))
	}
	if e.NSID && len(p.msg)+len(p.s.NSID) <= p.limit {
		p.msg = append(p.msg, p.s.NSID...)
	}
	if len(p.msg)+len(p.ede) <= p.limit {
		p.msg = append(p.msg, p.ede...)
	}
	if e.ZoneVersion && p.zone != nil && p.flags&wire.FlagAA != 0 && len(p.msg)+zoneVersionLen <= p.limit {
		p.msg = wire.AppendZoneVersion(p.msg, p.zone.Apex, p.s.Serials[p.zone.Number].Load())
	}
	if w.transport != UDP {
		w.appendStreamOptions(p)
	}
}

// appendStreamOptions writes the options that only streams have, the padding of
// encrypted ones last. A datagram is told neither (RFC 7828 section 3.2.1, RFC 7830
// section 6).
func (w *Worker) appendStreamOptions(p *reply) {
	if p.q.EDNS.Keepalive {
		p.msg = wire.AppendKeepalive(p.msg, uint16(w.resolver.keepalive.Load()))
	}
	if p.q.EDNS.Padding && w.transport == TLS && len(p.msg) < p.limit-2*512 {
		p.msg = wire.AppendPadding(p.msg, p.start)
	}
}

// appendTSIG says that the key of the query is not known, where there is room for it.
// TSIG is the last record, behind OPT.
func (p *reply) appendTSIG() {
	if signed := p.q.AppendTSIGError(p.msg); len(signed) <= p.limit {
		p.msg = signed
		p.counts.Additional++
	}
}

// appendTXT appends a TXT record at the query name with one character string,
// cut at 255 octets. Its TTL is 0: what it says is true now.
func (p *reply) appendTXT(class uint16, text string) {
	text = text[:min(len(text), 255)]
	p.msg = append(p.msg, 0xc0, wire.HeaderLen, 0, byte(wire.TypeTXT))
	p.msg = binary.BigEndian.AppendUint16(p.msg, class)
	p.msg = append(p.msg, 0, 0, 0, 0)
	p.msg = binary.BigEndian.AppendUint16(p.msg, uint16(len(text)+1))
	p.msg = append(p.msg, byte(len(text)))
	p.msg = append(p.msg, text...)
	p.counts.Answer++
}
