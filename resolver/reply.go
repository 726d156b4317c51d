package resolver

import (
	"encoding/binary"
	"net/netip"

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
	outcome
	known
}

// outcome is what has become of a question so far.
type outcome struct {
	flags  uint16
	rcode  uint16
	counts wire.Counts
	scope  uint8
	ecs    bool   // echo the client subnet with scope
	ede    []byte // packed EDE option
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
func (p *reply) begin(dst []byte, stream bool) {
	size := maxDatagram
	switch {
	case stream:
		size = 0xffff
	case p.q.EDNS.Present:
		size = min(int(p.q.EDNS.Size), p.s.UDPSize)
	}
	p.start, p.limit = len(dst), len(dst)+size
	var header [wire.HeaderLen]byte
	p.msg = append(append(dst, header[:]...), p.q.Question()...)
	p.ecs = p.s.ECS && p.q.EDNS.ECS.Family != 0
}

// refuse answers REFUSED with the reason, for a name that is not ours: no
// referral, no authority (RFC 8906 section 3.1).
func (p *reply) refuse(ede []byte) {
	p.rcode, p.ede = wire.RcodeRefused, ede
}

// negative answers NXDOMAIN, or NODATA with rcode 0: no answer, the SOA record
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
	return n
}

// finish writes OPT and header, truncates if need be, and counts.
func (w *Worker) finish(p *reply, from netip.AddrPort, now int64) []byte {
	body := p.start + wire.HeaderLen + len(p.q.Question())
	end := len(p.msg)
	w.appendOPT(p, from, now)
	if len(p.msg) > p.limit {
		// TC with nothing but question and OPT: a part of an RRset helps nobody,
		// RFC 2181 section 9.
		opt := copy(p.msg[body:], p.msg[end:])
		p.msg = p.msg[:body+opt]
		p.flags |= wire.FlagTC
		p.counts = wire.Counts{}
		w.counters.truncated.Add(1)
	}
	if p.q.EDNS.Present {
		p.counts.Additional++
	}
	wire.PutHeader(p.msg[p.start:], &p.q, p.flags, p.rcode, p.counts)
	w.counters.count(from.Addr(), p.rcode)
	return p.msg
}

// appendOPT writes the OPT record: one if and only if the query had one
// (RFC 6891 section 6.1.1). NSID and EDE give way when space is short.
func (w *Worker) appendOPT(p *reply, from netip.AddrPort, now int64) {
	e := &p.q.EDNS
	if !e.Present {
		return
	}
	start := len(p.msg)
	p.msg = wire.AppendOPT(p.msg, uint16(p.s.UDPSize), e.DO, p.rcode)
	if p.rcode != wire.RcodeBadVers { // nothing of another version is understood
		if p.ecs && (p.rcode == wire.RcodeNoError || p.rcode == wire.RcodeNXDomain) {
			p.msg = wire.AppendECS(p.msg, &e.ECS, p.scope)
		}
		if e.CookieLen != 0 {
			p.msg = wire.AppendCookie(p.msg, e, from.Addr(), &w.resolver.secret, now)
		}
		if e.NSID && len(p.msg)+len(p.s.NSID) <= p.limit {
			p.msg = append(p.msg, p.s.NSID...)
		}
		if len(p.msg)+len(p.ede) <= p.limit {
			p.msg = append(p.msg, p.ede...)
		}
	}
	wire.FinishOPT(p.msg, start)
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
