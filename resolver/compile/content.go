package compile

import (
	"errors"
	"fmt"
	"slices"

	"portolan.dev/resolver"
	"portolan.dev/resolver/wire"
	"portolan.dev/resolver/zone"
)

// content is what the records of a zone say together, for the answers that need more
// than the records of one name.
type content struct {
	b    *builder
	id   int
	apex []byte
	soa  zone.SOA
	ns   zone.Set
	// at is what stands at the apex but SOA and NS, once the zone is added; nil for
	// nothing.
	at *staticName
	// exists holds the folded names of the records that this zone answers for, and
	// the empty non-terminals above them; made when it is first needed.
	exists map[string]bool
	// redirected says that the apex has a DNAME record: no other name exists.
	redirected bool
	servers    int    // NS records at the apex
	serial     uint32 // of the file; 0 without
}

func (b *builder) content(id int, apex []byte) *content {
	return &content{b: b, id: id, apex: apex}
}

// find returns the static name of a folded name, nil without one.
func (c *content) find(name []byte) *staticName {
	if len(name) == len(c.apex) && c.at != nil {
		return c.at
	}
	return c.b.static[c.id][string(name)]
}

// above returns the name at or above a folded name that answers for what is below it
// instead of the zone: the delegation or the DNAME that is nearest to the apex. Data
// at the DNAME itself is its own.
func (c *content) above(name []byte) *staticName {
	var found *staticName
	for off := 0; len(name)-off > len(c.apex); off += int(name[off]) + 1 {
		n := c.find(name[off:])
		if n != nil && (n.set(wire.TypeNS) != nil || off > 0 && n.set(wire.TypeDNAME) != nil) {
			found = n
		}
	}
	return found
}

// records defines the static names below the apexes, after the registries, so
// that the clash is told of the file's name and not of the registry's.
func (b *builder) records() {
	for id, c := range b.contents {
		if c.redirected && slices.ContainsFunc(b.s.Registries, func(r resolver.Registry) bool { return int(r.Zone) == id }) {
			b.zoneFault(id, errors.New("records: the zone has a DNAME record at its apex, below which nothing else exists: move the registries to another zone, or remove the record"))
		}
		for _, key := range b.order[id] {
			n, ok := b.static[id][key]
			if !ok {
				continue
			}
			if err := c.define(n); err != nil {
				if n.file != "" {
					err = fmt.Errorf("records: %s:%d: %w", n.file, n.line, err)
				}
				b.zoneFault(id, err)
			}
		}
	}
}

// define defines one static name, unless it is one of another server's.
func (c *content) define(n *staticName) error {
	if c.redirected {
		return fmt.Errorf("%s lies below the DNAME record of the zone: remove one of them", wire.AppendName(nil, n.name))
	}
	if up := c.above(n.name); up != nil && up != n {
		return nil // glue
	}
	if (n.set(wire.TypeNS) != nil || n.set(wire.TypeDNAME) != nil) && c.b.names.Exists(n.name) {
		return fmt.Errorf("%s: names of a registry or for diagnostics lie at or below it: move them to another zone, or remove the record", wire.AppendName(nil, n.name))
	}
	err := c.b.names.Define(c.id, n.name, zone.Static, 0, c.answers(n)...)
	if errors.Is(err, zone.ErrDefined) {
		err = fmt.Errorf("%w, as a name of a registry or for diagnostics: rename one of them", err)
	}
	return err
}

// answers returns what a name answers.
func (c *content) answers(n *staticName) []zone.Set {
	switch {
	case n.set(wire.TypeNS) != nil:
		return c.referral(n)
	case n.set(wire.TypeCNAME) != nil:
		return c.alias(n)
	}
	sets := slices.Clone(n.sets)
	for i := range sets {
		sets[i].Additional = c.additional(&sets[i])
	}
	return sets
}

// referral returns what a delegation answers: a referral to all but questions about
// the DS record, which the upper side of the cut answers (RFC 4035 section 3.1.4.1).
func (c *content) referral(n *staticName) []zone.Set {
	to := c.refer(n)
	to.End = zone.Referral
	ds := zone.Set{Type: wire.TypeDS, End: zone.NoData}
	if have := n.set(wire.TypeDS); have != nil {
		ds = *have
	}
	return []zone.Set{to, ds}
}

// refer returns the sections of a referral to the servers of n.
func (c *content) refer(n *staticName) (to zone.Set) {
	ns := n.set(wire.TypeNS)
	to.Authority = own(n.name, ns)
	for _, data := range ns.Data {
		server := fold(data)
		rrs := c.addresses(server)
		if wire.InZone(server, n.name) {
			to.Glue = append(to.Glue, rrs...)
		} else {
			to.Additional = append(to.Additional, rrs...)
		}
	}
	return to
}

// additional returns the addresses of the hosts that an RRset names, as far as this
// zone has them: for NS, MX (RFC 1035 section 3.3) and SRV (RFC 2782).
func (c *content) additional(s *zone.Set) []wire.RR {
	fixed := 0
	switch s.Type {
	case wire.TypeNS:
	case wire.TypeMX:
		fixed = 2
	case wire.TypeSRV:
		fixed = 6
	default:
		return s.Additional
	}
	var out []wire.RR
	var seen [][]byte
	for _, data := range s.Data {
		host := fold(data[fixed:])
		if slices.ContainsFunc(seen, func(n []byte) bool { return string(n) == string(host) }) {
			continue
		}
		seen = append(seen, host)
		out = append(out, c.addresses(host)...)
	}
	return out
}

// addresses returns the address records of a host.
func (c *content) addresses(host []byte) []wire.RR {
	n := c.find(host)
	if n == nil {
		return nil
	}
	var out []wire.RR
	for _, typ := range []uint16{wire.TypeA, wire.TypeAAAA} {
		if s := n.set(typ); s != nil {
			out = append(out, own(n.name, s)...)
		}
	}
	return out
}

// own returns the records of an RRset.
func own(name []byte, s *zone.Set) []wire.RR {
	rrs := make([]wire.RR, len(s.Data))
	for i, data := range s.Data {
		rrs[i] = wire.RR{Owner: name, Type: s.Type, Class: wire.ClassIN, TTL: s.TTL, Data: data}
	}
	return rrs
}
