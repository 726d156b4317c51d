package geo

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// TestIndexAgainstModel compares every answer with the model, and every scope with
// what a scope must be: the widest block around the address in which the model
// gives one answer.
func TestIndexAgainstModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(150) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		m := &model{table: randomTable(rnd), regions: randomRegions(rnd, 1+rnd.IntN(6)), other: randomTable(rnd).cells}
		m.sites, m.defaultRegion = randomSites(rnd, len(m.regions)), rnd.IntN(len(m.regions)+1)-1
		ix, err := NewIndex(m.table, m.regions, m.sites, m.defaultRegion, WithCountryCells(m.other))
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		critical := criticalAddrs(m)
		for _, addr := range slices.Concat(critical, randomAddrs(rnd, 200)) {
			checkAddr(t, seed, m, ix, addr, critical)
		}
		if t.Failed() {
			return
		}
	}
}

func randomAddrs(rnd *rand.Rand, n int) []netip.Addr {
	addrs := make([]netip.Addr, 0, 2*n)
	for range n {
		addrs = append(addrs, randomAddr4(rnd), randomAddr6(rnd))
	}
	return addrs
}

// criticalAddrs are the addresses where the model's answer can change, sorted.
func criticalAddrs(m *model) []netip.Addr {
	var addrs []netip.Addr
	prefixes := slices.Concat(specialBlocks(), wrappedBlocks())
	for _, s := range m.sites {
		prefixes = append(prefixes, s.Prefixes...)
	}
	for _, p := range prefixes {
		addrs = append(addrs, p.Masked().Addr())
		if next := lastAddr(p).Next(); next.IsValid() {
			addrs = append(addrs, next)
		}
	}
	for _, s := range m.table.v4.starts {
		addrs = append(addrs, netip.AddrFrom4([4]byte{byte(s >> 24), byte(s >> 16), byte(s >> 8), byte(s)}))
	}
	for _, s := range m.table.v6.starts {
		addrs = append(addrs, addr6(s, 0))
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return slices.Compact(addrs)
}

func lastAddr(p netip.Prefix) netip.Addr {
	b := blockOf(p, 0)
	if p.Addr().Is4() {
		a := uint32(b.last.hi >> 32)
		return netip.AddrFrom4([4]byte{byte(a >> 24), byte(a >> 16), byte(a >> 8), byte(a)})
	}
	return addr6(b.last.hi, b.last.lo)
}

func checkAddr(t *testing.T, seed uint64, m *model, ix *Index, addr netip.Addr, critical []netip.Addr) {
	t.Helper()
	class, scope := ix.find(addr)
	want := m.answer(addr)
	want.wrapped = false // an index does not tell
	if got := answerOf(ix, class); got != want {
		t.Errorf("seed %d: %s: got %+v, want %+v", seed, addr, got, want)
		return
	}
	if slices.ContainsFunc(wrappedBlocks(), func(p netip.Prefix) bool { return p.Contains(addr) }) {
		return // scopes there are a rule of their own
	}
	block := netip.PrefixFrom(addr, int(scope)).Masked()
	if other, ok := differing(m, block, critical); ok {
		t.Errorf("seed %d: %s: scope %s holds %s, which has another answer", seed, addr, block, other)
	}
	if scope == 0 {
		return
	}
	parent := netip.PrefixFrom(addr, int(scope)-1).Masked()
	if _, ok := differing(m, parent, critical); !ok {
		t.Errorf("seed %d: %s: scope %s, but all of %s has the same answer", seed, addr, block, parent)
	}
}

// differing looks for an address in a block with another answer than its first.
func differing(m *model, block netip.Prefix, critical []netip.Addr) (netip.Addr, bool) {
	first := m.answer(block.Addr())
	i, _ := slices.BinarySearchFunc(critical, block.Addr(), netip.Addr.Compare)
	for ; i < len(critical) && block.Contains(critical[i]); i++ {
		if m.answer(critical[i]) != first {
			return critical[i], true
		}
	}
	return netip.Addr{}, false
}

// TestScopesDisjoint asks about two addresses at a time: RFC 7871 section 7.2.1
// forbids that one scope lies in another.
func TestScopesDisjoint(t *testing.T) {
	t.Parallel()
	for seed := range uint64(30) {
		rnd := rand.New(rand.NewPCG(seed, 8))
		regions := randomRegions(rnd, 4)
		ix, err := NewIndex(randomTable(rnd), regions, randomSites(rnd, 4), -1)
		if err != nil {
			t.Fatal(err)
		}
		var seen4, seen6 []netip.Prefix
		for _, addr := range randomAddrs(rnd, 300) {
			p := clientScope(ix, addr, 128)
			if p.Addr().Is4() {
				seen4 = append(seen4, p)
			} else {
				seen6 = append(seen6, p)
			}
		}
		for _, seen := range [][]netip.Prefix{seen4, seen6} {
			for i, p := range seen {
				for _, q := range seen[:i] {
					if p != q && p.Overlaps(q) {
						t.Fatalf("seed %d: scopes %s and %s overlap", seed, p, q)
					}
				}
			}
		}
	}
}

// clientScope is the scope of an address the way a resolver gets it, in its own
// family, with so many bits of an IPv6 address known.
func clientScope(ix *Index, addr netip.Addr, bits int) netip.Prefix {
	if addr.Is4() {
		_, scope := ix.Find4(key4(addr))
		return netip.PrefixFrom(addr, int(scope)).Masked()
	}
	hi, lo := key6(addr)
	if v4, shift, ok := Unwrap(hi, lo, bits); ok {
		_, scope := ix.Find4(v4)
		return netip.PrefixFrom(addr, int(scope)+shift).Masked()
	}
	_, scope := ix.Find6(hi, lo)
	return netip.PrefixFrom(addr, int(scope)).Masked()
}

// TestScopesOfShortSources checks that a client subnet too short to unwrap has no
// scope that holds one of a longer subnet in the same block.
func TestScopesOfShortSources(t *testing.T) {
	t.Parallel()
	ix := mustIndex(t, fourCells(), fourRegions(), nil, -1)
	for _, text := range []string{"2002:808:808::", "2001:0:1::", "::ffff:8.8.8.0", "64:ff9b::8.8.8.0"} {
		addr := netip.MustParseAddr(text)
		long := clientScope(ix, addr, 128)
		for bits := range 129 {
			short := netip.PrefixFrom(addr, bits).Masked().Addr()
			if p := clientScope(ix, short, bits); p != long && p.Contains(long.Addr()) && p.Bits() < long.Bits() {
				t.Errorf("%s/%d has scope %s, which holds %s", text, bits, p, long)
			}
		}
	}
}

// fourCells is a table with a cell in California, Virginia, Toronto and Amsterdam,
// one that is only known to be in the US and one that is only known to be in BR.
func fourCells() *Table {
	t := &Table{source: "four cells", cells: []Cell{
		{},
		{Point: Point{37.8, -122.4}, Country: [2]byte{'U', 'S'}, Kind: Located, Weight: 100},
		{Point: Point{37.4, -79.8}, Country: [2]byte{'U', 'S'}, Kind: Located, Weight: 300},
		{Point: Point{43.7, -79.4}, Country: [2]byte{'C', 'A'}, Kind: Located, Weight: 50},
		{Point: Point{52.4, 4.9}, Country: [2]byte{'N', 'L'}, Kind: Located, Weight: 50},
		{Point: Point{37.75, -97.82}, Country: [2]byte{'U', 'S'}, Kind: CountryOnly, Weight: 900},
		{Point: Point{-10, -55}, Country: [2]byte{'B', 'R'}, Kind: CountryOnly, Weight: 900},
	}}
	t.v4 = partition[uint32]{
		starts: []uint32{0, 8 << 24, 9 << 24, 10 << 24, 12 << 24, 14 << 24, 15 << 24, 16 << 24},
		values: []uint16{0, 1, 2, 3, 4, 5, 6, 0},
	}
	t.v6 = partition[uint64]{
		starts: []uint64{0, 0x2600 << 48, 0x2610 << 48, 0x2a00 << 48, 0x2b00 << 48},
		values: []uint16{0, 1, 2, 4, 0},
	}
	return t
}

func fourRegions() []Region {
	return []Region{
		{Name: "westus", Point: Point{37.783, -122.417}},
		{Name: "eastus", Point: Point{37.3719, -79.8164}},
		{Name: "canadacentral", Point: Point{43.653, -79.383}},
		{Name: "westeurope", Point: Point{52.3667, 4.9}},
	}
}

func mustIndex(tb testing.TB, t *Table, regions []Region, sites []Site, defaultRegion int, opts ...Option) *Index {
	tb.Helper()
	ix, err := NewIndex(t, regions, sites, defaultRegion, opts...)
	if err != nil {
		tb.Fatal(err)
	}
	return ix
}

func prefixes(texts ...string) []netip.Prefix { return parsePrefixes(texts) }

func TestSplice(t *testing.T) {
	t.Parallel()
	sites := []Site{
		{Name: "campus", Prefixes: prefixes("10.20.0.0/16", "2001:db8:77::/48"), Region: 3},
		{Name: "lab", Prefixes: prefixes("10.20.30.0/24", "2001:db8:77:1::/64"), Region: 0},
		{Name: "resolver", Prefixes: prefixes("10.20.30.53/32", "2001:db8:77:1::53/128", "2600::53/128"), Region: 1},
		{Name: "wide", Prefixes: prefixes("192.168.0.0/15"), Region: 2},
		{Name: "host", Prefixes: prefixes("9.1.2.3/32"), Region: 2},
	}
	ix := mustIndex(t, fourCells(), fourRegions(), sites, -1)
	for _, c := range []struct {
		addr  string
		site  int
		scope string
	}{
		{"10.20.0.1", 0, "10.20.0.0/20"},
		{"10.20.31.1", 0, "10.20.31.0/24"},
		{"10.20.30.1", 1, "10.20.30.0/27"},
		{"10.20.30.53", 2, "10.20.30.53/32"},
		{"10.20.30.52", 1, "10.20.30.52/32"},
		{"10.21.0.1", -1, "10.21.0.0/16"},
		{"10.128.0.1", -1, "10.128.0.0/9"},
		{"192.168.1.1", 3, "192.168.0.0/15"}, // a site wider than the private block in it
		{"192.169.1.1", 3, "192.168.0.0/15"},
		{"9.1.2.3", 4, "9.1.2.3/32"},
		{"9.1.2.2", -1, "9.1.2.2/32"},
		{"9.128.0.0", -1, "9.128.0.0/9"},
		{"127.0.0.1", -1, "127.0.0.0/8"},
		{"172.16.5.4", -1, "172.16.0.0/12"},
		{"100.64.0.1", -1, "100.64.0.0/10"},
		{"2001:db8:77:1::53", 2, "2001:db8:77:1::53/128"},
		{"2001:db8:77:1:8000::", 1, "2001:db8:77:1:8000::/65"},
		{"2001:db8:77:2::", 0, "2001:db8:77:2::/63"},
		{"2001:db8:77:8000::", 0, "2001:db8:77:8000::/49"},
		{"2001:db8:78::", -1, "2001:db8:78::/45"},
		{"2600::53", 2, "2600::53/128"},
		{"2600::54", -1, "2600::54/126"},
		{"2600:0:0:1::", -1, "2600:0:0:1::/64"},
		{"fd00::1", -1, "fc00::/7"},
	} {
		class, scope := ix.find(netip.MustParseAddr(c.addr))
		if got := ix.Site(class); got != c.site {
			t.Errorf("%s: site %d, want %d", c.addr, got, c.site)
		}
		if got := netip.PrefixFrom(netip.MustParseAddr(c.addr), int(scope)).Masked(); got.String() != c.scope {
			t.Errorf("%s: scope %s, want %s", c.addr, got, c.scope)
		}
	}
}

func TestRank(t *testing.T) {
	t.Parallel()
	regions := fourRegions()
	for _, c := range []struct {
		name          string
		addr          string
		bias          [4]float64
		defaultRegion int
		other         []Cell
		want          []uint8
	}{
		{name: "california", addr: "8.8.8.8", defaultRegion: -1, want: []uint8{0, 2, 1, 3}},
		{name: "netherlands", addr: "12.0.0.1", defaultRegion: -1, want: []uint8{3, 2, 1, 0}},
		{name: "bias sends California away", addr: "8.8.8.8", bias: [4]float64{9000}, defaultRegion: -1, want: []uint8{2, 1, 3, 0}},
		{name: "bias draws Toronto south", addr: "2610::1", bias: [4]float64{0, 0, -800}, defaultRegion: -1, want: []uint8{2, 1, 0, 3}},
		// The placeholder in Kansas is nearer to Toronto and Virginia by hundreds of
		// kilometres; what counts is the mean over California (100) and Virginia (300).
		{name: "country only", addr: "14.0.0.1", defaultRegion: -1, want: []uint8{1, 2, 0, 3}},
		{name: "country without cells", addr: "15.0.0.1", defaultRegion: -1, want: []uint8{0, 1, 2, 3}},
		{name: "country without cells, default", addr: "15.0.0.1", defaultRegion: 3, want: []uint8{3, 2, 1, 0}},
		{
			name: "country of another table", addr: "15.0.0.1", defaultRegion: 3,
			other: []Cell{{Point: Point{-23.5, -46.6}, Country: [2]byte{'B', 'R'}, Kind: Located, Weight: 1}},
			want:  []uint8{1, 2, 3, 0},
		},
		{name: "unlocated", addr: "20.0.0.1", defaultRegion: -1, want: []uint8{0, 1, 2, 3}},
		{name: "unlocated, default", addr: "20.0.0.1", defaultRegion: 2, want: []uint8{2, 1, 0, 3}},
		{name: "special, default", addr: "10.0.0.1", defaultRegion: 1, want: []uint8{1, 2, 0, 3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			biased := slices.Clone(regions)
			for i := range biased {
				biased[i].Bias = c.bias[i]
			}
			ix := mustIndex(t, fourCells(), biased, nil, c.defaultRegion, WithCountryCells(c.other))
			class, _ := ix.find(netip.MustParseAddr(c.addr))
			if got := ix.Rank(class); !slices.Equal(got, c.want) {
				t.Errorf("rank %v, want %v", got, c.want)
			}
		})
	}
}

func TestRankTies(t *testing.T) {
	t.Parallel()
	p := Point{37.3719, -79.8164}
	regions := []Region{{Name: "c", Point: p}, {Name: "a", Point: p}, {Name: "near", Point: Point{37.8, -122.4}}, {Name: "b", Point: p}}
	ix := mustIndex(t, fourCells(), regions, nil, -1)
	class, _ := ix.Find4(8 << 24)
	if got, want := ix.Rank(class), []uint8{2, 0, 1, 3}; !slices.Equal(got, want) {
		t.Errorf("rank %v, want the configured order among equals, %v", got, want)
	}
}

func TestSiteRegionFirst(t *testing.T) {
	t.Parallel()
	regions := fourRegions()
	regions[3].Bias = 20000
	ix := mustIndex(t, fourCells(), regions, []Site{{Name: "lab", Prefixes: prefixes("12.1.0.0/16"), Region: 3}}, -1)
	class, scope := ix.Find4(12<<24 | 1<<16)
	if got := ix.Rank(class); got[0] != 3 || scope != 16 || ix.Site(class) != 0 {
		t.Errorf("rank %v scope %d, want region 3 first, whatever its bias, and scope 16", got, scope)
	}
}

// TestSitesAreClasses checks that two sites with the same list, side by side, do
// not become one: holds are counted by site.
func TestSitesAreClasses(t *testing.T) {
	t.Parallel()
	sites := []Site{
		{Name: "a", Prefixes: prefixes("10.0.0.0/25", "10.0.1.0/24"), Region: 1},
		{Name: "b", Prefixes: prefixes("10.0.0.128/25"), Region: 1},
	}
	ix := mustIndex(t, fourCells(), fourRegions(), sites, -1)
	a, scopeA := ix.Find4(10 << 24)
	b, scopeB := ix.Find4(10<<24 | 128)
	if a == b || scopeA != 25 || scopeB != 25 {
		t.Errorf("classes %d/%d and %d/%d, want two with scope 25", a, scopeA, b, scopeB)
	}
}

func TestNewIndexErrors(t *testing.T) {
	t.Parallel()
	regions := fourRegions()
	for _, c := range []struct {
		name          string
		regions       []Region
		sites         []Site
		defaultRegion int
		want          string
	}{
		{"no regions", nil, nil, -1, "at least one"},
		{"many regions", make([]Region, 65), nil, -1, "at most 64"},
		{"place", []Region{{Name: "moon", Point: Point{91, 0}}}, nil, -1, `region "moon"`},
		{"default", regions, nil, 4, "default region 4"},
		{"site region", regions, []Site{{Name: "lab", Region: 9}}, -1, `site "lab": region 9`},
		{"twice", regions, []Site{
			{Name: "a", Prefixes: prefixes("10.0.0.0/8")},
			{Name: "b", Prefixes: prefixes("10.1.0.0/8")},
		}, -1, `prefix 10.0.0.0/8 is in site "a" and in site "b"`},
		{"wrapped", regions, []Site{{Name: "a", Prefixes: prefixes("64:ff9b::/112")}}, -1, "list IPv4 prefixes"},
		{"zero prefix", regions, []Site{{Name: "a", Prefixes: make([]netip.Prefix, 1)}}, -1, "not valid"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := NewIndex(fourCells(), c.regions, c.sites, c.defaultRegion)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

func TestFindDoesNotAllocate(t *testing.T) {
	ix := mustIndex(t, fourCells(), fourRegions(), []Site{{Name: "r", Prefixes: prefixes("2600::53/128", "9.1.2.3/32")}}, -1)
	var sum int
	if n := testing.AllocsPerRun(100, func() {
		a, _ := ix.Find4(9<<24 | 1<<16 | 2<<8 | 3)
		b, _ := ix.Find6(0x2600<<48, 0x53)
		c, _ := ix.Find6(0x2002<<48, 0)
		v4, _, _ := Unwrap(0x2002<<48, 0, 128)
		sum += len(ix.Rank(a)) + ix.Site(b) + int(c) + int(v4)
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}
