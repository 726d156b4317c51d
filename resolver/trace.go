package resolver

import (
	"encoding/binary"
	"net/netip"
	"time"

	"portolan.dev/geo"
	"portolan.dev/resolver/decide"
	"portolan.dev/resolver/wire"
)

// Trace is one decision with all that led to it. It is made by the same steps as
// the answer itself, so it cannot tell another story.
type Trace struct {
	Registry, Name string
	// Asker is the address the query came from, Subnet the client subnet it
	// carried (the zero Prefix without one).
	Asker  netip.Addr
	Subnet netip.Prefix
	// BySubnet is true when the client subnet was what counted.
	BySubnet bool
	// Client is what counted, cut to the unit of a client: /24 or /48.
	Client netip.Prefix
	// Place is what is known of the address that counted.
	Place geo.Place
	// Site is the name of the configured network it lies in; empty for none.
	Site string
	// Scope is the prefix length that caches may share the answer for; 0 where the
	// query had no subnet.
	Scope   uint8
	Outcome decide.Outcome
	// Region is the label of the chosen replica's region; empty for none.
	Region string
	// Addresses are those that the answer leads to, LeftOut those of the replica that are
	// left out because they are dead. Both are empty where a host name is answered.
	Addresses, LeftOut []netip.Addr
	TTL                uint32 // seconds
	// Key is the client's unit in the activity table.
	Key decide.Key
	// HeldUntil is when the hold ends unless it is renewed, in Unix seconds by the wall
	// clock, and HeldFrom the region that would answer without it; 0 and empty without
	// one.
	HeldUntil uint32
	HeldFrom  string
	// Candidates are the replicas of the registry in the order of the client's
	// rank.
	Candidates []Candidate

	Node       string
	Generation uint64
	Serial     uint32

	region uint8 // the number of Region
}

// given returns the addresses that the global name answers for a replica, and those that
// it leaves out.
func (s *Snapshot) given(r *Replica) (addrs, leftOut []netip.Addr) {
	ipv4, ipv6, _ := s.addresses(r)
	for _, f := range []struct {
		part
		octets int
	}{{ipv4, 4}, {ipv6, 16}} {
		for i := range int(f.count) { // the records of a family have one length, and end with the address
			end := (i + 1) * len(f.records) / int(f.count)
			addr, _ := netip.AddrFromSlice(f.records[end-f.octets : end])
			addrs = append(addrs, addr)
		}
	}
	if r.Living != 0 {
		if a := s.Living[r.Living-1].Load(); a != nil {
			leftOut = a.LeftOut
		}
	}
	return addrs, leftOut
}

// Candidate is one replica as a decision saw it.
type Candidate struct {
	Region     string
	Kilometres *float64 // from the client; nil where it is not known where that is
	Bias       float64
	Routed, Up bool
	// Excluded says why health or the operator has taken it out; empty if not.
	Excluded string
	// Note says what else is to be known of it; empty for nothing.
	Note string
}

// FindRegistry returns the number of the registry with this key or global name.
func (s *Snapshot) FindRegistry(name string) (int, bool) {
	for i := range s.Registries {
		r := &s.Registries[i]
		if name == r.Key || name == r.Name || name+"." == r.Name {
			return i, true
		}
	}
	return 0, false
}

// Trace decides for one client as a query would, and says why. subnet is the
// client subnet of the query, or the zero Prefix; now is in Unix seconds. Nothing
// is remembered of the client.
func (s *Snapshot) Trace(registry int, asker netip.Addr, subnet netip.Prefix, now int64) Trace {
	e := ecsOf(subnet)
	return s.trace(registry, asker, &e, now)
}

// trace runs the steps of global with all reasons kept.
func (s *Snapshot) trace(registry int, asker netip.Addr, e *wire.ECS, now int64) Trace {
	t := s.decision(registry, asker, e, now)
	counted := asker
	if t.BySubnet {
		counted = t.Subnet.Addr()
	}
	t.Place = s.Places.Describe(counted)
	t.Site = s.siteName(t.Place)
	t.Client = unit(t.Place.Lookup)
	r, masks := &s.Registries[registry], s.Live[registry].Masks()
	if t.Outcome <= decide.Held {
		t.Addresses, t.LeftOut = s.given(s.replica(r, t.region))
	}
	for _, ranked := range t.Place.Ranking {
		if r.Configured.Has(uint8(ranked.Region)) {
			t.Candidates = append(t.Candidates, s.candidate(registry, ranked, masks, now))
		}
	}
	return t
}

// decision runs the steps of global and keeps what was decided: a Trace without where
// the client is and what became of each replica.
func (s *Snapshot) decision(registry int, asker netip.Addr, e *wire.ECS, now int64) Trace {
	r := &s.Registries[registry]
	var c client
	s.locate(&c, e, asker)
	live := &s.Live[registry]
	rank, masks := s.Places.Rank(c.class), live.Masks()
	region, outcome := decide.Choose(rank, masks, r.AllDown)
	nearest := region
	var hold decide.Entry
	key := s.unitKey(r, &c)
	if r.Policy.Hold != 0 && s.Holds != nil && outcome <= decide.AllDown {
		k := carried{key: key}
		if earlier := s.earlier.Load(); earlier != nil {
			l := s.lineage(*earlier, &c, e, asker, uint32(now))
			k = l.carry(s, r, uint32(now))
		}
		situation := s.situation(r, live, rank, masks)
		var held bool
		if key = k.key; k.adopt {
			region, hold, held = situation.Resume(k.entry, region, uint32(now))
		} else {
			region, hold, held = s.Holds.Peek(key, region, uint32(now), &situation)
		}
		if held {
			outcome = decide.Held
		}
	}
	t := Trace{
		Registry: r.Key, Name: r.Name, Asker: asker, Subnet: prefixOf(e), BySubnet: c.subnet,
		Scope: c.scopeFor(r), Outcome: outcome, TTL: r.TTL, Key: key,
		Node: s.Identity, Generation: s.Generation, Serial: s.Serials[r.Zone].Load(),
	}
	if outcome <= decide.Held {
		t.Region, t.region = s.Regions[region].Label, region
	}
	if outcome == decide.Held {
		t.HeldUntil, t.HeldFrom = uint32(s.Wall.seconds(int64(hold.Until))), s.Regions[nearest].Label
	}
	return t
}

func (s *Snapshot) candidate(registry int, ranked geo.Ranked, masks decide.Masks, now int64) Candidate {
	region := uint8(ranked.Region)
	c := Candidate{
		Region: s.Regions[region].Label, Bias: ranked.Bias,
		Routed: masks.Routed.Has(region), Up: masks.Up.Has(region),
	}
	if ranked.Measured {
		c.Kilometres = &ranked.Kilometres
	}
	if n := s.Replicas[s.ReplicaNumber(registry, region)].Resolved; n != 0 {
		if a := s.Resolved[n-1].Load(); a != nil && a.Stale(time.Unix(now, 0)) {
			c.Note = "addresses are stale, resolved at " + s.Wall.text(a.At)
		}
	}
	if c.Routed && c.Up {
		return c
	}
	if s.Excluded != nil {
		c.Excluded = s.Excluded(registry, region)
	}
	switch {
	case c.Excluded != "":
	case !c.Routed:
		c.Excluded = "global endpoint routing is off"
	default:
		c.Excluded = "down"
	}
	return c
}

// unit returns the prefix that stands for a client: /24 or /48.
func unit(a netip.Addr) netip.Prefix {
	bits := 48
	if a.Is4() {
		bits = 24
	}
	return netip.PrefixFrom(a, bits).Masked()
}

// ecsOf is the option that carries subnet.
func ecsOf(subnet netip.Prefix) wire.ECS {
	if !subnet.IsValid() {
		return wire.ECS{}
	}
	subnet = subnet.Masked()
	e := wire.ECS{Family: wire.FamilyIPv4, Source: uint8(subnet.Bits()), Octets: uint8((subnet.Bits() + 7) / 8)}
	if subnet.Addr().Is4() {
		a := subnet.Addr().As4()
		copy(e.Addr[:], a[:])
		return e
	}
	e.Family = wire.FamilyIPv6
	e.Addr = subnet.Addr().As16()
	return e
}

// prefixOf is the prefix that an option carries; the zero Prefix without one.
func prefixOf(e *wire.ECS) netip.Prefix {
	switch e.Family {
	case wire.FamilyIPv4:
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], binary.BigEndian.Uint32(e.Addr[:]))
		return netip.PrefixFrom(netip.AddrFrom4(a), int(e.Source))
	case wire.FamilyIPv6:
		return netip.PrefixFrom(netip.AddrFrom16(e.Addr), int(e.Source))
	}
	return netip.Prefix{}
}
