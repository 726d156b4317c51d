package compile

import (
	"bytes"
	"fmt"
	"net/netip"
	"time"

	"portolan.dev/config"
	"portolan.dev/resolver/wire"
	"portolan.dev/resolver/zone"
)

// Timers of the SOA record. No secondary transfers these zones, so they only
// have to look sane to whoever checks (RFC 1912 section 2.2).
const (
	soaRefresh = 2 * time.Hour
	soaRetry   = 15 * time.Minute
	soaExpire  = 14 * 24 * time.Hour
)

// staticName gathers the RRsets of one name from the name servers of the
// configuration and the zone file.
type staticName struct {
	name []byte
	sets []zone.Set
}

// zones defines every zone with SOA and NS, and gathers what else is static.
func (b *builder) zones() {
	for i := range b.c.Zones {
		z := &b.c.Zones[i]
		if err := b.zone(z); err != nil {
			b.fault(z.Pos, "zones."+trimDot(z.Name), err)
		}
	}
}

func (b *builder) zone(z *config.Zone) error {
	b.static = append(b.static, make(map[string]*staticName))
	b.order = append(b.order, nil)
	id := len(b.static) - 1
	b.zoneIDs[z.Name] = id
	apex, err := wire.ParseName(z.Name)
	if err != nil {
		return err
	}
	soa := &zone.SOA{
		Refresh: seconds(soaRefresh), Retry: seconds(soaRetry), Expire: seconds(soaExpire),
		Minimum: seconds(z.NegativeTTL), TTL: seconds(z.TTL),
	}
	if soa.RName, err = wire.ParseName(z.Contact); err != nil {
		return fmt.Errorf("contact: %w", err)
	}
	ns := zone.Set{Type: wire.TypeNS, TTL: seconds(z.TTL)}
	for i, server := range z.Nameservers {
		name, err := wire.ParseName(server.Name)
		if err != nil {
			return fmt.Errorf("nameservers: %w", err)
		}
		if i == 0 {
			soa.MName = name
		}
		ns.Data = append(ns.Data, name)
		if !inZone(name, apex) {
			continue
		}
		for _, set := range addressSets(server.Addresses, seconds(z.TTL)) {
			b.addStatic(id, name, set)
			for _, data := range set.Data {
				ns.Additional = append(ns.Additional, wire.RR{Owner: name, Type: set.Type, Class: wire.ClassIN, TTL: set.TTL, Data: data})
			}
		}
	}
	if err := b.zoneFile(id, z); err != nil {
		return err
	}
	rest := []zone.Set{ns}
	if at, ok := b.static[id][string(apex)]; ok {
		rest = append(rest, at.sets...)
		delete(b.static[id], string(apex))
	}
	_, err = b.names.AddZone(apex, soa, rest...)
	return err
}

// zoneFile reads the optional master file of a zone.
func (b *builder) zoneFile(id int, z *config.Zone) error {
	if z.Records == "" {
		return nil
	}
	data, err := b.readFile(z.Records)
	if err != nil {
		return fmt.Errorf("records: %w", err)
	}
	records, err := zone.Parse(bytes.NewReader(data), z.Records, z.Name, seconds(z.TTL))
	if err != nil {
		return fmt.Errorf("records: %w", err)
	}
	for _, r := range records {
		for _, set := range r.Sets {
			if !b.addStatic(id, r.Name, set) {
				return fmt.Errorf("records: %s: %s has address records from `nameservers` already: remove them from the file", z.Records, wire.AppendName(nil, r.Name))
			}
		}
	}
	return nil
}

// addStatic gathers one RRset; false if the name has one of that type.
func (b *builder) addStatic(id int, name []byte, set zone.Set) bool {
	n, ok := b.static[id][string(name)]
	if !ok {
		n = &staticName{name: name}
		b.static[id][string(name)] = n
		b.order[id] = append(b.order[id], string(name))
	}
	for _, have := range n.sets {
		if have.Type == set.Type {
			return false
		}
	}
	n.sets = append(n.sets, set)
	return true
}

// records defines the static names below the apexes, after the registries, so
// that the clash is told of the file's name and not of the registry's.
func (b *builder) records() {
	for id, names := range b.order {
		for _, key := range names {
			n, ok := b.static[id][key]
			if !ok {
				continue
			}
			if err := b.names.Define(id, n.name, zone.Static, 0, n.sets...); err != nil {
				b.fault(b.c.Zones[id].Pos, "zones."+trimDot(b.c.Zones[id].Name), fmt.Errorf("%w by a registry or a name server: rename one of them", err))
			}
		}
	}
}

// addressSets returns the A and the AAAA RRset of some addresses, as far as
// there are any, in the order given.
func addressSets(addrs []netip.Addr, ttl uint32) []zone.Set {
	var sets []zone.Set
	v4 := zone.Set{Type: wire.TypeA, TTL: ttl}
	v6 := zone.Set{Type: wire.TypeAAAA, TTL: ttl}
	for _, a := range addrs {
		if a.Is4() {
			v4.Data = append(v4.Data, a.AsSlice())
		} else {
			v6.Data = append(v6.Data, a.AsSlice())
		}
	}
	for _, set := range []zone.Set{v4, v6} {
		if len(set.Data) > 0 {
			sets = append(sets, set)
		}
	}
	return sets
}

func inZone(name, apex []byte) bool {
	for off := 0; ; off += int(name[off]) + 1 {
		if bytes.Equal(name[off:], apex) {
			return true
		}
		if name[off] == 0 {
			return false
		}
	}
}

func seconds(d time.Duration) uint32 { return uint32(d / time.Second) }

func trimDot(name string) string {
	if name == "." {
		return name
	}
	return name[:len(name)-1]
}
