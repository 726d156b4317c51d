package config

import (
	"strings"
	"time"
)

func zoneFields() []field[Zone] {
	return []field[Zone]{
		{name: "nameservers", typ: "mapping of host names to lists of addresses", note: "those in records", set: decodeNameservers},
		{name: "contact", typ: "mail address or domain name", note: "hostmaster below the zone", set: decodeContact},
		{name: "records", typ: "path", note: "none", set: into((*cursor).file, func(z *Zone) *string { return &z.Records })},
		{name: "ttl", typ: "duration", def: "1h", set: into((*cursor).ttl, func(z *Zone) *time.Duration { return &z.TTL })},
		{name: "negative_ttl", typ: "duration", def: "60s", set: into((*cursor).ttl, func(z *Zone) *time.Duration { return &z.NegativeTTL })},
		{name: "transfer", typ: "mapping", note: "nobody", set: decodeTransfer},
	}
}

// maxNegativeTTL is where resolvers cap negative answers (RFC 2308 section 5).
const maxNegativeTTL = 3 * time.Hour

func decodeZones(c *cursor, v *Config) {
	c.entries(func(key *place, c *cursor) {
		at := &cursor{place: key, d: c.d}
		name, ok := at.checkedName(key.key)
		if name += "."; !ok {
			name = "invalid." // for what is inside, whose errors are wanted too
		}
		// The keys inside need the name of the zone, whatever order they are in.
		z := c.d.sections.zone.base
		z.Name, z.Pos = name, key.pos()
		g := c.d.sections.zone.into(c, &z)
		if ok = ok && unite(c, c.d.zones, name, key); !ok {
			return
		}
		if z.Records == "" && !g.has("nameservers") {
			c.d.errs.add(c.child("nameservers"), "is missing", "add it, or name a file with SOA and NS records in `records`")
		}
		if z.Contact != "" && len(z.Nameservers) == 0 && z.Records != "" && !g.has("nameservers") {
			c.d.errs.add(g.where("contact"), "stands in the SOA record of `records`", "remove it, or give nameservers")
		}
		if z.Contact == "" {
			z.Contact = "hostmaster." + name
		}
		if z.NegativeTTL > maxNegativeTTL {
			c.d.warnings.add(g.where("negative_ttl"), "resolvers keep negative answers no longer than "+span(maxNegativeTTL), "lower it")
		}
		v.Zones = append(v.Zones, z)
	})
}

func decodeContact(c *cursor, z *Zone) {
	z.Contact, _ = c.contact(z.Name)
}

// decodeNameservers reads names and their addresses. A bare label is below the
// zone, and @ is the zone itself.
func decodeNameservers(c *cursor, z *Zone) {
	var all []Nameserver
	seen := map[string]*place{}
	good := c.entries(func(key *place, c *cursor) {
		ns := Nameserver{Pos: key.pos()}
		var ok bool
		if ns.Name, ok = nameserverName(c, key, z.Name); !ok || !unite(c, seen, ns.Name, key) {
			return
		}
		if !c.empty() && (len(c.node.Content) > 0 || c.node.Value != "") {
			ns.Addresses, ok = c.addresses()
		}
		if label := keptLabel(ns.Name, z.Name); label != "" {
			c.d.errs.add(key, "the label "+label+" directly below the zone is kept for the regional and data names", "choose another name")
		}
		if inside := within(ns.Name, z.Name); ok && inside && len(ns.Addresses) == 0 {
			c.d.errs.add(key, "a name server inside the zone has no addresses", "give them: "+strings.TrimSuffix(ns.Name, "."+z.Name)+": [192.0.2.53]")
		}
		all = append(all, ns)
	})
	switch {
	case good && len(all) == 0 && len(c.node.Content) == 0:
		c.fail("is empty", "give at least one: ns1: [192.0.2.53]")
	case len(all) > maxNameservers:
		c.fail("has too many name servers", "13 is the usual limit")
	default:
		z.Nameservers = all
	}
}

// keptLabel is the label geo or data that a name below the zone has directly
// below it; "" if it has neither.
func keptLabel(name, zone string) string {
	for _, label := range []string{"geo", "data"} {
		if within(name, label+"."+zone) {
			return label
		}
	}
	return ""
}

// maxNameservers is what the root has; more do not fit one answer with addresses.
const maxNameservers = 13

func nameserverName(c *cursor, key *place, zone string) (string, bool) {
	if key.key == Apex {
		return zone, true
	}
	at := &cursor{place: key, d: c.d}
	name, ok := at.checkedName(key.key)
	if !ok {
		return "", false
	}
	if !strings.Contains(key.key, ".") {
		name += "." + bare(zone)
		if msg := badName(name); msg != "" {
			at.fail(show(name)+" is no host name: it "+msg, "shorten it")
			return "", false
		}
	}
	return name + ".", true
}
