package resolver

import (
	"net/netip"

	"portolan.dev/resolver/wire"
	"portolan.dev/resolver/zone"
)

// Answer appends the response to msg, which came from the address from, to dst
// and returns it; empty (nothing appended) means there is to be no response.
// now is the time in Unix seconds, good to a few seconds, by a clock that is not set
// while clients are held: see [Wall]. msg is only read and
// not kept; it must not overlap dst's spare room.
func (w *Worker) Answer(dst, msg []byte, from netip.AddrPort, now int64) []byte {
	var p reply
	p.s = w.resolver.current.Load()
	return w.answer(&p, p.q.Parse(msg), dst, from, now)
}

// answer answers a query that is parsed, and what is known of it already looked up.
func (w *Worker) answer(p *reply, d wire.Disposition, dst []byte, from netip.AddrPort, now int64) []byte {
	if d == wire.Drop {
		w.counters.dropped.Add(1)
		return dst
	}
	if d == wire.Reject {
		if out, ok := w.signed(p, dst, from, now); ok {
			return out
		}
	}
	p.begin(dst, w.transport)
	bad := p.q.EDNS.CookieLen != 0 && !w.checkCookie(p, from.Addr(), now)
	switch {
	case d == wire.Reject:
		p.rcode = p.q.Rcode
	case d == wire.CookieOnly:
		// The OPT with a fresh cookie is the whole answer, RFC 7873 section 5.4.
	case bad && p.cookies.Enforce && w.transport == UDP:
		p.rcode = wire.RcodeBadCookie
	case p.accept():
		w.find(p, from, now)
	}
	return w.finish(p, from, now)
}

// find looks the name up, unless that is done, and hands over to whoever answers
// for it.
func (w *Worker) find(p *reply, from netip.AddrPort, now int64) {
	if !p.looked {
		p.node, p.zone, p.found = p.s.Names.Find(&p.q)
	}
	node, z := p.node, p.zone
	switch p.found {
	case zone.Outside:
		p.refuse(edeNotAuthoritative)
		return
	case zone.Miss:
		if node.Below != zone.Nothing {
			w.compose(p, node, z, zone.Miss, from.Addr(), now)
			return
		}
		p.negative(z, wire.RcodeNXDomain)
		return
	case zone.Hit:
	}
	p.flags = wire.FlagAA
	switch node.Kind {
	case zone.Global:
		w.global(p, node, z, from.Addr(), now)
	case zone.Explain:
		p.explain(node, z, from.Addr(), now)
	case zone.Whoami:
		p.whoami(z, from)
	default:
		w.static(p, node, z, from.Addr(), now)
	}
}

// static answers from what was packed for a name.
func (w *Worker) static(p *reply, node *zone.Node, z *zone.Zone, from netip.Addr, now int64) {
	set := p.s.Names.Answer(node, p.q.Type)
	switch {
	case set == nil:
		p.negative(z, wire.RcodeNoError)
	case set.End == zone.Complete:
		p.msg, p.counts = p.s.Names.Append(p.msg, set, p.s.Serials[z.Number].Load(), p.limit-p.reserve())
	default:
		w.compose(p, node, z, zone.Hit, from, now)
	}
}
