package resolver

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"portolan.dev/geo"
	"portolan.dev/resolver/wire"
	"portolan.dev/resolver/zone"
)

// explain answers _explain.<registry> TXT: the decision that the global name
// would give this asker. Whoever is not in diagnostics.allow gets one line that
// says no more than the answer itself does.
func (p *reply) explain(node *zone.Node, z *zone.Zone, from netip.Addr, now int64) {
	if p.q.Type != wire.TypeTXT && p.q.Type != wire.TypeANY {
		p.negative(z, wire.RcodeNoError)
		return
	}
	if !p.s.allowed(from) {
		// What a stranger asks costs no more than the decision itself.
		t := p.s.decision(int(node.Ref), from, &p.q.EDNS.ECS, now)
		p.scope = t.Scope
		p.appendTXT(wire.ClassIN, t.Short())
		p.appendTXT(wire.ClassIN, shortened+"portolan explain "+strings.TrimSuffix(t.Name, ".")+" --client "+t.counted())
		return
	}
	t := p.s.trace(int(node.Ref), from, &p.q.EDNS.ECS, now)
	p.scope = t.Scope
	for _, line := range t.Lines() {
		p.appendTXT(wire.ClassIN, line)
	}
}

// whoami answers _whoami.<zone> TXT: what is known of the asker.
func (p *reply) whoami(z *zone.Zone, from netip.AddrPort) {
	if p.q.Type != wire.TypeTXT && p.q.Type != wire.TypeANY {
		p.negative(z, wire.RcodeNoError)
		return
	}
	e := &p.q.EDNS.ECS
	var c client
	p.s.locate(&c, e, from.Addr())
	// Only this very subnet was asked about.
	p.scope = e.Source
	p.appendTXT(wire.ClassIN, "resolver "+from.Addr().String())
	subnet := "none"
	if prefix := prefixOf(e); prefix.IsValid() {
		subnet = prefix.String()
		if !c.subnet {
			subnet += " (does not count)"
		}
	}
	p.appendTXT(wire.ClassIN, "subnet "+subnet)
	// Names and prefixes of networks, and what the location data say, are not for strangers.
	if p.s.allowed(from.Addr()) {
		counted := from.Addr()
		if c.subnet {
			counted = prefixOf(e).Addr()
		}
		place := p.s.Places.Describe(counted)
		p.appendTXT(wire.ClassIN, "place "+placeText(place, p.s.siteName(place)))
	} else {
		p.appendTXT(wire.ClassIN, shortened+"portolan geo lookup "+from.Addr().String()+" -c FILE")
	}
	p.appendTXT(wire.ClassIN, "node "+p.s.Identity)
}

// shortened tells who is not in diagnostics.allow that there is more, and stands before the
// command that gives it.
const shortened = "shortened: not in diagnostics.allow; on the name server, all of it: "

// allowed reports whether an asker gets the full form.
func (s *Snapshot) allowed(from netip.Addr) bool {
	from = from.Unmap()
	for _, p := range s.Allow {
		if p.Contains(from) {
			return true
		}
	}
	return false
}

// Short is the public form: what the answer gives away anyway, and where it
// came from.
func (t *Trace) Short() string {
	replica := t.Region
	if replica == "" {
		replica = "none"
	}
	by := "resolver"
	if t.BySubnet {
		by = "subnet"
	}
	return "replica=" + replica + " reason=" + t.Outcome.String() + " client=" + by +
		" scope=/" + strconv.Itoa(int(t.Scope)) + " node=" + t.Node + " serial=" + strconv.FormatUint(uint64(t.Serial), 10)
}

// counted is what counted of the client's addresses, as a command line takes it.
func (t *Trace) counted() string {
	if t.BySubnet {
		return t.Subnet.String()
	}
	return t.Asker.String()
}

// Lines is the full form, one fact a line, each below 255 octets unless a name
// or reason in it is very long. Every line begins with what it speaks of, because
// a resolver may reorder them.
func (t *Trace) Lines() []string {
	lines := make([]string, 0, 5+len(t.Candidates))
	replica := t.Region
	if replica == "" {
		replica = "none"
	}
	lines = append(lines, "answer "+replica+" ("+t.Outcome.String()+") ttl "+strconv.FormatUint(uint64(t.TTL), 10)+
		" scope /"+strconv.Itoa(int(t.Scope)))
	lines = append(lines, addressLines("addresses", t.Addresses)...)
	lines = append(lines, addressLines("dead, left out", t.LeftOut)...)
	if t.HeldFrom != "" {
		lines = append(lines, "hold until "+time.Unix(int64(t.HeldUntil), 0).UTC().Format(time.RFC3339)+" instead of "+t.HeldFrom)
	}
	client := "client " + t.Client.String() + " by the address that asked, " + t.Asker.String()
	if t.BySubnet {
		client = "client " + t.Client.String() + " by the client subnet " + t.Subnet.String() + ", asked by " + t.Asker.String()
	} else if t.Subnet.IsValid() {
		client += "; the client subnet " + t.Subnet.String() + " does not count"
	}
	lines = append(lines, client, "place "+placeText(t.Place, t.Site))
	for i, c := range t.Candidates {
		lines = append(lines, "rank "+strconv.Itoa(i+1)+" "+c.text())
	}
	return append(lines, "node "+t.Node+" generation "+strconv.FormatUint(t.Generation, 10)+
		" serial "+strconv.FormatUint(uint64(t.Serial), 10))
}

// perLine is how many addresses of any family fit into a line.
const perLine = 5

// addressLines lists addresses behind a word, in as many lines as it takes.
func addressLines(what string, addrs []netip.Addr) (lines []string) {
	for chunk := range slices.Chunk(addrs, perLine) {
		line := []byte(what)
		for _, a := range chunk {
			line = a.AppendTo(append(line, ' '))
		}
		lines = append(lines, string(line))
	}
	return lines
}

func (c *Candidate) text() string {
	text := c.Region
	if c.Kilometres != nil {
		text += " " + strconv.FormatFloat(*c.Kilometres, 'f', 0, 64) + " km"
	}
	if c.Bias != 0 {
		text += " bias " + strconv.FormatFloat(c.Bias, 'f', 0, 64)
	}
	if c.Excluded != "" {
		text += " excluded: " + c.Excluded
	}
	if c.Note != "" {
		text += " (" + c.Note + ")"
	}
	return text
}

// siteName names the site of a place; empty for none.
func (s *Snapshot) siteName(p geo.Place) string {
	if p.Site < 0 {
		return ""
	}
	return s.Sites[p.Site]
}

// placeText describes where an address is and how that is known.
func placeText(p geo.Place, site string) string {
	switch {
	case p.Site >= 0:
		return "configured network " + site + ", block " + p.Scope.String()
	case p.Special():
		return "special-purpose address, block " + p.Scope.String() + "; ranked by " + p.Basis.String()
	case p.Cell.Kind == geo.Located:
		return p.Cell.CountryCode() + " near " + degrees(p.Cell.Latitude) + "," + degrees(p.Cell.Longitude) +
			", block " + p.Location.String()
	case p.Cell.Kind == geo.CountryOnly:
		return p.Cell.CountryCode() + ", country only, block " + p.Location.String()
	}
	return "not located; ranked by " + p.Basis.String()
}

func degrees(d float64) string { return strconv.FormatFloat(d, 'f', 1, 64) }
