package compile

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"portolan.dev/config"
	"portolan.dev/resolver/transfer"
	"portolan.dev/resolver/wire"
)

// transfers gathers the zones that secondaries may have, once all else is compiled.
func (b *builder) transfers() {
	var zones []*transfer.Zone
	for id := range b.c.Zones {
		if len(b.c.Zones[id].Transfer.Allow) == 0 {
			continue
		}
		z, err := b.transfer(id)
		if err != nil {
			b.zoneFault(id, fmt.Errorf("transfer: %w", err))
			continue
		}
		zones = append(zones, z)
	}
	if len(zones) == 0 {
		return
	}
	b.result.Transfers = transfer.NewSet(zones)
	b.s.Transfers = b.result.Transfers
}

// transfer gathers what a secondary gets of a zone: what is the same for everybody.
func (b *builder) transfer(id int) (*transfer.Zone, error) {
	z, c := &b.c.Zones[id], b.contents[id]
	out := &transfer.Zone{Name: z.Name, Apex: c.apex, TTL: c.soa.TTL, Allow: z.Transfer.Allow, Notify: z.Transfer.Notify}
	out.SOA = append(append(out.SOA, c.soa.MName...), c.soa.RName...)
	out.SerialAt = len(out.SOA)
	for _, v := range []uint32{0, c.soa.Refresh, c.soa.Retry, c.soa.Expire, c.soa.Minimum} {
		out.SOA = binary.BigEndian.AppendUint32(out.SOA, v)
	}
	snapshot := b.s
	out.Serial = func() uint32 { return snapshot.Serials[id].Load() }
	if z.Transfer.TSIG != "" {
		data, err := b.o.ReadSecret(z.Transfer.TSIG)
		if err != nil {
			return nil, fmt.Errorf("tsig: %w", err)
		}
		if out.Key, err = transfer.ParseKey(string(data)); err != nil {
			return nil, fmt.Errorf("tsig: %s %w", z.Transfer.TSIG, err)
		}
	}
	out.Records = own(c.apex, &c.ns)
	if c.at != nil {
		out.Records = append(out.Records, ownAll(c.at)...)
	}
	for _, key := range b.order[id] {
		if n, ok := b.static[id][key]; ok {
			out.Records = append(out.Records, ownAll(n)...)
		}
	}
	for _, n := range b.cuts[id] {
		out.Records = append(out.Records, ownAll(n)...)
	}
	for i := range b.c.Registries {
		if r := &b.c.Registries[i]; r.Zone == z.Name {
			out.Records = append(out.Records, endpoints(r)...)
		}
	}
	return out, nil
}

// ownAll returns all records of a name.
func ownAll(n *staticName) []wire.RR {
	out := make([]wire.RR, 0, len(n.sets))
	for i := range n.sets {
		out = append(out, own(n.name, &n.sets[i])...)
	}
	return out
}

// endpoints returns the records of the regional and data names of a registry.
func endpoints(r *config.Registry) []wire.RR {
	var out []wire.RR
	for i := range r.Replicas {
		p, ttl := &r.Replicas[i], seconds(r.RegionalTTL)
		label := config.Label(p.Region)
		if r.RegionalEndpoints {
			out = append(out, endpoint(r.RegionalName(label), p.Addresses, p.Target, ttl)...)
		}
		if r.DataEndpoints && p.Data != nil {
			out = append(out, endpoint(r.DataName(label), p.Data.Addresses, p.Data.Target, ttl)...)
		}
	}
	return out
}

// endpoint returns the records of a name that leads to one replica. What cannot be a
// name has been refused when the name was defined.
func endpoint(text string, addrs []netip.Addr, target string, ttl uint32) []wire.RR {
	name, err := wire.ParseName(text)
	if err != nil {
		return nil
	}
	if target != "" {
		to, err := wire.ParseName(target)
		if err != nil {
			return nil
		}
		return []wire.RR{cname(name, to, ttl)}
	}
	out := make([]wire.RR, len(addrs))
	for i, a := range addrs {
		out[i] = wire.RR{Owner: name, Type: wire.TypeAAAA, Class: wire.ClassIN, TTL: ttl, Data: a.AsSlice()}
		if a.Is4() {
			out[i].Type = wire.TypeA
		}
	}
	return out
}
