package resolver

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"portolan.dev/resolver/wire"
	"portolan.dev/resolver/zone"
)

// maxLinks bounds how many names one answer leads through while it is put together.
// What has been collected by then is the answer; a resolver asks for the rest.
const maxLinks = 16

// spot is a name that is spelled out in a response, octets long from offset at on:
// the question's, or the target of a CNAME that the answer goes on with.
type spot struct{ at, octets int }

// spelled returns the name at a spot, as it was written.
func (p *reply) spelled(s spot) []byte {
	from := p.start + s.at
	return p.msg[from : from+s.octets]
}

// question is the spot of the query name.
func (p *reply) question() spot { return spot{wire.HeaderLen, len(p.q.Name())} }

// path is the names that an answer has led through, and where a DNAME did that, its
// node.
type path struct {
	names  [maxLinks]spot
	dnames [maxLinks]*zone.Node
	n      int
}

// compose answers where the records depend on the query: by wildcard, DNAME or
// delegation, and along CNAMEs that lead there or to a global name. It begins at
// p.owner, of which node and found say what the table holds.
func (w *Worker) compose(p *reply, node *zone.Node, z *zone.Zone, found zone.Found, from netip.Addr, now int64) {
	p.flags = wire.FlagAA
	for been := (path{}); ; {
		again := found == zone.Miss && node.Below == zone.Redirection && !been.first(node)
		if again && p.s.Names.Feeds(node) {
			return
		}
		target, more := w.link(p, node, z, found, again, from, now)
		if !more || !p.visit(&been, target) {
			return
		}
		var folded [wire.MaxName + 9]byte
		wire.Fold(folded[:], p.spelled(target))
		at := z
		if node, z, found = p.s.Names.FindName(folded[:], target.octets); z != at {
			return // another zone's, or another server's: the resolver asks there
		}
		p.owner = target
	}
}

// first remembers the DNAME of a node and reports whether it is new to the answer.
func (b *path) first(node *zone.Node) bool {
	if slices.Contains(b.dnames[:b.n], node) {
		return false
	}
	b.dnames[b.n] = node
	return true
}

// visit remembers the name that the answer leads from, and reports whether its
// target is a new one.
func (p *reply) visit(been *path, target spot) bool {
	been.names[been.n] = p.owner
	if been.n++; been.n == maxLinks {
		return false
	}
	for _, was := range been.names[:been.n] {
		if was.octets == target.octets && wire.EqualNames(p.spelled(was), p.spelled(target)) {
			return false
		}
	}
	return true
}

// link answers for the name at p.owner and returns the target that the answer goes
// on with, if it does. again says that the DNAME above it is in the answer already.
func (w *Worker) link(p *reply, node *zone.Node, z *zone.Zone, found zone.Found, again bool, from netip.Addr, now int64) (target spot, more bool) {
	if found == zone.Hit {
		switch node.Kind {
		case zone.Global:
			w.global(p, node, z, from, now)
			return spot{}, false
		case zone.Explain, zone.Whoami: // about the asker: asked for by name or not at all
			return spot{}, false
		case zone.Static:
		}
		return p.put(node, z, p.s.Names.Answer(node, p.q.Type), false)
	}
	switch node.Below {
	case zone.Delegation:
		return p.put(node, z, p.s.Names.Answer(node, wire.TypeANY), true)
	case zone.Redirection:
		return p.redirect(node, z, again)
	case zone.Wildcard:
		node = p.s.Names.Wildcard(node)
		return p.put(node, z, p.s.Names.Answer(node, p.q.Type), false)
	case zone.Nothing:
	}
	p.negative(z, wire.RcodeNXDomain)
	return spot{}, false
}

// put appends an answer of node for the name at p.owner: as the owner's own, or,
// above, as that of a name above it. Without an answer there is no data.
func (p *reply) put(node *zone.Node, z *zone.Zone, set *zone.RRset, above bool) (target spot, more bool) {
	if set == nil {
		p.negative(z, wire.RcodeNoError)
		return spot{}, false
	}
	body := len(p.msg) - p.start
	var counts wire.Counts
	p.msg, counts = p.s.Names.Append(p.msg, set, p.s.Serials[z.Number].Load(), p.limit-p.reserve())
	p.move(len(p.s.Names.Name(node)), body, above, int(counts.Answer+counts.Authority+counts.Additional))
	p.counts.Answer += counts.Answer
	p.counts.Authority += counts.Authority
	p.counts.Additional += counts.Additional
	switch set.End {
	case zone.NoData:
		p.negative(z, wire.RcodeNoError)
	case zone.NoName:
		p.negative(z, wire.RcodeNXDomain)
	case zone.Referral:
		if p.counts.Answer == 0 {
			p.flags = 0
		}
	case zone.Chase:
		at := body + set.Target()
		return spot{at, wire.NameLen(p.msg[p.start+at:])}, true
	case zone.Complete:
	}
	return spot{}, false
}

// move makes n records at offset body, packed for a question about a name of packed
// octets, belong to the name at p.owner, or to the one above it that has as many.
func (p *reply) move(packed, body int, above bool, n int) {
	m := wire.NewMove(packed, p.owner.at, p.owner.octets, body)
	if above {
		m.Whole = wire.HeaderLen + m.Suffix
	}
	if m.Suffix != 0 { // else nothing has moved: names of other places are longer or further on
		m.Apply(p.msg[p.start+body:], n)
	}
}

// redirect answers for a name below the DNAME record of node: the record, and the
// CNAME that it makes for this name, with the same TTL (RFC 6672 section 3.1). The
// CNAME is made for every asker: not all understand the other.
func (p *reply) redirect(node *zone.Node, z *zone.Zone, again bool) (target spot, more bool) {
	set := p.s.Names.Answer(node, wire.TypeDNAME)
	if !again {
		p.put(node, z, set, true)
	}
	to, ttl := p.s.Names.Redirect(set)
	prefix := p.owner.octets - len(p.s.Names.Name(node))
	if prefix+len(to) > wire.MaxName {
		p.rcode = wire.RcodeYXDomain
		return spot{}, false
	}
	p.msg = append(p.msg, 0xc0|byte(p.owner.at>>8), byte(p.owner.at), 0, byte(wire.TypeCNAME), 0, byte(wire.ClassIN))
	p.msg = binary.BigEndian.AppendUint32(p.msg, ttl)
	p.msg = binary.BigEndian.AppendUint16(p.msg, uint16(prefix+len(to)))
	target = spot{len(p.msg) - p.start, prefix + len(to)}
	p.msg = append(p.msg, p.spelled(spot{p.owner.at, prefix})...)
	p.msg = append(p.msg, to...)
	p.counts.Answer++
	return target, p.q.Type != wire.TypeCNAME && p.q.Type != wire.TypeANY
}
