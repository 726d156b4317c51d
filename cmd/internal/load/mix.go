package load

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// maxLines bounds the lines of a mix: as many as a large configuration has names.
const maxLines = 1 << 20

// Names are what the kinds of a mix are about: one registry and its regions.
type Names struct {
	// Name is the global name of a registry.
	Name string
	// Zone is the zone it is in; "" for the name without its first label.
	Zone string
	// Regions are the regions whose regional names are asked for.
	Regions []string
}

// zone returns the zone and the part of the name before it.
func (n *Names) zone() (registry, zone string, err error) {
	if n.Name == "" {
		return "", "", errors.New("name the registry: --name myregistry.example.io")
	}
	name, zone := dns.Fqdn(n.Name), dns.Fqdn(n.Zone)
	if n.Zone == "" {
		at := dns.Split(name)
		if len(at) < 2 {
			return "", "", fmt.Errorf("name %s has no zone: give one with --zone", n.Name)
		}
		zone = name[at[1]:]
	}
	if name == zone {
		return "", zone, nil
	}
	if !dns.IsSubDomain(zone, name) {
		return "", "", fmt.Errorf("name %s is not in zone %s", n.Name, n.Zone)
	}
	return strings.TrimSuffix(name, zone), zone, nil
}

// Mix is a weighted set of queries. It is immutable and safe for concurrent use.
type Mix struct {
	queries []query
	// The alias method: a drawn index is kept with probability keep, else other
	// takes its place. It costs the same for a million queries as for two.
	keep  []uint32
	other []uint32
}

// ParseMix reads a mix, a line each:
//
//	WEIGHT KIND
//	WEIGHT NAME [TYPE [SUBNET]]
//
// A kind is one of [Kinds] and is about names. A NAME whose first label is "*"
// gets a random label each time. TYPE is A without one. SUBNET is the client
// subnet: a prefix, random4/24, random6/56 (any length), or "-" for none, which is
// the default. What follows a # is a comment. All faults are reported, each with
// file (the source that is given) and line.
func ParseMix(r io.Reader, source string, names *Names) (*Mix, error) {
	var patterns []pattern
	var errs []error
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		fields := strings.Fields(text)
		if len(fields) == 0 {
			continue
		}
		more, err := parseLine(fields, names)
		if err != nil && len(errs) < 20 {
			errs = append(errs, fmt.Errorf("%s:%d: %w", source, n, err))
		}
		if patterns = append(patterns, more...); len(patterns) > maxLines {
			return nil, fmt.Errorf("%s:%d: more than %d queries", source, n, maxLines)
		}
	}
	if err := lines.Err(); err != nil {
		errs = append(errs, fmt.Errorf("%s: %w", source, err))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	m, err := newMix(patterns)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", source, err)
	}
	return m, nil
}

// BuiltIn returns the mix of one kind.
func BuiltIn(kind string, names *Names) (*Mix, error) {
	return ParseMix(strings.NewReader("1 "+kind), "mix "+kind, names)
}

func parseLine(fields []string, names *Names) ([]pattern, error) {
	weight, err := strconv.ParseFloat(fields[0], 64)
	if err != nil || !(weight > 0 && weight <= 1e9) {
		return nil, fmt.Errorf("weight %q: begin the line with a number above 0", fields[0])
	}
	switch len(fields) {
	case 1:
		return nil, errors.New("a weight alone: say what is asked, a kind or a name")
	case 2:
		if patterns, known, err := expand(fields[1], names); known {
			return scaled(patterns, weight), err
		}
		if !strings.Contains(fields[1], ".") {
			return nil, fmt.Errorf("%q is no kind of query: use one of %s, or a name with a dot in it", fields[1], strings.Join(Kinds(), ", "))
		}
	case 3, 4:
	default:
		return nil, fmt.Errorf("%d words: write WEIGHT NAME TYPE SUBNET", len(fields))
	}
	p := pattern{weight: weight, name: fields[1], qtype: dns.TypeA}
	if len(fields) > 2 {
		qtype, ok := dns.StringToType[strings.ToUpper(fields[2])]
		if !ok {
			return nil, fmt.Errorf("type %q is not known", fields[2])
		}
		p.qtype = qtype
	}
	if len(fields) > 3 {
		if p.subnet, err = parseSubnet(fields[3]); err != nil {
			return nil, err
		}
	}
	return []pattern{p}, nil
}

// scaled gives the patterns together the weight.
func scaled(patterns []pattern, weight float64) []pattern {
	total := 0.0
	for i := range patterns {
		total += patterns[i].weight
	}
	for i := range patterns {
		patterns[i].weight *= weight / total
	}
	return patterns
}

// newMix packs the queries and makes the tables to draw from (Vose's alias method).
func newMix(patterns []pattern) (*Mix, error) {
	if len(patterns) == 0 {
		return nil, errors.New("nothing is asked: write a line such as `1 global`")
	}
	m := &Mix{keep: make([]uint32, len(patterns)), other: make([]uint32, len(patterns))}
	total := 0.0
	for i := range patterns {
		q, err := patterns[i].pack()
		if err != nil {
			return nil, err
		}
		m.queries = append(m.queries, q)
		total += patterns[i].weight
	}
	share := make([]float64, len(patterns))
	var small, large []int
	for i := range patterns {
		m.keep[i], m.other[i] = 1<<32-1, uint32(i)
		if share[i] = patterns[i].weight * float64(len(patterns)) / total; share[i] < 1 {
			small = append(small, i)
		} else {
			large = append(large, i)
		}
	}
	for len(small) > 0 && len(large) > 0 {
		s, l := small[len(small)-1], large[len(large)-1]
		small = small[:len(small)-1]
		m.keep[s], m.other[s] = uint32(share[s]*(1<<32-1)), uint32(l)
		if share[l] -= 1 - share[s]; share[l] < 1 {
			large = large[:len(large)-1]
			small = append(small, l)
		}
	}
	return m, nil
}

// draw returns the number of the next query.
func (m *Mix) draw(rng *rand.PCG) uint32 {
	if len(m.queries) == 1 {
		return 0
	}
	r := rng.Uint64()
	i := uint32((r >> 32) * uint64(len(m.queries)) >> 32)
	if uint32(r) > m.keep[i] {
		return m.other[i]
	}
	return i
}
