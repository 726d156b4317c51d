package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

func geoFields() []field[Geo] {
	return []field[Geo]{
		{name: "database", typ: "embedded, a path or a list of two paths", def: "embedded", set: decodeDatabase},
		{name: "default_region", typ: "region", note: "none: the order of the regions", set: into((*cursor).usedRegion, func(g *Geo) *string { return &g.DefaultRegion })},
		{name: "networks", typ: "mapping of networks or site names", open: true, set: decodeNetworks},
	}
}

func networkFields() []field[Network] {
	return []field[Network]{
		{name: "prefixes", typ: "list of networks", note: "the key when that is a network", set: into(
			func(c *cursor) ([]netip.Prefix, bool) {
				out, ok := c.prefixes(c.d.prefixes)
				if ok && len(c.node.Content) == 0 {
					c.fail("is empty", "give at least one network")
				}
				return out, ok
			},
			func(n *Network) *[]netip.Prefix { return &n.Prefixes })},
		{name: "region", typ: "region", required: true, set: into((*cursor).usedRegion, func(n *Network) *string { return &n.Region })},
	}
}

func regionFields() []field[Region] {
	return []field[Region]{
		{name: "latitude", typ: "number of degrees", note: "of the well-known region", set: decodeDegrees(90, func(r *Region) **float64 { return &r.Latitude })},
		{name: "longitude", typ: "number of degrees", note: "of the well-known region", set: decodeDegrees(180, func(r *Region) **float64 { return &r.Longitude })},
		{name: "country", typ: "two letters", note: "of the well-known region", set: into((*cursor).country, func(r *Region) *string { return &r.Country })},
		{name: "bias", typ: "number of kilometers", def: "0", set: into(
			func(c *cursor) (float64, bool) { return c.float(-maxBias, maxBias) },
			func(r *Region) *float64 { return &r.Bias })},
	}
}

// maxBias is in kilometers; half the circumference of the earth outweighs any
// distance there is.
const maxBias = 20100

const embeddedDatabase = "embedded"

func decodeDatabase(c *cursor, g *Geo) {
	var out []string
	add := func(c *cursor) {
		switch s, ok := c.text(); {
		case !ok:
		case s == embeddedDatabase:
			out = append(out, s)
		default:
			out = append(out, c.source.relative(s))
		}
	}
	if c.node.Kind != yaml.SequenceNode {
		add(c)
	} else {
		c.items(add)
		if n := len(c.node.Content); n == 0 || n > 2 {
			c.fail(fmt.Sprintf("has %d entries", n), "give one file, or two, or the word embedded")
			return
		}
	}
	embedded := slices.Contains(out, embeddedDatabase)
	switch {
	case embedded && len(out) > 1:
		c.fail("the embedded table is not combined with files", "give files only, or the word embedded")
	case embedded:
		g.Database = nil
	default:
		g.Database = out
	}
}

func decodeDegrees(most float64, to func(*Region) **float64) func(*cursor, *Region) {
	return func(c *cursor, r *Region) {
		if f, ok := c.float(-most, most); ok {
			*to(r) = &f
		}
	}
}

// country gives an ISO 3166-1 alpha-2 code, in upper case.
func (c *cursor) country() (string, bool) {
	s, ok := c.text()
	if !ok {
		return "", false
	}
	upper := strings.ToUpper(s)
	if len(upper) != 2 || strings.Trim(upper, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		c.fail(show(s)+" is no country code", "write two letters, such as DE")
		return "", false
	}
	return upper, true
}

// usedRegion gives a region and notes that it is used.
func (c *cursor) usedRegion() (string, bool) {
	name, ok := c.region()
	if ok {
		c.d.useRegion(name, c.place)
	}
	return name, ok
}

func decodeNetworks(c *cursor, g *Geo) {
	c.entries(func(key *place, c *cursor) {
		n := Network{Name: key.key, Plain: c.node.Kind != yaml.MappingNode, Pos: key.pos()}
		decode := decodeSite
		if n.Plain {
			decode = decodeNetwork
		}
		good := decode(c, key, &n)
		if unite(c, c.d.networks, n.Name, key) && good {
			g.Networks = append(g.Networks, n)
			c.warnNetwork(&n)
		}
	})
}

// decodeNetwork reads the short form, prefix: region.
func decodeNetwork(c *cursor, key *place, n *Network) bool {
	region, ok := c.usedRegion()
	n.Region = region
	return n.keyPrefix(c, key) && ok
}

// decodeSite reads the long form, name: {prefixes: [...], region: ...}. The name
// may be a network, and is the only prefix then unless there are others.
func decodeSite(c *cursor, key *place, n *Network) bool {
	var site Network
	g := c.d.sections.network.one(c, &site)
	n.Prefixes, n.Region = site.Prefixes, site.Region
	switch {
	case !g.has("prefixes") && strings.ContainsAny(n.Name, "/:."):
		return n.keyPrefix(c, key) && n.Region != ""
	case !g.has("prefixes"):
		c.d.errs.add(c.child("prefixes"), "is missing", "give it: prefixes: [198.51.100.0/24]")
	}
	return len(n.Prefixes) > 0 && n.Region != ""
}

// keyPrefix makes the key the only prefix of n.
func (n *Network) keyPrefix(c *cursor, key *place) bool {
	at := &cursor{place: key, d: c.d}
	prefix, ok := at.checkedPrefix(n.Name)
	if !ok || !at.newPrefix(prefix, c.d.prefixes) {
		return false
	}
	n.Prefixes = []netip.Prefix{prefix}
	return true
}

// Sites wider than these are more than the networks of one place: /16 and /32 are what
// the largest sites have.
const (
	maxSiteBits4 = 16
	maxSiteBits6 = 32
)

// warnNetwork says which clients are held together that may not belong together, or
// are not where they may.
func (c *cursor) warnNetwork(n *Network) {
	if n.Plain {
		if p := n.Prefixes[0]; p.Bits() < perFamily(p, UnitBits4, UnitBits6) {
			c.d.warnings.add(c.place, fmt.Sprintf("the short form only places %s: each /%d of it is a client of its own",
				p, perFamily(p, UnitBits4, UnitBits6)),
				fmt.Sprintf("if it is one site, which moves as one, write %s: {prefixes: [%s], region: %s}", quoted(n.Name), quoted(p.String()), n.Region))
		}
		return
	}
	for _, p := range n.Prefixes {
		if p.Bits() < perFamily(p, maxSiteBits4, maxSiteBits6) {
			c.d.warnings.add(c.place, fmt.Sprintf("%s is one client with all its addresses: while one of them is active, a drain waits for them all", p),
				fmt.Sprintf("if it is no single site, only place it: %s: %s", quoted(p.String()), n.Region))
		}
	}
}

// perFamily returns the value for the family of p.
func perFamily(p netip.Prefix, ipv4, ipv6 int) int {
	if p.Addr().Is4() {
		return ipv4
	}
	return ipv6
}

// quoted is a key or value as it may be written in YAML: with quotes where a colon is
// in it.
func quoted(s string) string {
	if strings.Contains(s, ":") {
		return strconv.Quote(s)
	}
	return s
}

func decodeRegions(c *cursor, v *Config) {
	c.entries(func(key *place, c *cursor) {
		at := &cursor{place: key, d: c.d}
		name, ok := at.checkedRegion(key.key)
		var r Region
		g := c.d.sections.region.one(c, &r)
		if ok = ok && unite(c, c.d.regions, name, key); !ok {
			return
		}
		r.Name, r.Pos = name, key.pos()
		if g.has("latitude") != g.has("longitude") {
			missing := "latitude"
			if g.has("latitude") {
				missing = "longitude"
			}
			c.d.errs.add(c.child(missing), "is missing", "give both latitude and longitude, or neither for a well-known region")
		}
		v.Regions = append(v.Regions, r)
	})
}
