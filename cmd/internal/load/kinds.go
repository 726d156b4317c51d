package load

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// Kinds returns the kinds of queries that a mix can name.
func Kinds() []string {
	return []string{"global", "global4", "global6", "regional", "nxdomain", "random", "mixed"}
}

// pattern is one line of a mix: what a query is made from.
type pattern struct {
	weight float64
	name   string
	qtype  uint16
	subnet subnet
}

// subnet is the client subnet of a query: none if bits is 0, else a fixed prefix,
// or a random network of that length.
type subnet struct {
	random bool
	ipv6   bool
	bits   int
	fixed  netip.Addr
}

func parseSubnet(text string) (subnet, error) {
	if text == "-" {
		return subnet{}, nil
	}
	for _, family := range []struct {
		word string
		ipv6 bool
		most int
	}{{"random4/", false, 32}, {"random6/", true, 128}} {
		length, ok := strings.CutPrefix(text, family.word)
		if !ok {
			continue
		}
		bits, err := strconv.Atoi(length)
		if err != nil || bits < 8 || bits > family.most {
			return subnet{}, fmt.Errorf("client subnet %q: the length is 8 to %d", text, family.most)
		}
		return subnet{random: true, ipv6: family.ipv6, bits: bits}, nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil || p.Bits() == 0 {
		return subnet{}, fmt.Errorf("client subnet %q: use a prefix such as 198.51.100.0/24, random4/24, random6/56, or - for none", text)
	}
	p = p.Masked()
	return subnet{ipv6: p.Addr().Is6(), bits: p.Bits(), fixed: p.Addr()}, nil
}

// Lengths to which resolvers cut a client subnet, RFC 7871 section 11.1.
const (
	subnetBits4 = 24
	subnetBits6 = 56
)

// expand returns the queries of a kind; known is false if there is no such kind.
func expand(kind string, n *Names) (patterns []pattern, known bool, err error) {
	v4, v6 := subnet{random: true, bits: subnetBits4}, subnet{random: true, ipv6: true, bits: subnetBits6}
	switch kind {
	case "global4":
		patterns = []pattern{{1, n.Name, dns.TypeA, v4}}
	case "global6":
		patterns = []pattern{{1, n.Name, dns.TypeAAAA, v6}}
	case "global":
		patterns = []pattern{
			{4, n.Name, dns.TypeA, v4},
			{4, n.Name, dns.TypeAAAA, v4},
			{1, n.Name, dns.TypeA, v6},
			{1, n.Name, dns.TypeAAAA, v6},
		}
	case "regional":
		patterns, err = regional(n)
	case "nxdomain":
		patterns, err = missing(n)
	case "random":
		patterns = []pattern{{1, "*." + n.Name, dns.TypeA, v4}}
	case "mixed":
		patterns, err = mixed(n)
	default:
		return nil, false, nil
	}
	if err == nil {
		_, _, err = n.zone()
	}
	if err != nil {
		return nil, true, err
	}
	return patterns, true, nil
}

// regional asks for the regional names, A and AAAA alike.
func regional(n *Names) ([]pattern, error) {
	registry, zone, err := n.zone()
	if err != nil {
		return nil, err
	}
	if len(n.Regions) == 0 {
		return nil, fmt.Errorf("name the regions of %s: --regions westus,eastus", n.Name)
	}
	patterns := make([]pattern, 0, 2*len(n.Regions))
	for _, region := range n.Regions {
		name := registry + region + ".geo." + zone
		patterns = append(patterns, pattern{1, name, dns.TypeA, subnet{}}, pattern{1, name, dns.TypeAAAA, subnet{}})
	}
	return patterns, nil
}

// missing asks for names of the zone that do not exist, the same ones again.
func missing(n *Names) ([]pattern, error) {
	_, zone, err := n.zone()
	if err != nil {
		return nil, err
	}
	const names = 16
	patterns := make([]pattern, names)
	for i := range patterns {
		patterns[i] = pattern{1, fmt.Sprintf("no-such-name-%02d.%s", i, zone), dns.TypeA, subnet{random: true, bits: subnetBits4}}
	}
	return patterns, nil
}

// mixed is what a name server of registries sees on an ordinary day: mostly global
// names, most of them of resolvers that send a client subnet.
func mixed(n *Names) ([]pattern, error) {
	var patterns []pattern
	for _, part := range []struct {
		kind   string
		weight float64
	}{{"global", 70}, {"regional", 10}, {"nxdomain", 5}, {"random", 5}} {
		if part.kind == "regional" && len(n.Regions) == 0 {
			continue
		}
		more, _, err := expand(part.kind, n)
		if err != nil {
			return nil, err
		}
		patterns = append(patterns, scaled(more, part.weight)...)
	}
	return append(patterns, pattern{10, n.Name, dns.TypeA, subnet{}}), nil
}
