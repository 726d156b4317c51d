package zone

import (
	"bytes"
	"fmt"

	"portolan.dev/resolver/wire"
)

// check looks at what the records of a file say together, and, if all of it has been
// read, at what is missing.
func (p *fileParser) check(all bool) {
	if p.Whole && all {
		p.checkApex()
	}
	for i := range p.records {
		r := &p.records[i]
		p.checkAlone(r)
		p.checkAbove(r)
		if all {
			p.checkServers(r)
		}
	}
}

func (p *fileParser) wrong(r *Record, format string, args ...any) {
	p.errs = append(p.errs, fmt.Errorf("%s:%d: %s: %s", p.Name, r.Line, wire.AppendName(nil, r.Name), fmt.Sprintf(format, args...)))
}

// checkApex asks for the records that every zone has.
func (p *fileParser) checkApex() {
	at := p.find(p.apex)
	if at == nil {
		at = &Record{Name: p.apex}
	}
	soa := at.Set(wire.TypeSOA)
	switch {
	case soa == nil:
		p.wrong(at, "the zone has no SOA record: add it, or give `nameservers` in the configuration")
	case len(soa.Data) > 1:
		p.wrong(at, "the zone has %d SOA records: keep one", len(soa.Data))
	}
	if at.Set(wire.TypeNS) == nil {
		p.wrong(at, "the zone has no NS record: add one for each name server, or give `nameservers` in the configuration")
	}
}

// checkAlone looks for what may not stand beside other records of its name.
func (p *fileParser) checkAlone(r *Record) {
	cname, dname := r.Set(wire.TypeCNAME), r.Set(wire.TypeDNAME)
	if cname != nil && (len(r.Sets) > 1 || len(cname.Data) > 1) {
		p.wrong(r, "a CNAME stands beside other records: keep one of them (RFC 1034 section 3.6.2)")
	}
	if dname != nil && len(dname.Data) > 1 {
		p.wrong(r, "%d DNAME records: keep one (RFC 6672 section 2.4)", len(dname.Data))
	}
	cut := p.cut(r)
	if r.Set(wire.TypeDS) != nil && !cut {
		p.wrong(r, "a DS record without NS records: it belongs to a delegation (RFC 4035 section 2.4)")
	}
	if !cut {
		return
	}
	for i := range r.Sets {
		switch r.Sets[i].Type {
		case wire.TypeNS, wire.TypeDS, wire.TypeA, wire.TypeAAAA:
		case wire.TypeCNAME: // said already
		default:
			p.wrong(r, "type %d stands at a delegation, where nobody would ever see it: move it to the zone below", r.Sets[i].Type)
		}
	}
}

// cut reports whether the names at and below a record are another server's.
func (p *fileParser) cut(r *Record) bool {
	return r.Set(wire.TypeNS) != nil && !bytes.Equal(r.Name, p.apex)
}

// checkAbove looks for names above that answer instead of r.
func (p *fileParser) checkAbove(r *Record) {
	for name := r.Name; !bytes.Equal(name, p.apex); {
		name = name[int(name[0])+1:]
		up := p.find(name)
		switch {
		case up == nil:
		case up.Set(wire.TypeDNAME) != nil:
			p.wrong(r, "it lies below the DNAME of %s, which answers for it: remove one of them (RFC 6672 section 2.4)", wire.AppendName(nil, name))
		case p.cut(up):
			for i := range r.Sets {
				if t := r.Sets[i].Type; t != wire.TypeA && t != wire.TypeAAAA {
					p.wrong(r, "type %d lies below the delegation of %s: only addresses of its name servers may stand there; move it to that zone", t, wire.AppendName(nil, name))
				}
			}
		}
	}
}

// checkServers looks for name servers that nobody could find (RFC 9471 section 2.1)
// or that are aliases (RFC 2181 section 10.3).
func (p *fileParser) checkServers(r *Record) {
	ns := r.Set(wire.TypeNS)
	if ns == nil {
		return
	}
	for _, data := range ns.Data {
		server := bytes.Clone(data)
		wire.Fold(server, data)
		if !wire.InZone(server, p.apex) {
			continue
		}
		at := p.find(server)
		switch {
		case at != nil && at.Set(wire.TypeCNAME) != nil:
			p.wrong(r, "its name server %s is a CNAME: give the name that this leads to (RFC 2181 section 10.3)", wire.AppendName(nil, server))
		case at != nil && (at.Set(wire.TypeA) != nil || at.Set(wire.TypeAAAA) != nil):
		case p.Addressed != nil && p.Addressed(server):
		case p.elsewhere(server, r.Name):
		default:
			p.wrong(r, "its name server %s is in zone %s and has no address: add an A or AAAA record for it", wire.AppendName(nil, server), p.origin)
		}
	}
}

// elsewhere reports whether the addresses of a name server are told by the name
// servers of another delegation than the one that names it.
func (p *fileParser) elsewhere(server, delegation []byte) bool {
	for name := server; !bytes.Equal(name, p.apex); name = name[int(name[0])+1:] {
		if up := p.find(name); up != nil && p.cut(up) {
			return !bytes.Equal(name, delegation)
		}
	}
	return false
}

// find returns the record of a folded name, nil without one.
func (p *fileParser) find(name []byte) *Record {
	i, ok := p.at[string(name)]
	if !ok {
		return nil
	}
	return &p.records[i]
}
