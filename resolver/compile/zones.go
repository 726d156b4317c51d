package compile

import (
	"fmt"
	"net/netip"
	"time"

	"portolan.dev/config"
	"portolan.dev/resolver/wire"
	"portolan.dev/resolver/zone"
)

// Timers of the SOA record, for secondaries and for whoever checks that they are sane
// (RFC 1912 section 2.2).
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
	file string // that it comes from; "" for the configuration
	line int    // of the file
}

// set returns the RRset of a type, nil without one.
func (n *staticName) set(typ uint16) *zone.Set {
	for i := range n.sets {
		if n.sets[i].Type == typ {
			return &n.sets[i]
		}
	}
	return nil
}

// zones defines every zone with SOA and NS, and gathers what else is static. It
// reports whether all zones are there to define names in: a fault of a zone file
// does not hide those of the registries.
func (b *builder) zones() bool {
	apexes := make([]zoneApex, len(b.c.Zones))
	for i := range b.c.Zones {
		z := &b.c.Zones[i]
		b.static, b.order, b.cuts = append(b.static, make(map[string]*staticName)), append(b.order, nil), append(b.cuts, nil)
		b.zoneIDs[z.Name] = i
		var err error
		if apexes[i], err = newZoneApex(z); err != nil {
			b.zoneFault(i, err)
			return false
		}
		b.apexIDs[string(apexes[i].name)] = i
	}
	// Two rounds: where two zones give addresses to one name server, the zone that
	// owns the name is believed.
	for _, own := range []bool{true, false} {
		for i := range apexes {
			b.nameservers(i, &apexes[i], own)
		}
	}
	for i := range apexes {
		if err := b.zoneFile(i, &b.c.Zones[i], &apexes[i]); err != nil {
			b.zoneFault(i, err)
			continue
		}
	}
	for i := range apexes {
		if err := b.apex(i, &apexes[i]); err != nil {
			b.zoneFault(i, err)
			return false
		}
	}
	return true
}

// apex adds zone id with what stands at its apex.
func (b *builder) apex(id int, a *zoneApex) error {
	c := b.content(id, a.name)
	c.soa, c.ns = a.soa, a.ns
	rest := []zone.Set{a.ns}
	at, ok := b.static[id][string(a.name)]
	if ok {
		for i := range at.sets {
			at.sets[i].Additional = c.additional(&at.sets[i])
		}
		rest = append(rest, at.sets...)
		delete(b.static[id], string(a.name))
		c.at = at
	}
	c.redirected = ok && at.set(wire.TypeDNAME) != nil
	c.servers, c.serial = len(a.ns.Data), a.serial
	b.contents = append(b.contents, c)
	_, err := b.names.AddZone(a.name, &a.soa, rest...)
	return err
}

func (b *builder) zoneFault(id int, err error) {
	b.fault(b.c.Zones[id].Pos, "zones."+trimDot(b.c.Zones[id].Name), err)
}

// zoneApex is what stands at the apex of a zone whatever its file says.
type zoneApex struct {
	name    []byte
	soa     zone.SOA
	ns      zone.Set
	servers []server // those inside the zone, which have addresses here
	serial  uint32   // of the file; 0 without
}

type server struct {
	name []byte
	sets []zone.Set
}

func newZoneApex(z *config.Zone) (zoneApex, error) {
	a := zoneApex{ns: zone.Set{Type: wire.TypeNS, TTL: seconds(z.TTL)}}
	var err error
	if a.name, err = wire.ParseName(z.Name); err != nil {
		return a, err
	}
	a.soa = zone.SOA{
		Refresh: seconds(soaRefresh), Retry: seconds(soaRetry), Expire: seconds(soaExpire),
		Minimum: seconds(z.NegativeTTL), TTL: seconds(z.TTL),
	}
	if a.soa.RName, err = wire.ParseName(z.Contact); err != nil {
		return a, fmt.Errorf("contact: %w", err)
	}
	for i, s := range z.Nameservers {
		name, err := wire.ParseName(s.Name)
		if err != nil {
			return a, fmt.Errorf("nameservers: %w", err)
		}
		if i == 0 {
			a.soa.MName = name
		}
		a.ns.Data = append(a.ns.Data, name)
		if !wire.InZone(name, a.name) {
			continue
		}
		a.servers = append(a.servers, server{name, addressSets(s.Addresses, seconds(z.TTL))})
		for _, set := range addressSets(s.Addresses, seconds(z.TTL)) {
			for _, data := range set.Data {
				a.ns.Additional = append(a.ns.Additional, wire.RR{Owner: name, Type: set.Type, Class: wire.ClassIN, TTL: set.TTL, Data: data})
			}
		}
	}
	return a, nil
}

// nameservers gathers the addresses of the name servers of a zone: of those that
// the zone owns, or of those that lie in a zone below it.
func (b *builder) nameservers(id int, a *zoneApex, own bool) {
	for _, s := range a.servers {
		owner := b.owner(s.name)
		if (owner == id) != own {
			continue
		}
		for _, set := range s.sets {
			b.addStatic(owner, s.name, set, "", 0)
		}
	}
}

// owner returns the zone that a name inside some zone belongs to.
func (b *builder) owner(name []byte) int {
	for off := 0; ; off += int(name[off]) + 1 {
		if id, ok := b.apexIDs[string(name[off:])]; ok {
			return id
		}
		if name[off] == 0 {
			return -1
		}
	}
}

// addStatic gathers one RRset; false if the name has one of that type.
func (b *builder) addStatic(id int, name []byte, set zone.Set, file string, line int) bool {
	n, ok := b.static[id][string(name)]
	if !ok {
		n = &staticName{name: name, file: file, line: line}
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

func seconds(d time.Duration) uint32 { return uint32(d / time.Second) }

func trimDot(name string) string {
	if name == "." {
		return name
	}
	return name[:len(name)-1]
}
