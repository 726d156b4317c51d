//go:build linux

package differential

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"portolan.dev/resolver/zone"
)

// labels are few, so that names meet, and odd, so that they are hard.
var labels = []string{"a", "b", "c", "d", "A", `\000`, `x\.y`, `\255`, "*", `\@`, "-", "_"}

// generator makes zones and questions about them.
type generator struct {
	rng    *rand.Rand
	origin string
}

// name is a relative name in presentation form; "@" now and then.
func (g *generator) name() string {
	n := []int{0, 1, 1, 1, 2, 2, 2, 3}[g.rng.IntN(8)]
	if n == 0 {
		return "@"
	}
	parts := make([]string, n)
	for i := range parts {
		parts[i] = labels[min(g.rng.IntN(len(labels)), g.rng.IntN(len(labels)))]
	}
	if g.rng.IntN(5) == 0 {
		parts[0] = "*"
	}
	if g.rng.IntN(60) == 0 {
		parts[0] = strings.Repeat("l", 63)
	}
	return strings.Join(parts, ".")
}

func (g *generator) target() string {
	switch g.rng.IntN(12) {
	case 0:
		return "out.example."
	case 1:
		return strings.Repeat(strings.Repeat("t", 50)+".", 4) + g.origin
	}
	return g.name()
}

// line is one record of a zone file.
func (g *generator) line() string {
	name, n := g.name(), g.rng.IntN(250)
	switch g.rng.IntN(20) {
	case 0, 1, 2, 3, 4:
		return fmt.Sprintf("%s A 192.0.2.%d", name, n)
	case 5:
		return fmt.Sprintf("%s AAAA 2001:db8::%d", name, n)
	case 6, 7:
		return fmt.Sprintf("%s TXT \"t%d\"", name, n)
	case 8, 9, 10, 11:
		return name + " CNAME " + g.target()
	case 12, 13:
		return name + " DNAME " + g.target()
	case 14:
		return fmt.Sprintf("%s MX %d %s", name, n, g.target())
	case 15:
		return fmt.Sprintf("%s SRV 0 %d 443 %s", name, n, g.target())
	case 16:
		return fmt.Sprintf("%s TYPE65280 \\# 2 00%02x", name, n)
	case 17:
		return fmt.Sprintf("%s NS %s\n%s DS %d 8 2 %064x", name, g.target(), name, n, n)
	}
	server := g.target()
	if g.rng.IntN(2) == 0 && name != "@" {
		server = "ns." + name
	}
	if strings.HasSuffix(server, ".") || g.rng.IntN(10) == 0 {
		return name + " NS " + server
	}
	return fmt.Sprintf("%s NS %s\n%s A 192.0.2.%d", name, server, server, n)
}

var faultAt = regexp.MustCompile(`^f:(\d+):`)

// zoneFile makes a zone that Portolan accepts: what it refuses is taken out, line by
// line, until nothing is.
func (g *generator) zoneFile(tb testing.TB) string {
	tb.Helper()
	lines := []string{"@ SOA ns.test. host.test. 4000000000 7200 900 1209600 60", "@ NS ns.test."}
	for range 10 + g.rng.IntN(40) {
		lines = append(lines, strings.Split(g.line(), "\n")...)
	}
	return strings.Join(accepted(tb, g.origin, append([]string{"$TTL 300"}, lines...), g.rng.IntN), "\n") + "\n"
}

// accepted returns the lines of a zone without those that Portolan refuses. The first
// three have to stay; pick says which of n refused lines goes next.
func accepted(tb testing.TB, origin string, lines []string, pick func(n int) int) []string {
	tb.Helper()
	for {
		_, err := zone.Parse(strings.NewReader(strings.Join(lines, "\n")+"\n"), zone.File{Name: "f", Origin: origin, TTL: 300, Whole: true})
		if err == nil {
			return lines
		}
		var bad []int
		for text := range strings.SplitSeq(err.Error(), "\n") {
			m := faultAt.FindStringSubmatch(text)
			if m == nil {
				tb.Fatalf("%v\n%s", err, strings.Join(lines, "\n"))
			}
			n, _ := strconv.Atoi(m[1])
			bad = append(bad, max(n-1, 3))
		}
		// One at a time: others may be good without it.
		at := bad[pick(len(bad))]
		lines = slices.Delete(lines, at, at+1)
	}
}

var types = []uint16{
	dns.TypeA, dns.TypeA, dns.TypeA, dns.TypeAAAA, dns.TypeTXT, dns.TypeCNAME, dns.TypeDNAME, dns.TypeNS, dns.TypeMX,
	dns.TypeSRV, dns.TypeSOA, dns.TypeDS, 65280, 65281, dns.TypeHTTPS, dns.TypeANY,
}

// question asks for a name of the zone, for one near it, or for any.
func (g *generator) question(file string) *dns.Msg {
	name := g.name()
	if lines := strings.Split(strings.TrimSpace(file), "\n")[1:]; g.rng.IntN(3) > 0 {
		fields := strings.Fields(lines[g.rng.IntN(len(lines))])
		name = fields[0]
		if last := fields[len(fields)-1]; g.rng.IntN(4) == 0 && !strings.HasSuffix(last, ".") && !strings.HasPrefix(last, `"`) {
			name = last
		}
	}
	for range []int{0, 0, 0, 1, 1, 2}[g.rng.IntN(6)] {
		if name == "@" {
			name = labels[g.rng.IntN(len(labels))]
			continue
		}
		name = labels[g.rng.IntN(len(labels))] + "." + name
	}
	if g.rng.IntN(40) == 0 {
		name = strings.TrimSuffix(strings.Repeat("q"+strings.Repeat("z", 20)+".", 8)+name, ".@")
	}
	if name == "@" {
		name = g.origin
	} else {
		name += "." + g.origin
	}
	if _, ok := dns.IsDomainName(name); !ok || len(name) > 250 {
		name = g.origin
	}
	m := new(dns.Msg)
	m.SetQuestion(name, types[g.rng.IntN(len(types))])
	m.Id, m.RecursionDesired, m.CheckingDisabled = uint16(g.rng.Uint32()), g.rng.IntN(2) == 0, g.rng.IntN(8) == 0
	m.SetEdns0(4096, g.rng.IntN(4) == 0)
	return m
}
