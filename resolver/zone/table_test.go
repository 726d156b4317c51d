package zone_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"portolan.dev/resolver/wire"
	"portolan.dev/resolver/zone"
)

// name is the folded wire form of text.
func name(tb testing.TB, text string) []byte {
	tb.Helper()
	n, err := wire.ParseName(text)
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

// message is a query for a name in wire form.
func message(qname []byte, qtype uint16) []byte {
	msg := []byte{0x12, 0x34, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0}
	msg = append(msg, qname...)
	msg = binary.BigEndian.AppendUint16(msg, qtype)
	return binary.BigEndian.AppendUint16(msg, wire.ClassIN)
}

// find looks a name up as a query does.
func find(tb testing.TB, t *zone.Table, qname []byte) (*zone.Node, *zone.Zone, zone.Found) {
	tb.Helper()
	var q wire.Query
	if got := q.Parse(message(qname, wire.TypeA)); got != wire.Refer {
		tb.Fatalf("%x: disposition %d", qname, got)
	}
	return t.Find(&q)
}

func finish(tb testing.TB, b *zone.Builder) *zone.Table {
	tb.Helper()
	t, err := b.Table()
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

func soaOf(tb testing.TB, mname, rname string) *zone.SOA {
	tb.Helper()
	return &zone.SOA{
		MName: name(tb, mname), RName: name(tb, rname),
		Refresh: 7200, Retry: 900, Expire: 1209600, Minimum: 60, TTL: 3600,
	}
}

func addZone(tb testing.TB, b *zone.Builder, apex string, rest ...zone.Set) int {
	tb.Helper()
	id, err := b.AddZone(name(tb, apex), soaOf(tb, "ns1.example.net.", "hostmaster.example.net."), rest...)
	if err != nil {
		tb.Fatal(err)
	}
	return id
}

// model is the table as one would write it without care for speed: which zone
// owns a name, and which names exist in it.
type model struct {
	apexes  map[string]int
	defined map[string]uint32 // name → Ref
	exist   map[string]bool   // defined names and all names above them up to an apex
}

// owner returns the zone of the longest apex that is a suffix; -1 for none.
func (m *model) owner(n []byte) int {
	for off := 0; ; off += int(n[off]) + 1 {
		if z, ok := m.apexes[string(n[off:])]; ok {
			return z
		}
		if n[off] == 0 {
			return -1
		}
	}
}

// grow enters what exists because n does.
func (m *model) grow(n []byte) {
	for off := 0; m.owner(n[off:]) >= 0; off += int(n[off]) + 1 {
		m.exist[string(n[off:])] = true
		if n[off] == 0 {
			return
		}
	}
}

func (m *model) find(n []byte) (zoneNumber int, found zone.Found) {
	z := m.owner(n)
	switch {
	case z < 0:
		return z, zone.Outside
	case m.exist[string(n)]:
		return z, zone.Hit
	}
	return z, zone.Miss
}

// randomName puts up to three labels, of few and of odd octets so that names
// often meet, in front of a suffix.
func randomName(rng *rand.Rand, suffix []byte) []byte {
	n := suffix
	for range rng.IntN(4) {
		label := make([]byte, 1+rng.IntN(2))
		for i := range label {
			label[i] = "ab.\x00*@[`{ \\\xff\xe4-_0"[rng.IntN(16)]
		}
		if rng.IntN(50) == 0 {
			label = bytes.Repeat([]byte{'x'}, 63)
		}
		longer := append(append([]byte{byte(len(label))}, label...), n...)
		if len(longer) > wire.MaxName {
			break
		}
		n = longer
	}
	return n
}

// Names are found and missed as a map of them says, in zones beside and below
// one another, whatever order zones and names come in.
func TestFindAgreesWithModel(t *testing.T) {
	for _, zones := range [][]string{
		{"example.io."},
		{"example.io.", "example.net.", "io."},
		{"."},
		{".", "example.io.", "b.a.example.io."},
		{"b.a.example.io.", "example.io.", "b.b.a.example.io.", "a.example.net.", "example.net."},
	} {
		t.Run(strings.Join(zones, " "), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(7, uint64(len(zones))))
			b := zone.NewBuilder(rng.Uint64())
			m := &model{map[string]int{}, map[string]uint32{}, map[string]bool{}}
			var suffixes [][]byte
			for i, z := range zones {
				addZone(t, b, z)
				m.apexes[string(name(t, z))] = i
				m.defined[string(name(t, z))] = 0
				suffixes = append(suffixes, name(t, z))
			}
			for _, s := range suffixes {
				m.grow(s)
				if len(s) > 1 { // the names above a zone, as far as another zone has them
					m.grow(s[int(s[0])+1:])
				}
			}
			fill(t, rng, b, m, suffixes)
			compare(t, rng, finish(t, b), m, append(suffixes, []byte{0}, name(t, "com."), name(t, "example.org.")))
		})
	}
}

// fill defines some thousand names, each in the zone that a random suffix has.
func fill(t *testing.T, rng *rand.Rand, b *zone.Builder, m *model, suffixes [][]byte) {
	t.Helper()
	for ref := range uint32(4000) {
		pick := rng.IntN(len(suffixes))
		n := randomName(rng, suffixes[pick])
		_, twice := m.defined[string(n)]
		err := b.Define(pick, n, zone.Static, ref, zone.Set{Type: wire.TypeTXT, TTL: 60, Data: [][]byte{{1, 'x'}}})
		switch {
		case m.owner(n) != pick:
			if !errors.Is(err, zone.ErrElsewhere) {
				t.Fatalf("%s in zone %d, which is that of zone %d: %v", wire.AppendName(nil, n), pick, m.owner(n), err)
			}
			continue
		case twice:
			if !errors.Is(err, zone.ErrDefined) {
				t.Fatalf("%s twice: %v", wire.AppendName(nil, n), err)
			}
			continue
		case err != nil:
			t.Fatal(err)
		}
		m.defined[string(n)] = ref
		m.grow(n)
	}
}

func compare(t *testing.T, rng *rand.Rand, table *zone.Table, m *model, suffixes [][]byte) {
	t.Helper()
	if table.Names() != len(m.exist) {
		t.Errorf("%d names, want %d", table.Names(), len(m.exist))
	}
	names := slices.Sorted(maps.Keys(m.exist))
	for range 20000 {
		names = append(names, string(randomName(rng, suffixes[rng.IntN(len(suffixes))])))
	}
	hits, misses, outside := 0, 0, 0
	for _, n := range names {
		node, z, found := find(t, table, []byte(n))
		wantZone, want := m.find([]byte(n))
		if found != want {
			t.Fatalf("%s: found %d, want %d", wire.AppendName(nil, []byte(n)), found, want)
		}
		switch found {
		case zone.Outside:
			outside++
			continue
		case zone.Miss:
			misses++
		case zone.Hit:
			hits++
			ref, defined := m.defined[n]
			if node.Ref != ref || defined != (len(table.Sets(node)) > 0) || string(table.Name(node)) != n {
				t.Fatalf("%s: ref %d with %d RRsets, want %d, defined %t", wire.AppendName(nil, []byte(n)), node.Ref, len(table.Sets(node)), ref, defined)
			}
		}
		if z.Number != wantZone {
			t.Fatalf("%s: zone %d, want %d", wire.AppendName(nil, []byte(n)), z.Number, wantZone)
		}
	}
	if hits < 500 || misses < 500 || outside == 0 && len(m.apexes) > 0 && m.owner([]byte{0}) < 0 {
		t.Errorf("%d hits, %d misses, %d outside: too few to tell anything", hits, misses, outside)
	}
}

// A name of 255 octets, with 127 labels or with four long ones, is found, and
// names that are longer or shorter by a label are not.
func TestVeryLongNames(t *testing.T) {
	for _, apex := range []string{"io.", "."} {
		b := zone.NewBuilder(3)
		z := addZone(t, b, apex)
		many := name(t, apex)
		for len(many)+2 <= wire.MaxName {
			many = append([]byte{1, 'a'}, many...)
		}
		long := name(t, apex)
		for len(long) < wire.MaxName {
			n := min(63, wire.MaxName-len(long)-1)
			long = append(append([]byte{byte(n)}, bytes.Repeat([]byte{'b'}, n)...), long...)
		}
		for _, n := range [][]byte{many, long} {
			if err := b.Define(z, n, zone.Static, 1, zone.Set{Type: wire.TypeA, TTL: 1, Data: [][]byte{{192, 0, 2, 1}}}); err != nil {
				t.Fatal(err)
			}
		}
		table := finish(t, b)
		for _, n := range [][]byte{many, long, many[2:], long[int(long[0])+1:]} {
			if _, _, found := find(t, table, n); found != zone.Hit {
				t.Errorf("%d octets below %s: %d", len(n), apex, found)
			}
		}
		other := bytes.Clone(many)
		other[1] = 'c'
		if _, _, found := find(t, table, other); found != zone.Miss {
			t.Errorf("another name of %d octets: %d", len(other), found)
		}
	}
}

func TestBuilderRefuses(t *testing.T) {
	set := zone.Set{Type: wire.TypeA, TTL: 60, Data: [][]byte{{192, 0, 2, 1}}}
	for _, tt := range []struct {
		what  string
		do    func(b *zone.Builder, parent, child int) error
		is    error
		words []string
	}{
		{"a name twice", func(b *zone.Builder, parent, _ int) error {
			if err := b.Define(parent, name(t, "a.example.io."), zone.Static, 0, set); err != nil {
				return err
			}
			return b.Define(parent, name(t, "a.example.io."), zone.Global, 1)
		}, zone.ErrDefined, []string{"a.example.io."}},
		{"the apex again", func(b *zone.Builder, parent, _ int) error {
			return b.Define(parent, name(t, "example.io."), zone.Static, 0, set)
		}, zone.ErrDefined, []string{"example.io."}},
		{"a zone twice", func(b *zone.Builder, _, _ int) error {
			_, err := b.AddZone(name(t, "example.io."), soaOf(t, "a.", "b."))
			return err
		}, zone.ErrDefined, []string{"zone example.io."}},
		{"a zone behind a name in it", func(b *zone.Builder, parent, _ int) error {
			if err := b.Define(parent, name(t, "x.late.example.io."), zone.Static, 0, set); err != nil {
				return err
			}
			_, err := b.AddZone(name(t, "late.example.io."), soaOf(t, "a.", "b."))
			return err
		}, zone.ErrDefined, []string{"zone late.example.io."}},
		{"a name of no zone", func(b *zone.Builder, parent, _ int) error {
			return b.Define(parent, name(t, "a.example.org."), zone.Static, 0, set)
		}, zone.ErrElsewhere, []string{"a.example.org.", "no zone"}},
		{"one label that ends in the octets of the apex", func(b *zone.Builder, parent, _ int) error {
			return b.Define(parent, []byte("\x0ca\x07example\x02io\x00"), zone.Static, 0, set)
		}, zone.ErrElsewhere, []string{"no zone"}},
		{"a name of the child in the parent", func(b *zone.Builder, parent, _ int) error {
			return b.Define(parent, name(t, "x.child.sub.example.io."), zone.Static, 0, set)
		}, zone.ErrElsewhere, []string{"x.child.sub.example.io.", "zone child.sub.example.io."}},
		{"the apex of the child in the parent", func(b *zone.Builder, parent, _ int) error {
			return b.Define(parent, name(t, "child.sub.example.io."), zone.Static, 0, set)
		}, zone.ErrElsewhere, []string{"zone child.sub.example.io."}},
		{"a name of the parent in the child", func(b *zone.Builder, _, child int) error {
			return b.Define(child, name(t, "x.example.io."), zone.Static, 0, set)
		}, zone.ErrElsewhere, []string{"x.example.io.", "zone example.io."}},
		{"another kind for a name that is not there", func(b *zone.Builder, _, _ int) error {
			return b.Redefine(name(t, "nowhere.example.io."), zone.Global, 1)
		}, zone.ErrDefined, []string{"nowhere.example.io."}},
		{"a third kind", func(b *zone.Builder, _, _ int) error {
			if err := b.Redefine(name(t, "example.io."), zone.Global, 1); err != nil {
				return err
			}
			return b.Redefine(name(t, "example.io."), zone.Explain, 1)
		}, zone.ErrDefined, []string{"example.io."}},
		{"an answer over 65535 octets", func(b *zone.Builder, parent, _ int) error {
			txt := bytes.Repeat(append([]byte{255}, bytes.Repeat([]byte{'x'}, 255)...), 250)
			return b.Define(parent, name(t, "big.example.io."), zone.Static, 0,
				zone.Set{Type: wire.TypeTXT, TTL: 1, Data: [][]byte{txt, txt}})
		}, nil, []string{"big.example.io.", "65535", "fewer"}},
	} {
		t.Run(tt.what, func(t *testing.T) {
			b := zone.NewBuilder(1)
			parent, child := addZone(t, b, "example.io."), addZone(t, b, "child.sub.example.io.")
			err := tt.do(b, parent, child)
			if err == nil || tt.is != nil && !errors.Is(err, tt.is) {
				t.Fatalf("error %v, want %v", err, tt.is)
			}
			for _, w := range tt.words {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not name %q", err, w)
				}
			}
		})
	}
}

// A zone that lies below another answers all its names, negative answers too, and
// the names between the two apexes exist.
func TestNestedZones(t *testing.T) {
	for _, order := range [][]string{
		{"example.io.", "child.sub.example.io."},
		{"child.sub.example.io.", "example.io."},
	} {
		b := zone.NewBuilder(9)
		for _, z := range order {
			addZone(t, b, z)
		}
		table := finish(t, b)
		for _, tt := range []struct {
			name  string
			zone  string
			found zone.Found
		}{
			{"example.io.", "example.io.", zone.Hit},
			{"sub.example.io.", "example.io.", zone.Hit}, // or RFC 8020 cuts the child off
			{"child.sub.example.io.", "child.sub.example.io.", zone.Hit},
			{"x.child.sub.example.io.", "child.sub.example.io.", zone.Miss},
			{"x.sub.example.io.", "example.io.", zone.Miss},
			{"child.example.io.", "example.io.", zone.Miss},
		} {
			_, z, found := find(t, table, name(t, tt.name))
			if found != tt.found || !bytes.Equal(z.Apex, name(t, tt.zone)) {
				t.Errorf("%v: %s: found %d in %s, want %d in %s", order, tt.name, found, wire.AppendName(nil, z.Apex), tt.found, tt.zone)
			}
		}
		if want := 3; table.Names() != want {
			t.Errorf("%v: %d names, want %d", order, table.Names(), want)
		}
	}
}

// The empty non-terminals above a zone go no further than the zone around it.
func TestNoNamesAboveTheFirstZone(t *testing.T) {
	b := zone.NewBuilder(9)
	addZone(t, b, "a.b.c.example.io.")
	table := finish(t, b)
	for _, n := range []string{"b.c.example.io.", "io.", "."} {
		if _, _, found := find(t, table, name(t, n)); found != zone.Outside {
			t.Errorf("%s: %d", n, found)
		}
	}
}

// A hundred thousand names are all found after the many times that the table grew.
func TestGrowth(t *testing.T) {
	const n = 100_000
	b := zone.NewBuilder(0)
	z := addZone(t, b, "example.io.")
	for i := range uint32(n) {
		if err := b.Define(z, name(t, fmt.Sprintf("r%d.example.io.", i)), zone.Global, i); err != nil {
			t.Fatal(err)
		}
	}
	table := finish(t, b)
	if table.Names() != n+1 {
		t.Fatalf("%d names", table.Names())
	}
	for i := range uint32(n) {
		node, _, found := find(t, table, name(t, fmt.Sprintf("R%d.Example.IO.", i)))
		if found != zone.Hit || node.Ref != i || node.Kind != zone.Global {
			t.Fatalf("name %d: %d", i, found)
		}
	}
	if again := finish(t, b); again.Names() != 0 {
		t.Error("the builder still holds names")
	}
}

// Nothing is found in a table without zones.
func TestEmptyTable(t *testing.T) {
	table := finish(t, zone.NewBuilder(1))
	for _, n := range []string{".", "example.io."} {
		if _, _, found := find(t, table, name(t, n)); found != zone.Outside {
			t.Errorf("%s: %d", n, found)
		}
	}
}
