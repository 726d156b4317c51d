package geo

import (
	"cmp"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"
)

// model answers like an Index by asking every prefix and every range, without any
// of the structures an Index has.
type model struct {
	table         *Table
	regions       []Region
	sites         []Site
	defaultRegion int
	other         []Cell
}

// answer is what two addresses must share to be of one class.
type answer struct {
	special bool
	site    int
	rank    string
	unknown bool
	wrapped bool // a range of its own, though unlocated like others
}

func (m *model) answer(addr netip.Addr) answer {
	for _, w := range wrappedBlocks() {
		if w.Contains(addr) {
			return answer{site: -1, rank: m.unlocated(), unknown: true, wrapped: true}
		}
	}
	site, bits := -1, -1
	for i, s := range m.sites {
		for _, p := range s.Prefixes {
			if p.Masked().Contains(addr) && p.Bits() > bits {
				site, bits = i, p.Bits()
			}
		}
	}
	if site >= 0 {
		return answer{site: site, rank: m.from(m.regions[m.sites[site].Region].Point, m.sites[site].Region)}
	}
	for _, p := range specialBlocks() {
		if p.Contains(addr) {
			return answer{special: true, site: -1, rank: m.unlocated()}
		}
	}
	return m.located(addr)
}

func (m *model) located(addr netip.Addr) answer {
	id, _ := m.table.Cell(addr)
	cell := m.table.cells[id]
	switch cell.Kind {
	case Located:
		return answer{site: -1, rank: m.from(cell.Point, -1)}
	case CountryOnly:
		if km, ok := m.mean(cell.Country); ok {
			return answer{site: -1, rank: m.order(km, -1)}
		}
	case Unlocated:
	}
	return answer{site: -1, rank: m.unlocated(), unknown: true}
}

func (m *model) mean(country [2]byte) ([]float64, bool) {
	for _, cells := range [][]Cell{m.table.cells, m.other} {
		km, weight := make([]float64, len(m.regions)), 0.0
		for _, c := range cells {
			if c.Kind != Located || c.Country != country {
				continue
			}
			for i, r := range m.regions {
				km[i] += float64(max(c.Weight, 1)) * c.Kilometres(r.Point)
			}
			weight += float64(max(c.Weight, 1))
		}
		for i := range km {
			km[i] /= weight
		}
		if weight > 0 {
			return km, true
		}
	}
	return nil, false
}

func (m *model) unlocated() string {
	if m.defaultRegion < 0 {
		return m.order(nil, -1)
	}
	return m.from(m.regions[m.defaultRegion].Point, m.defaultRegion)
}

func (m *model) from(p Point, first int) string {
	km := make([]float64, len(m.regions))
	for i, r := range m.regions {
		km[i] = p.Kilometres(r.Point)
	}
	return m.order(km, first)
}

// order sorts by cost, region first before all; without distances, as configured.
func (m *model) order(km []float64, first int) string {
	list := make([]int, len(m.regions))
	for i := range list {
		list[i] = i
	}
	slices.SortStableFunc(list, func(a, b int) int {
		if km == nil {
			return 0
		}
		if (a == first) != (b == first) {
			if a == first {
				return -1
			}
			return 1
		}
		return cmp.Compare(km[a]+m.regions[a].Bias, km[b]+m.regions[b].Bias)
	})
	rank := make([]byte, len(list))
	for i, r := range list {
		rank[i] = byte(r)
	}
	return string(rank)
}

// answerOf is the same of an Index.
func answerOf(ix *Index, c Class) answer {
	a := answer{site: ix.Site(c), rank: string(ix.Rank(c))}
	a.special, a.unknown = c == ClassSpecial, c == ClassUnlocated
	return a
}

// randomTable has few cells and ranges whose borders lie close together and near
// the borders of special-purpose blocks, where mistakes would be.
func randomTable(rnd *rand.Rand) *Table {
	cells := []Cell{{}}
	for range 1 + rnd.IntN(12) {
		country := [2]byte{'A', byte('A' + rnd.IntN(3))}
		kind := Located
		if rnd.IntN(4) == 0 {
			kind = CountryOnly
		}
		cells = append(cells, Cell{Point: randomPoint(rnd).rounded(), Country: country, Kind: kind, Weight: 1 + rnd.Uint32N(1000)})
	}
	return &Table{
		source: "random", built: time.Unix(1e9, 0).UTC(), cells: cells,
		v4: randomPartition(rnd, len(cells), func() uint32 { return key4(randomAddr4(rnd)) &^ 0xff }),
		v6: randomPartition(rnd, len(cells), func() uint64 { hi, _ := key6(randomAddr6(rnd)); return hi &^ 0xffff }),
	}
}

func randomPartition[A address](rnd *rand.Rand, cells int, start func() A) partition[A] {
	starts := []A{0}
	for range rnd.IntN(200) {
		starts = append(starts, start())
	}
	slices.Sort(starts)
	var p partition[A]
	for _, s := range slices.Compact(starts) {
		p.append(s, uint16(rnd.IntN(cells)))
	}
	return p
}

func randomPoint(rnd *rand.Rand) Point {
	return Point{rnd.Float64()*180 - 90, rnd.Float64()*360 - 180}
}

// randomAddr4 prefers the neighborhood of a few addresses.
func randomAddr4(rnd *rand.Rand) netip.Addr {
	near := []string{"10.0.0.0", "9.255.255.255", "172.16.0.0", "192.168.0.0", "192.0.2.77", "198.51.100.0", "8.8.8.8", "255.255.255.255", "0.0.0.0", "100.64.0.0"}
	a := rnd.Uint32()
	if rnd.IntN(3) > 0 {
		a = key4(netip.MustParseAddr(near[rnd.IntN(len(near))])) ^ rnd.Uint32()>>(8+rnd.IntN(24))
	}
	return netip.AddrFrom4([4]byte{byte(a >> 24), byte(a >> 16), byte(a >> 8), byte(a)})
}

func randomAddr6(rnd *rand.Rand) netip.Addr {
	near := []string{"2001:db8::", "2600::1", "fc00::", "::", "2a00:1450:4001::", "2a00:1450:4001:0:8000::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2002::", "2000::", "64:ff9b::"}
	hi, lo := key6(netip.MustParseAddr(near[rnd.IntN(len(near))]))
	n := rnd.IntN(127)
	hi, lo = hi^rnd.Uint64()>>min(n, 63), lo^rnd.Uint64()>>max(n-64, 0)
	return addr6(hi, lo)
}

func addr6(hi, lo uint64) netip.Addr {
	var b [16]byte
	for i := range 8 {
		b[i], b[8+i] = byte(hi>>(56-8*i)), byte(lo>>(56-8*i))
	}
	return netip.AddrFrom16(b)
}

func key4(a netip.Addr) uint32 { return uint32(blockOf(netip.PrefixFrom(a, 32), 0).first.hi >> 32) }

func key6(a netip.Addr) (hi, lo uint64) {
	p := blockOf(netip.PrefixFrom(a, 128), 0).first
	return p.hi, p.lo
}

// randomSites nest in each other and in special-purpose blocks, down to single
// addresses.
func randomSites(rnd *rand.Rand, regions int) []Site {
	sites := make([]Site, rnd.IntN(8))
	taken := map[netip.Prefix]bool{}
	for i := range sites {
		sites[i] = Site{Name: string(rune('a' + i)), Region: rnd.IntN(regions)}
		for range 1 + rnd.IntN(4) {
			p := netip.PrefixFrom(randomAddr4(rnd), rnd.IntN(33))
			if rnd.IntN(2) == 0 {
				p = netip.PrefixFrom(randomAddr6(rnd), rnd.IntN(129))
			}
			c, err := canonical(p)
			if err == nil && !taken[c] {
				taken[c] = true
				sites[i].Prefixes = append(sites[i].Prefixes, c)
			}
		}
	}
	return sites
}

func randomRegions(rnd *rand.Rand, n int) []Region {
	regions := make([]Region, n)
	for i := range regions {
		regions[i] = Region{Name: string(rune('A' + i)), Point: randomPoint(rnd)}
		if rnd.IntN(3) == 0 {
			regions[i].Bias = rnd.Float64()*4000 - 2000
		}
		if i > 0 && rnd.IntN(4) == 0 {
			regions[i].Point, regions[i].Bias = regions[i-1].Point, regions[i-1].Bias // a tie
		}
	}
	return regions
}
