package resolver

import "portolan.dev/resolver/wire"

// accept says whether the question is one that zones answer, and sets the
// response otherwise. It answers class CHAOS itself.
func (p *reply) accept() bool {
	switch p.q.Class {
	case wire.ClassIN:
		return p.acceptType()
	case wire.ClassCH:
		p.chaos()
	default:
		p.rcode, p.ede = wire.RcodeRefused, edeNotSupported
	}
	return false
}

// acceptType sorts out the types that are no data, RFC 6895 section 3.1.
func (p *reply) acceptType() bool {
	switch p.q.Type {
	case 0, wire.TypeOPT:
		p.rcode = wire.RcodeFormErr
	case wire.TypeNXName: // a pseudo-type of denial records, RFC 9824 section 3.5
		p.rcode, p.ede = wire.RcodeFormErr, edeInvalidType
	case wire.TypeTKEY, wire.TypeTSIG, wire.TypeMAILA, wire.TypeMAILB:
		p.rcode, p.ede = wire.RcodeNotImp, edeNotSupported
	case wire.TypeAXFR, wire.TypeIXFR: // RFC 5936 section 2.2.1
		p.rcode, p.ede = wire.RcodeRefused, edeNotSupported
	default:
		return true
	}
	return false
}

// The names of RFC 4892 section 2, folded, and the older ones in use.
const (
	idServer      = "\x02id\x06server\x00"
	hostnameBind  = "\x08hostname\x04bind\x00"
	versionServer = "\x07version\x06server\x00"
	versionBind   = "\x07version\x04bind\x00"
)

// chaos answers who this server is, where that is configured.
func (p *reply) chaos() {
	var text string
	switch string(p.q.Name()) {
	case idServer, hostnameBind:
		text = p.s.Identity
	case versionServer, versionBind:
		text = p.s.Version
	}
	if text == "" || p.q.Type != wire.TypeTXT && p.q.Type != wire.TypeANY {
		p.rcode = wire.RcodeRefused
		return
	}
	p.flags = wire.FlagAA
	p.appendTXT(wire.ClassCH, text)
}
