package embedded_test

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"portolan.dev/geo"
	"portolan.dev/geo/embedded"
)

type regionSet struct {
	name    string
	regions []geo.Region
}

// regionSets returns the sets that accuracy and speed are measured with: four
// regions of a transatlantic registry, ten around the world, and thirty and sixty
// of one provider.
func regionSets(tb testing.TB) []regionSet {
	tb.Helper()
	var azure []geo.Region
	for _, r := range geo.WellKnownRegions() {
		if strings.HasPrefix(r.Name, "azure/") {
			azure = append(azure, r)
		}
	}
	if len(azure) < 60 {
		tb.Fatalf("%d azure regions, want 60 or more", len(azure))
	}
	var thirty []geo.Region
	for i := range 30 {
		thirty = append(thirty, azure[i*2])
	}
	return []regionSet{
		{"regions=4", named(tb, "westus", "eastus", "canadacentral", "westeurope")},
		{"regions=10", named(tb, "westus2", "eastus", "canadacentral", "brazilsouth", "westeurope",
			"uaenorth", "southafricanorth", "centralindia", "japaneast", "australiaeast")},
		{"regions=30", thirty},
		{"regions=60", azure[:60]},
	}
}

func named(tb testing.TB, names ...string) []geo.Region {
	tb.Helper()
	regions := make([]geo.Region, len(names))
	for i, name := range names {
		r, err := geo.WellKnown(name)
		if err != nil {
			tb.Fatal(err)
		}
		regions[i] = r
	}
	return regions
}

func mustTable(tb testing.TB) *geo.Table {
	tb.Helper()
	t, err := embedded.Table()
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

func mustIndex(tb testing.TB, t *geo.Table, regions []geo.Region) *geo.Index {
	tb.Helper()
	ix, err := geo.NewIndex(t, regions, nil, -1)
	if err != nil {
		tb.Fatal(err)
	}
	return ix
}

// routed4 returns a random address outside the large special-purpose blocks.
func routed4(rnd *rand.Rand) uint32 {
	for {
		a := rnd.Uint32()
		top := a >> 24
		if top != 0 && top != 10 && top != 127 && top < 224 {
			return a
		}
	}
}

// networks6 returns the upper halves of the first addresses of the table's IPv6
// ranges.
func networks6(t *geo.Table) []uint64 {
	var starts []uint64
	addr := netip.MustParseAddr("2000::")
	for addr.Is6() && addr.As16()[0]>>5 == 1 {
		_, p := t.Cell(addr)
		a := addr.As16()
		hi := binary.BigEndian.Uint64(a[:8])
		starts = append(starts, hi)
		next := hi + 1<<(64-p.Bits())
		var b [16]byte
		binary.BigEndian.PutUint64(b[:8], next)
		addr = netip.AddrFrom16(b)
	}
	return starts
}

func TestTable(t *testing.T) {
	t.Parallel()
	table := mustTable(t)
	if !strings.HasPrefix(table.Source(), "DB-IP City Lite 20") || table.Built().Year() < 2026 {
		t.Errorf("source %q of %s", table.Source(), table.Built())
	}
	if n := len(table.Cells()); n < 8000 || table.Len4() < 2_000_000 || table.Len6() < 2_000_000 {
		t.Errorf("%d cells, %d and %d ranges: the data is not the city set", n, table.Len4(), table.Len6())
	}
	if !strings.Contains(embedded.Attribution, "https://db-ip.com") || !strings.Contains(embedded.Attribution, "CC BY 4.0") {
		t.Errorf("attribution %q", embedded.Attribution)
	}
}

// TestScopeLengths checks that no location makes a scope longer than what resolvers
// may send.
func TestScopeLengths(t *testing.T) {
	t.Parallel()
	table := mustTable(t)
	ix := mustIndex(t, table, regionSets(t)[3].regions)
	rnd := rand.New(rand.NewPCG(11, 11))
	for range 200_000 {
		if _, scope := ix.Find4(routed4(rnd)); scope > 24 {
			t.Fatalf("an IPv4 scope of %d", scope)
		}
		hi := 1<<61 | rnd.Uint64()>>3
		if _, scope := ix.Find6(hi, rnd.Uint64()); scope > 48 {
			t.Fatalf("an IPv6 scope of %d at %#x", scope, hi)
		}
	}
}

// TestRegionsLieInTheirCountries looks for the nearest cell of the country that the
// table of regions names. A cell stands for one degree and the data has one wherever
// a provider has addresses, so a region with its sign, its order of coordinates or
// its country wrong is off by far more than the limit.
func TestRegionsLieInTheirCountries(t *testing.T) {
	t.Parallel()
	cells := mustTable(t).Cells()
	for _, r := range geo.WellKnownRegions() {
		nearest := 1e9
		for _, c := range cells {
			if c.Kind == geo.Located && c.CountryCode() == r.Country {
				nearest = min(nearest, c.Kilometres(r.Point))
			}
		}
		if nearest > 100 {
			t.Errorf("%s: the nearest place in %s is %.0f km away", r.Name, r.Country, nearest)
		}
	}
}

// TestCities looks up addresses in large cities, of networks that lie there as a
// whole by the data, with ten regions around the world.
func TestCities(t *testing.T) {
	t.Parallel()
	regions := regionSets(t)[1].regions
	ix := mustIndex(t, mustTable(t), regions)
	for _, c := range []struct {
		city, country string
		point         geo.Point
		v4, v6        string
		region        string
	}{
		{"San Francisco", "US", geo.Point{Latitude: 37.77, Longitude: -122.42}, "13.110.54.1", "2631:a000::1", "westus2"},
		{"Chicago", "US", geo.Point{Latitude: 41.88, Longitude: -87.63}, "100.192.3.4", "2600:6880::1", "canadacentral"},
		{"Toronto", "CA", geo.Point{Latitude: 43.65, Longitude: -79.38}, "4.172.5.6", "2631:1000::1", "canadacentral"},
		{"Mexico City", "MX", geo.Point{Latitude: 19.43, Longitude: -99.13}, "189.184.7.8", "2806:10c0::1", "eastus"},
		{"Sao Paulo", "BR", geo.Point{Latitude: -23.55, Longitude: -46.63}, "56.124.1.1", "2a05:e600::1", "brazilsouth"},
		{"Buenos Aires", "AR", geo.Point{Latitude: -34.6, Longitude: -58.38}, "186.58.1.1", "2800:2000::1", "brazilsouth"},
		{"Santiago", "CL", geo.Point{Latitude: -33.45, Longitude: -70.67}, "83.160.1.1", "2001:1398::1", "brazilsouth"},
		{"Bogota", "CO", geo.Point{Latitude: 4.65, Longitude: -74.1}, "181.144.1.1", "2800:264::1", "eastus"},
		{"London", "GB", geo.Point{Latitude: 51.51, Longitude: -0.13}, "25.64.1.1", "2a00:2200::1", "westeurope"},
		{"Frankfurt", "DE", geo.Point{Latitude: 50.11, Longitude: 8.68}, "63.184.1.1", "2a00:100::1", "westeurope"},
		{"Paris", "FR", geo.Point{Latitude: 48.86, Longitude: 2.35}, "57.48.1.1", "2001:2100::1", "westeurope"},
		{"Warsaw", "PL", geo.Point{Latitude: 52.23, Longitude: 21.01}, "178.180.1.1", "2a01:1000::1", "westeurope"},
		{"Johannesburg", "ZA", geo.Point{Latitude: -26.2, Longitude: 28.05}, "4.167.1.1", "2c0e:8080::1", "southafricanorth"},
		{"Nairobi", "KE", geo.Point{Latitude: -1.29, Longitude: 36.82}, "105.48.1.1", "2001:4358::1", "southafricanorth"},
		{"Cairo", "EG", geo.Point{Latitude: 30.04, Longitude: 31.24}, "196.140.1.1", "2001:42b8::1", "uaenorth"},
		{"Lagos", "NG", geo.Point{Latitude: 6.45, Longitude: 3.4}, "102.94.1.1", "2c0f:fc60::1", "southafricanorth"},
		{"Mumbai", "IN", geo.Point{Latitude: 19.08, Longitude: 72.88}, "13.200.1.1", "2409:4098::1", "centralindia"},
		{"Singapore", "SG", geo.Point{Latitude: 1.35, Longitude: 103.82}, "16.156.1.1", "240b:4100::1", "centralindia"},
		{"Tokyo", "JP", geo.Point{Latitude: 35.68, Longitude: 139.77}, "219.103.96.1", "2401:ce80::1", "japaneast"},
		{"Seoul", "KR", geo.Point{Latitude: 37.57, Longitude: 126.98}, "42.32.1.1", "2001:44d0::1", "japaneast"},
		{"Dubai", "AE", geo.Point{Latitude: 25.2, Longitude: 55.27}, "3.28.1.1", "2a02:ea00::1", "uaenorth"},
		{"Sydney", "AU", geo.Point{Latitude: -33.87, Longitude: 151.21}, "3.26.1.1", "2400:5d10::1", "australiaeast"},
		{"Auckland", "NZ", geo.Point{Latitude: -36.85, Longitude: 174.76}, "182.24.1.1", "2a05:3340::1", "australiaeast"},
	} {
		for _, addr := range []string{c.v4, c.v6} {
			p := ix.Describe(netip.MustParseAddr(addr))
			if p.Cell.Kind != geo.Located || p.Cell.CountryCode() != c.country || p.Cell.Kilometres(c.point) > 80 {
				t.Errorf("%s: %s is in %s at %s, %.0f km away", c.city, addr, p.Cell.CountryCode(), p.Cell.Point, p.Cell.Kilometres(c.point))
			}
			if got := regions[p.Ranking[0].Region].Name; got != c.region {
				t.Errorf("%s: %s goes to %s, want %s", c.city, addr, got, c.region)
			}
		}
	}
}
