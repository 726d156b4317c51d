package config

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

func registryFields() []field[Registry] {
	return []field[Registry]{
		{name: "zone", typ: "zone name", note: "the zone, when there is only one", set: decodeRegistryZone},
		{name: "name", typ: "host name labels, or @", note: "the key", set: into((*cursor).registryName, func(r *Registry) *string { return &r.Name })},
		{name: "home", typ: "region", note: "the first replica", set: into((*cursor).region, func(r *Registry) *string { return &r.Home })},
		{name: "regional_endpoints", typ: "enabled or disabled", def: "disabled", set: into((*cursor).enabled, func(r *Registry) *bool { return &r.RegionalEndpoints })},
		{name: "data_endpoints", typ: "enabled or disabled", def: "disabled", set: into((*cursor).enabled, func(r *Registry) *bool { return &r.DataEndpoints })},
		{name: "answer", typ: "auto or address", def: AnswerAuto, set: into(oneOf(AnswerAuto, AnswerAddress), func(r *Registry) *string { return &r.Answer })},
		{name: "families", typ: "one of ipv4, ipv6, dual", note: "what the replicas have, the same for all", set: into(oneOf(FamiliesIPv4, FamiliesIPv6, FamiliesDual), func(r *Registry) *string { return &r.Families })},
		{name: "regional_ttl", typ: "duration", def: "300s", set: into((*cursor).ttl, func(r *Registry) *time.Duration { return &r.RegionalTTL })},
		{name: "sticky", typ: "mapping, or off", set: decodeSticky},
		{name: "recovery_hold", typ: "duration", def: "10m", set: into(lasting(0, time.Hour), func(r *Registry) *time.Duration { return &r.RecoveryHold })},
		{name: "all_down", typ: "nearest or nodata", def: AllDownNearest, set: into(oneOf(AllDownNearest, AllDownNoData), func(r *Registry) *string { return &r.AllDown })},
		{name: "failback", typ: "auto or manual", def: FailbackAuto, set: into(oneOf(FailbackAuto, FailbackManual), func(r *Registry) *string { return &r.Failback })},
		{name: "replicas", typ: "mapping of region names", required: true, set: decodeReplicas},
	}
}

func stickyFields() []field[Sticky] {
	return []field[Sticky]{
		{name: "ttl", typ: "duration", def: "60s", set: into((*cursor).ttl, func(s *Sticky) *time.Duration { return &s.TTL })},
		{name: "idle", typ: "duration", def: "5m", set: into(lasting(time.Second, time.Hour), func(s *Sticky) *time.Duration { return &s.Idle })},
		{name: "hold", typ: "duration", def: "15m", set: into(lasting(0, 24*time.Hour), func(s *Sticky) *time.Duration { return &s.Hold })},
		{name: "renewals", typ: "number", def: "4", set: into(between(1, 15), func(s *Sticky) *int { return &s.Renewals })},
	}
}

func replicaFields() []field[Replica] {
	return []field[Replica]{
		{name: "addresses", typ: "list of addresses", note: "either this or target", set: into((*cursor).addresses, func(r *Replica) *[]netip.Addr { return &r.Addresses })},
		{name: "target", typ: "host name", note: "either this or addresses", set: into((*cursor).usedTarget, func(r *Replica) *string { return &r.Target })},
		{name: "probe", typ: "probe name", note: "none: never probed, always up", set: into((*cursor).usedProbe, func(r *Replica) *string { return &r.Probe })},
		{name: "probe_target", typ: "host:port", note: "the addresses or target, at the port of the probe", set: into(
			func(c *cursor) (string, bool) { return c.hostPort(false) },
			func(r *Replica) *string { return &r.ProbeTarget })},
		{name: "global_endpoint_routing", typ: "true or false", def: "true", set: into((*cursor).boolean, func(r *Replica) *bool { return &r.GlobalEndpointRouting })},
		{name: "data", typ: "mapping", note: "the addresses or target of the replica", set: decodeData},
	}
}

func dataFields() []field[DataEndpoint] {
	return []field[DataEndpoint]{
		{name: "addresses", typ: "list of addresses", note: "either this or target", set: into((*cursor).addresses, func(d *DataEndpoint) *[]netip.Addr { return &d.Addresses })},
		{name: "target", typ: "host name", note: "either this or addresses", set: into((*cursor).usedTarget, func(d *DataEndpoint) *string { return &d.Target })},
	}
}

func decodeRegistries(c *cursor, v *Config) {
	decodeEntries(c, v)
	c.d.grow(c.source.parts)
	read := func(p part) batch {
		if p.done != nil {
			return *p.done
		}
		return c.d.batch(p, c.place)
	}
	for _, b := range ahead(c.source.parts, read, c.d.beside) {
		switch {
		case b.decoded:
			c.d.add(b.registries, c.place)
		case b.problem != nil:
			// The words and the place are those for the file as a whole.
			if _, whole := parseLibrary(c.source.data); whole != nil {
				b.problem = whole
			}
			b.problem.add(c.source, &c.d.errs)
			return
		default:
			decodeEntries(&cursor{place: c.place, d: c.d, node: b.root}, v)
			c.d.nodes.give(b.blocks)
		}
	}
}

func decodeEntries(c *cursor, v *Config) {
	v.Registries = slices.Grow(v.Registries, len(c.node.Content)/2)
	c.d.registryPlaces = slices.Grow(c.d.registryPlaces, len(c.node.Content)/2)
	c.entries(func(key *place, c *cursor) { decodeRegistry(key, c, v) })
}

func decodeRegistry(key *place, c *cursor, v *Config) {
	var r Registry
	c.d.replicaPlaces = c.d.replicaPlaces[:0]
	g := c.d.sections.registry.one(c, &r)
	r.Key, r.Pos = key.key, key.pos()
	if !g.has("name") {
		at := &cursor{place: key, d: c.d}
		r.Name, _ = at.checkedRegistryName(key.key)
	}
	if !unite(c, c.d.registries, r.Key, key) {
		return
	}
	checkRegistry(c, &r, g)
	v.Registries = append(v.Registries, r)
	c.d.registryPlaces = append(c.d.registryPlaces, registryPlaces{key, g.where("name"), g.where("zone")})
}

func (c *cursor) enabled() (value, ok bool) {
	s, ok := c.choice("enabled", "disabled")
	return s == "enabled", ok
}

func decodeRegistryZone(c *cursor, r *Registry) {
	if name, ok := c.hostname(); ok {
		r.Zone = name + "."
	} else {
		r.Zone = invalid
	}
}

// invalid stands for a name whose error has been reported, so that it is not
// reported as missing too. A Config that holds it is never returned.
const invalid = "!"

// registryName gives the labels of a registry below its zone, or @.
func (c *cursor) registryName() (string, bool) {
	s, ok := c.text()
	if !ok {
		return "", false
	}
	return c.checkedRegistryName(s)
}

func (c *cursor) checkedRegistryName(s string) (string, bool) {
	if s == Apex {
		return s, true
	}
	if strings.HasSuffix(s, ".") {
		c.fail(show(s)+" is no name below the zone", "leave out the zone and the trailing dot")
		return "", false
	}
	name, ok := c.checkedName(s)
	if !ok {
		return "", false
	}
	switch last := name[strings.LastIndexByte(name, '.')+1:]; last {
	case "geo", "data":
		c.fail("the label "+last+" directly below the zone is kept for the regional and data names", "choose another name")
		return "", false
	}
	return name, true
}

func decodeSticky(c *cursor, r *Registry) {
	if c.node.Tag == "!!str" && c.node.Value == "off" {
		r.Sticky.Hold, r.Sticky.Renewals = 0, 0
		return
	}
	g := c.d.sections.sticky.one(c, &r.Sticky)
	s := &r.Sticky
	s.HoldWritten = g.has("hold")
	const low, high = 30 * time.Second, 300 * time.Second
	switch {
	case s.TTL < low:
		c.d.warnings.add(g.where("ttl"), "a TTL below "+span(low)+" multiplies the queries and resolvers may not keep to it", "use 30s to 5m")
	case s.TTL > high:
		c.d.warnings.add(g.where("ttl"), "a TTL above "+span(high)+" delays failover by as much", "use 30s to 5m")
	}
	if s.Hold > 0 && s.Idle < s.TTL {
		c.d.errs.add(g.where("idle"), "idle "+span(s.Idle)+" is shorter than the TTL "+span(s.TTL)+": a client that is pushing would seem idle", "make it several times the TTL")
	}
	if s.Hold > 0 && s.Hold < s.TTL {
		c.d.errs.add(g.where("hold"), "hold "+span(s.Hold)+" is shorter than the TTL "+span(s.TTL), "make it longer than a push takes, or 0s for no holds")
	}
}

func decodeReplicas(c *cursor, r *Registry) {
	n := min(len(c.node.Content)/2, MaxRegions+1)
	seen := make(map[string]*place, n)
	r.Replicas = make([]Replica, 0, n)
	c.entries(func(key *place, c *cursor) {
		at := &cursor{place: key, d: c.d}
		region, ok := at.checkedRegion(key.key)
		var p Replica
		g := c.d.sections.replica.one(c, &p)
		checkEndpoint(c, g.has("addresses"), g.has("target"))
		if ok = ok && unite(c, seen, region, key); !ok {
			return
		}
		p.Region, p.Pos = region, key.pos()
		c.d.useRegion(region, key)
		r.Replicas = append(r.Replicas, p)
		c.d.replicaPlaces = append(c.d.replicaPlaces, replicaPlaces{key, g.where("addresses"), g.where("probe")})
	})
	if len(c.node.Content) == 0 {
		c.fail("is empty", "give at least one replica")
	}
}

func decodeData(c *cursor, p *Replica) {
	p.Data = new(DataEndpoint)
	g := c.d.sections.data.one(c, p.Data)
	checkEndpoint(c, g.has("addresses"), g.has("target"))
}

func checkEndpoint(c *cursor, addresses, target bool) {
	switch {
	case addresses && target:
		c.fail("has both addresses and a target", "keep one of them")
	case !addresses && !target:
		c.fail("has neither addresses nor a target", "give addresses: [192.0.2.10] or target: host.example.net")
	}
}

func (c *cursor) usedTarget() (string, bool) {
	name, ok := c.target()
	if ok {
		c.d.targetRefs = append(c.d.targetRefs, reference{name, c.place})
	}
	return name, ok
}

func (c *cursor) usedProbe() (string, bool) {
	name, ok := c.text()
	if ok && c.d.probes[name] == nil {
		c.d.probeRefs = append(c.d.probeRefs, reference{name, c.place})
	}
	return name, ok
}
