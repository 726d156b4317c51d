package compile

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"

	"portolan.dev/config"
	"portolan.dev/resolver"
	"portolan.dev/resolver/decide"
	"portolan.dev/resolver/wire"
	"portolan.dev/resolver/zone"
)

// registries defines the global, regional, data and diagnostic names.
func (b *builder) registries() {
	for i := range b.c.Zones {
		if b.contents[i].redirected {
			continue // nothing else exists
		}
		whoami, err := wire.ParseName("_whoami." + b.c.Zones[i].Name)
		if err == nil {
			err = b.names.Define(i, whoami, zone.Whoami, 0)
		}
		if err != nil {
			b.fault(b.c.Zones[i].Pos, "zones."+trimDot(b.c.Zones[i].Name), err)
		}
	}
	for i := range b.c.Registries {
		r := &b.c.Registries[i]
		if err := b.registry(r); err != nil {
			b.fault(r.Pos, "registries."+r.Key, err)
		}
	}
}

// registry defines all names of one registry and packs its global answers.
func (b *builder) registry(r *config.Registry) error {
	zoneID, ok := b.zoneIDs[r.Zone]
	if !ok {
		return fmt.Errorf("zone %s is not served: add it to `zones`", trimDot(r.Zone))
	}
	id := uint32(len(b.s.Registries))
	global, err := wire.ParseName(r.GlobalName())
	if err != nil {
		return err
	}
	compiled := resolver.Registry{
		First: uint32(len(b.s.Replicas)), Zone: uint32(zoneID), TTL: seconds(r.Sticky.TTL),
		Key: r.Key, Name: r.GlobalName(),
	}
	compiled.Number = b.o.Numbering.Registry(r.Key)
	compiled.Policy = b.policy(r, zoneID)
	if r.AllDown == config.AllDownNoData {
		compiled.AllDown = decide.ServeNothing
	}
	byRegion, err := b.byRegion(r, &compiled.Configured)
	if err != nil {
		return err
	}
	b.s.Registries = append(b.s.Registries, compiled)
	b.result.Index[r.Key] = int(id)
	slot := b.o.Slots.block(r.Key, b.labels(compiled.Configured))
	for _, replica := range byRegion {
		if err := b.replicaNames(zoneID, r, replica); err != nil {
			return err
		}
		if err := b.packGlobal(global, r, replica, slot); err != nil {
			return err
		}
		slot++
	}
	if r.Name == config.Apex {
		err = b.names.Redefine(global, zone.Global, id)
	} else {
		err = b.names.Define(zoneID, global, zone.Global, id)
	}
	if err != nil {
		return fmt.Errorf("%w: rename the registry or what has the name", err)
	}
	explain, err := wire.ParseName("_explain." + r.GlobalName())
	if err != nil {
		return err
	}
	return b.names.Define(zoneID, explain, zone.Explain, id)
}

// policy returns how clients of r are held. Name servers that do not share holds
// would give one client two replicas at once, which is worse than no holds, so a
// zone with several gets none unless the file asks for them.
func (b *builder) policy(r *config.Registry, zoneID int) decide.Policy {
	if r.Sticky.Hold == 0 || b.contents[zoneID].servers > 1 && !r.Sticky.HoldWritten {
		return decide.Policy{}
	}
	return decide.Policy{
		Idle: seconds(r.Sticky.Idle), Hold: seconds(r.Sticky.Hold), Renewals: uint8(min(max(r.Sticky.Renewals, 1), 15)),
	}
}

// byRegion orders the replicas of r by region number, which is how the snapshot
// holds them, whatever their order in the file.
func (b *builder) byRegion(r *config.Registry, configured *decide.Mask) ([]*config.Replica, error) {
	var at [decide.MaxRegions]*config.Replica
	for i := range r.Replicas {
		number, ok := b.regions[r.Replicas[i].Region]
		if !ok {
			return nil, fmt.Errorf("region %s is not known", r.Replicas[i].Region)
		}
		at[number] = &r.Replicas[i]
		*configured = configured.With(number, true)
	}
	ordered := make([]*config.Replica, 0, len(r.Replicas))
	for _, replica := range at {
		if replica != nil {
			ordered = append(ordered, replica)
		}
	}
	return ordered, nil
}

// labels returns the labels of the regions in a mask, in order.
func (b *builder) labels(m decide.Mask) []string {
	labels := make([]string, 0, m.Count())
	for i := range b.s.Regions {
		if m.Has(uint8(i)) {
			labels = append(labels, b.s.Regions[i].Label)
		}
	}
	return labels
}

// replicaNames defines the regional and the data name of a replica, where the
// registry has them.
func (b *builder) replicaNames(zoneID int, r *config.Registry, replica *config.Replica) error {
	label := config.Label(replica.Region)
	ttl := seconds(r.RegionalTTL)
	if r.RegionalEndpoints {
		if err := b.define(zoneID, r.RegionalName(label), endpointSets(replica, ttl)); err != nil {
			return err
		}
	}
	if r.DataEndpoints && replica.Data != nil {
		data := &config.Replica{Addresses: replica.Data.Addresses, Target: replica.Data.Target}
		return b.define(zoneID, r.DataName(label), endpointSets(data, ttl))
	}
	return nil
}

func (b *builder) define(zoneID int, text string, sets []zone.Set) error {
	name, err := wire.ParseName(text)
	if err != nil {
		return err
	}
	return b.names.Define(zoneID, name, zone.Static, 0, sets...)
}

// endpointSets returns what a name that leads to one replica holds: its
// addresses, or the CNAME to its target.
func endpointSets(replica *config.Replica, ttl uint32) []zone.Set {
	if replica.Target == "" {
		return addressSets(replica.Addresses, ttl)
	}
	target, err := wire.ParseName(replica.Target)
	if err != nil {
		return nil // config.Load has checked it
	}
	return []zone.Set{{Type: wire.TypeCNAME, TTL: ttl, Data: [][]byte{target}}}
}

// packGlobal packs what the global name answers when replica is chosen.
func (b *builder) packGlobal(global []byte, r *config.Registry, replica *config.Replica, slot uint32) error {
	out := resolver.Replica{Body: uint32(len(b.s.Bodies)), Slot: slot}
	direct := direct(r)
	addrs, err := globalAddresses(r, replica)
	if err != nil {
		return err
	}
	owner, ttl := global, seconds(r.Sticky.TTL)
	var alias []wire.RR
	if !direct && r.RegionalEndpoints {
		regional, err := wire.ParseName(r.RegionalName(config.Label(replica.Region)))
		if err != nil {
			return err
		}
		alias = append(alias, cname(owner, regional, ttl))
		owner, ttl = regional, seconds(r.RegionalTTL)
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
	if err := b.packParts(global, owner, ttl, alias, addrs, &out); err != nil {
		return fmt.Errorf("region %s: %w", replica.Region, err)
	}
	b.s.Replicas = append(b.s.Replicas, out)
	return nil
}

func cname(owner, target []byte, ttl uint32) wire.RR {
	return wire.RR{Owner: owner, Type: wire.TypeCNAME, Class: wire.ClassIN, TTL: ttl, Data: target}
}

// packParts packs alias and addresses. Each family is packed behind the alias by
// a packer of its own, so that both begin at the same offset of a response.
func (b *builder) packParts(global, owner []byte, ttl uint32, alias []wire.RR, addrs []netip.Addr, out *resolver.Replica) error {
	if len(b.s.Bodies) > math.MaxUint32-2*math.MaxUint16 {
		return errors.New("more than 4 GiB of answers: split the registries over several servers")
	}
	out.AliasCount = uint8(len(alias))
	body, aliasLen, err := packRecords(global, alias)
	if err != nil {
		return err
	}
	b.s.Bodies = append(b.s.Bodies, body...)
	out.Alias = uint16(aliasLen)
	for _, set := range addressSets(addrs, ttl) {
		if len(set.Data) > math.MaxUint8 {
			return fmt.Errorf("%d addresses of one family: use at most 255", len(set.Data))
		}
		rrs := slices.Clone(alias)
		for _, data := range set.Data {
			rrs = append(rrs, wire.RR{Owner: owner, Type: set.Type, Class: wire.ClassIN, TTL: set.TTL, Data: data})
		}
		packed, _, err := packRecords(global, rrs)
		if err != nil {
			return err
		}
		part := packed[aliasLen:]
		b.s.Bodies = append(b.s.Bodies, part...)
		if set.Type == wire.TypeA {
			out.IPv4, out.IPv4Count = uint16(len(part)), uint8(len(set.Data))
		} else {
			out.IPv6, out.IPv6Count = uint16(len(part)), uint8(len(set.Data))
		}
	}
	return nil
}

// packRecords packs records behind a question about global.
func packRecords(global []byte, rrs []wire.RR) (body []byte, size int, err error) {
	p := wire.NewPacker(global)
	for _, rr := range rrs {
		if err := p.Add(rr); err != nil {
			return nil, 0, err
		}
	}
	return p.Bytes(), len(p.Bytes()), nil
}

// masks returns what the configuration alone says of the replicas of registry i:
// all up, routed unless switched off.
func (b *builder) masks(i int) decide.Masks {
	m := decide.Masks{Up: b.s.Registries[i].Configured}
	for _, replica := range b.c.Registries[i].Replicas {
		m.Routed = m.Routed.With(b.regions[replica.Region], replica.GlobalEndpointRouting)
	}
	return m
}
