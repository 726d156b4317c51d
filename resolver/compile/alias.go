package compile

import (
	"portolan.dev/resolver/wire"
	"portolan.dev/resolver/zone"
)

// maxChain bounds the CNAMEs of one answer, as the path of a query does for those that
// it follows itself.
const maxChain = 16

// end is what stands at the end of a CNAME chain.
type end uint8

const (
	endOutside end = iota // of the zone: whoever asks goes on there
	endMissing            // no such name
	endEmpty              // an empty non-terminal
	endCut                // at or below a delegation
	endStatic             // a name with records
	endDynamic            // what answers depends on the query, or on a decision
)

// alias returns what the name of a CNAME answers: the CNAME itself, and for all other
// types the chain that begins with it together with what is at its end, packed for each
// type that is there. Where the end depends on the query the chain is followed link by
// link at run time.
func (c *content) alias(n *staticName) []zone.Set {
	only := *n.set(wire.TypeCNAME)
	chain := own(n.name, &only)
	seen := map[string]bool{string(n.name): true}
	for {
		name := fold(chain[len(chain)-1].Data)
		kind, at := c.end(name)
		if kind == endStatic && at.set(wire.TypeCNAME) != nil {
			if seen[string(name)] || len(chain) == maxChain {
				return []zone.Set{only, {Chain: chain}}
			}
			seen[string(name)] = true
			chain = append(chain, own(at.name, at.set(wire.TypeCNAME))...)
			continue
		}
		return append([]zone.Set{only}, c.ended(chain, kind, at, name)...)
	}
}

// ended returns the answers that begin with a chain and end as kind says.
func (c *content) ended(chain []wire.RR, kind end, at *staticName, name []byte) []zone.Set {
	rest := zone.Set{Chain: chain}
	switch kind {
	case endOutside:
	case endMissing:
		rest.End = zone.NoName
	case endEmpty:
		rest.End = zone.NoData
	case endDynamic:
		return []zone.Set{{Chain: chain[:1], End: zone.Chase}}
	case endCut:
		sets := []zone.Set{c.refer(at)}
		sets[0].Chain = chain
		if string(name) == string(at.name) { // asked of the upper side of the cut
			ds := zone.Set{Type: wire.TypeDS, Chain: chain, End: zone.NoData}
			if have := at.set(wire.TypeDS); have != nil {
				ds.Chain, ds.End = join(chain, own(at.name, have)), zone.Complete
			}
			sets = append(sets, ds)
		}
		return sets
	case endStatic:
		sets := make([]zone.Set, 0, len(at.sets)+1)
		for i := range at.sets {
			sets = append(sets, zone.Set{Type: at.sets[i].Type, Chain: join(chain, own(at.name, &at.sets[i]))})
		}
		rest.End = zone.NoData
		return append(sets, rest)
	}
	return []zone.Set{rest}
}

func join(a, b []wire.RR) []wire.RR {
	return append(append(make([]wire.RR, 0, len(a)+len(b)), a...), b...)
}

// end says what a chain to a folded name ends with.
func (c *content) end(name []byte) (end, *staticName) {
	if !wire.InZone(name, c.apex) || c.b.owner(name) != c.id {
		return endOutside, nil
	}
	if len(name) == len(c.apex) || name[0] == 1 && name[1] == '*' {
		return endDynamic, nil // the apex is packed with the zone; a wildcard is several names
	}
	if up := c.above(name); up != nil {
		if up.set(wire.TypeNS) != nil {
			return endCut, up
		}
		return endDynamic, nil
	}
	if n := c.find(name); n != nil {
		return endStatic, n
	}
	return c.endless(name), nil
}

// endless is end for a name without records in the file.
func (c *content) endless(name []byte) end {
	if c.b.names.Defined(name) || c.redirected {
		return endDynamic
	}
	c.fill()
	if c.exists[string(name)] || c.b.names.Exists(name) {
		return endEmpty
	}
	for off := int(name[0]) + 1; len(name)-off >= len(c.apex); off += int(name[off]) + 1 {
		up := name[off:]
		if !c.exists[string(up)] && !c.b.names.Exists(up) {
			continue
		}
		if wild := append([]byte{1, '*'}, up...); c.exists[string(wild)] || c.b.names.Exists(wild) {
			return endDynamic
		}
		break
	}
	return endMissing
}

// fill fills in exists.
func (c *content) fill() {
	if c.exists != nil {
		return
	}
	c.exists = make(map[string]bool)
	for _, n := range c.b.static[c.id] {
		if up := c.above(n.name); up != nil && up != n {
			continue
		}
		for off := 0; len(n.name)-off > len(c.apex); off += int(n.name[off]) + 1 {
			c.exists[string(n.name[off:])] = true
		}
	}
}
