package resolver

import (
	"net/netip"

	"portolan.dev/resolver/decide"
	"portolan.dev/resolver/wire"
	"portolan.dev/resolver/zone"
)

// global answers the global name of a registry: the replica is chosen first,
// then the type is looked up, so that A and AAAA cannot disagree.
func (w *Worker) global(p *reply, node *zone.Node, z *zone.Zone, from netip.Addr, now int64) {
	r := &p.s.Registries[node.Ref]
	if !p.located {
		p.s.locate(&p.client, &p.q.EDNS.ECS, from)
	}
	c := &p.client
	region, outcome := p.s.decide(r, &p.s.Live[node.Ref], c, &p.q.EDNS.ECS, from, now)
	switch outcome {
	case decide.NoneRouted:
		p.globalNone(node, z, edeNoneRouted)
		return
	case decide.NoneUp:
		p.globalNone(node, z, edeNoHealthy)
		return
	case decide.AllDown:
		p.ede = edeNoHealthy
	case decide.Nearest, decide.LastResort, decide.Held:
	}
	p.scope = c.scopeFor(r)
	replica := p.s.replica(r, region)
	if p.appendReplica(replica, node, z) {
		w.counters.answered(replica.Slot, now)
		if outcome == decide.AllDown || outcome == decide.LastResort {
			w.counters.allDown.Add(1)
		}
	}
}

// decide chooses a replica for a client, and holds the client on the one it had
// where the registry's policy says so. What from can bring into the activity table is
// bounded.
func (s *Snapshot) decide(
	r *Registry, live *Availability, c *client, e *wire.ECS, from netip.Addr, now int64,
) (region uint8, outcome decide.Outcome) {
	rank, masks := s.Places.Rank(c.class), live.Masks()
	region, outcome = decide.Choose(rank, masks, r.AllDown)
	if r.Policy.Hold == 0 || s.Holds == nil || outcome > decide.AllDown {
		return region, outcome
	}
	key := s.unitKey(r, c)
	if earlier := s.earlier.Load(); earlier != nil {
		key = s.carriedKey(*earlier, r, c, e, from, uint32(now))
	}
	situation := s.situation(r, live, rank, masks)
	situation.Asker = from
	region, held := s.Holds.Serve(key, region, uint32(now), &situation)
	if held {
		outcome = decide.Held
	}
	if situation.Before != decide.None {
		s.tell(Move{Key: key, Before: situation.Before, After: s.Stable[region], At: now})
	}
	return region, outcome
}

// Move is one client unit leaving the replica it had. Regions are stable numbers,
// At is in Unix seconds.
type Move struct {
	Key           decide.Key
	Before, After uint8
	At            int64
}

// tell reports a move to whoever keeps the history of clients, unless they are
// behind. Units move when something happened to a replica, not per query.
func (s *Snapshot) tell(m Move) {
	select {
	case s.Moves <- m:
	default:
	}
}

// situation is what the rule of holds needs to know.
func (s *Snapshot) situation(r *Registry, live *Availability, rank []uint8, masks decide.Masks) decide.Situation {
	return decide.Situation{
		Rank: rank, Masks: masks, AllDown: r.AllDown, Policy: r.Policy, Configured: r.Configured, Missing: live.Missing(),
		History: &live.History, Swaps: s.Swaps, Deadlines: live.Deadlines.Load(), Stable: &s.Stable, Local: &s.Local,
	}
}

// unitKey is the key of a client's unit in the activity table.
func (s *Snapshot) unitKey(r *Registry, c *client) decide.Key {
	return decide.NewKey(s.UnitSeed, r.Number, c.unit.Hi, c.unit.Lo)
}

// scopeFor returns the scope of a tailored answer: what a cache may share is what
// a hold covers. Without holds it is the widest prefix with the same ranked list,
// which stays true whatever the health.
func (c *client) scopeFor(r *Registry) uint8 {
	if r.Policy.Hold != 0 {
		return c.unitScope
	}
	return c.scope
}

// globalNone answers a global name that has no replica to give: NODATA, never
// NXDOMAIN, with the reason.
func (p *reply) globalNone(node *zone.Node, z *zone.Zone, ede []byte) {
	p.ede = ede
	switch p.q.Type {
	case wire.TypeA, wire.TypeAAAA, wire.TypeCNAME, wire.TypeANY:
		p.negative(z, wire.RcodeNoError)
	default:
		p.put(node, z, p.s.Names.Answer(node, p.q.Type), false)
	}
}

// appendReplica writes the records of the chosen replica for the type asked for
// and reports whether there were any.
//
// With an alias, any type but A and AAAA gets the alias alone: it is the same
// for all types, so a cache holds one decision; the resolver asks the regional
// name for the rest, and its negative answer belongs to no client. A NODATA
// here would be shared between clients of different replicas (RFC 7871
// section 7.4).
func (p *reply) appendReplica(r *Replica, node *zone.Node, z *zone.Zone) bool {
	ipv4, ipv6, ready := p.s.addresses(r)
	if !ready && needsAddresses(p.q.Type) {
		p.notReady()
		return false
	}
	body := len(p.msg) - p.start
	p.msg = append(p.msg, p.s.Bodies[r.Body:r.Body+uint32(r.Alias)]...)
	n := uint16(r.AliasCount)
	switch p.q.Type {
	case wire.TypeA:
		p.msg = append(p.msg, ipv4.records...)
		n += ipv4.count
	case wire.TypeAAAA:
		p.msg = append(p.msg, ipv6.records...)
		n += ipv6.count
	case wire.TypeANY: // one RRset, RFC 8482 section 4.1
		if r.Alias == 0 && ipv4.count > 0 {
			p.msg, n = append(p.msg, ipv4.records...), ipv4.count
		} else if r.Alias == 0 {
			p.msg, n = append(p.msg, ipv6.records...), ipv6.count
		}
	default:
		if r.Alias == 0 {
			p.scope = 0
			p.put(node, z, p.s.Names.Answer(node, p.q.Type), false)
			return false
		}
	}
	if n == 0 {
		p.negative(z, wire.RcodeNoError)
		return false
	}
	p.move(len(p.s.Names.Name(node)), body, false, int(n))
	p.counts.Answer += n
	return true
}

// notReady answers for a target that has never been resolved: SERVFAIL, or the CNAME
// alone that led here, whose target is asked for again.
func (p *reply) notReady() {
	p.scope, p.ede = 0, edeNotReady
	if p.counts.Answer == 0 {
		p.rcode, p.flags = wire.RcodeServFail, 0
	}
}

// needsAddresses reports whether a type is answered with addresses; the others
// at an apex do not wait for a target to be resolved.
func needsAddresses(qtype uint16) bool {
	return qtype == wire.TypeA || qtype == wire.TypeAAAA || qtype == wire.TypeANY
}

// part is some packed address records of one family.
type part struct {
	records []byte
	count   uint16
}

// addresses returns the address parts of r; ready is false for a target that
// has never been resolved.
func (s *Snapshot) addresses(r *Replica) (ipv4, ipv6 part, ready bool) {
	if r.Resolved != 0 {
		a := s.Resolved[r.Resolved-1].Load()
		if a == nil {
			return part{}, part{}, false
		}
		return part{a.IPv4, uint16(a.IPv4Count)}, part{a.IPv6, uint16(a.IPv6Count)}, true
	}
	if r.Living != 0 {
		if a := s.Living[r.Living-1].Load(); a != nil {
			return part{a.IPv4, uint16(a.IPv4Count)}, part{a.IPv6, uint16(a.IPv6Count)}, true
		}
	}
	at := r.Body + uint32(r.Alias)
	mid := at + uint32(r.IPv4)
	return part{s.Bodies[at:mid], uint16(r.IPv4Count)}, part{s.Bodies[mid : mid+uint32(r.IPv6)], uint16(r.IPv6Count)}, true
}
