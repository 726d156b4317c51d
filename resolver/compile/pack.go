package compile

import (
	"errors"
	"fmt"
	"math"
	"net/netip"

	"portolan.dev/config"
	"portolan.dev/resolver"
	"portolan.dev/resolver/wire"
	"portolan.dev/resolver/zone"
)

// scratch is what packing works in, used again for every name.
type scratch struct {
	packer wire.Packer
	sets   []zone.Set
	data   [][]byte
	octets []byte
	alias  []wire.RR
	labels []string
}

// addressSets returns the RRsets of addresses, A first. They are overwritten by the
// next call.
func (s *scratch) addressSets(addrs []netip.Addr, ttl uint32) []zone.Set {
	s.sets, s.data, s.octets = s.sets[:0], s.data[:0], s.octets[:0]
	for _, family := range [...]zone.Set{{Type: wire.TypeA, TTL: ttl}, {Type: wire.TypeAAAA, TTL: ttl}} {
		first := len(s.data)
		for _, a := range addrs {
			if a.Is4() != (family.Type == wire.TypeA) {
				continue
			}
			at := len(s.octets)
			if a.Is4() {
				b := a.As4()
				s.octets = append(s.octets, b[:]...)
			} else {
				b := a.As16()
				s.octets = append(s.octets, b[:]...)
			}
			s.data = append(s.data, s.octets[at:])
		}
		if family.Data = s.data[first:len(s.data):len(s.data)]; len(family.Data) > 0 {
			s.sets = append(s.sets, family)
		}
	}
	return s.sets
}

// define defines a name that leads to one replica: its addresses, or the CNAME to its
// target.
func (b *builder) define(zoneID int, name []byte, addrs []netip.Addr, target string, ttl uint32) error {
	if target == "" {
		return b.names.Define(zoneID, name, zone.Static, 0, b.scratch.addressSets(addrs, ttl)...)
	}
	to, err := wire.ParseName(target)
	if err != nil {
		return err
	}
	return b.names.Define(zoneID, name, zone.Static, 0, zone.Set{Type: wire.TypeCNAME, TTL: ttl, Data: [][]byte{to}})
}

// packGlobal packs what the global name answers when replica is chosen.
func (b *builder) packGlobal(o *owners, r *config.Registry, replica *config.Replica, slot uint32) error {
	out := resolver.Replica{Body: uint32(len(b.s.Bodies)), Slot: slot}
	direct := direct(r)
	addrs, err := globalAddresses(r, replica)
	if err != nil {
		return err
	}
	owner, ttl := o.global, seconds(r.Sticky.TTL)
	alias := b.scratch.alias[:0]
	if !direct && r.RegionalEndpoints {
		alias = append(alias, cname(owner, o.regional, ttl))
		owner, ttl = o.regional, seconds(r.RegionalTTL)
	}
	if replica.Target != "" && !direct {
		target, err := wire.ParseName(replica.Target)
		if err != nil {
			return err
		}
		alias = append(alias, cname(owner, target, ttl))
	}
	if replica.Target != "" && direct {
		b.target(r, replica, &out)
	}
	b.scratch.alias = alias
	if err := b.packParts(o.global, wire.RR{Owner: owner, Class: wire.ClassIN, TTL: ttl}, addrs, &out); err != nil {
		return fmt.Errorf("region %s: %w", replica.Region, err)
	}
	if out.IPv4Count > 1 || out.IPv6Count > 1 {
		b.severalAddresses(replica, &out)
	}
	b.s.Replicas = append(b.s.Replicas, out)
	return nil
}

func cname(owner, target []byte, ttl uint32) wire.RR {
	return wire.RR{Owner: owner, Type: wire.TypeCNAME, Class: wire.ClassIN, TTL: ttl, Data: target}
}

// packParts packs the alias and addresses, whose records are like record. Each family
// is packed behind the alias by a packing of its own, so that both begin at the same
// offset of a response.
func (b *builder) packParts(global []byte, record wire.RR, addrs []netip.Addr, out *resolver.Replica) error {
	if uint64(len(b.s.Bodies)) > math.MaxUint32-2*math.MaxUint16 {
		return errors.New("more than 4 GiB of answers: split the registries over several servers")
	}
	p, alias := &b.scratch.packer, b.scratch.alias
	out.AliasCount = uint8(len(alias))
	if err := packRecords(p, global, alias); err != nil {
		return err
	}
	out.Alias = uint16(len(p.Bytes()))
	b.s.Bodies = append(b.s.Bodies, p.Bytes()...)
	for _, set := range b.scratch.addressSets(addrs, record.TTL) {
		if len(set.Data) > math.MaxUint8 {
			return fmt.Errorf("%d addresses of one family: use at most 255", len(set.Data))
		}
		if err := packRecords(p, global, alias); err != nil {
			return err
		}
		for _, record.Data = range set.Data {
			record.Type = set.Type
			if err := p.Add(record); err != nil {
				return err
			}
		}
		part := p.Bytes()[out.Alias:]
		b.s.Bodies = append(b.s.Bodies, part...)
		if set.Type == wire.TypeA {
			out.IPv4, out.IPv4Count = uint16(len(part)), uint8(len(set.Data))
		} else {
			out.IPv6, out.IPv6Count = uint16(len(part)), uint8(len(set.Data))
		}
	}
	return nil
}

// packRecords begins to pack behind a question about global.
func packRecords(p *wire.Packer, global []byte, rrs []wire.RR) error {
	p.Reset(global)
	for _, rr := range rrs {
		if err := p.Add(rr); err != nil {
			return err
		}
	}
	return nil
}

// reserve makes room for what the registries will need, so that the large arrays
// are not copied as they grow.
func (b *builder) reserve() {
	replicas, names := 0, 0
	for i := range b.c.Registries {
		r := &b.c.Registries[i]
		replicas += len(r.Replicas)
		names += 2 // global and _explain
		if r.RegionalEndpoints {
			names += len(r.Replicas)
		}
		if r.DataEndpoints {
			names += len(r.Replicas)
		}
	}
	b.names.Grow(names)
	b.s.Replicas = make([]resolver.Replica, 0, replicas)
	b.s.Registries = make([]resolver.Registry, 0, len(b.c.Registries))
}
