package compile

import (
	"fmt"

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
	compiled.Number = b.o.Numbering.Registry(compiled.Name)
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
	slot := b.o.Slots.block(compiled.Name, r.Key, b.labels(compiled.Configured))
	names := newOwners(r, global)
	for _, replica := range byRegion {
		if err := b.replicaNames(zoneID, r, replica, &names); err != nil {
			return err
		}
		if err := b.packGlobal(&names, r, replica, slot); err != nil {
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

// labels returns the labels of the regions in a mask, in order. They are overwritten
// by the next call.
func (b *builder) labels(m decide.Mask) []string {
	labels := b.scratch.labels[:0]
	for i := range b.s.Regions {
		if m.Has(uint8(i)) {
			labels = append(labels, b.s.Regions[i].Label)
		}
	}
	b.scratch.labels = labels
	return labels
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
