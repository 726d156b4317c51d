//go:build linux

package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
	"go4.org/netipx"

	"portolan.dev/geo"
)

// world is the places that all servers are given: the IPv4 half of the embedded
// location data, with the nearest of the benchmark's regions for each cell.
type world struct {
	table   *geo.Table
	regions []geo.Region
	points  []geo.Point // by cell
	nearest []int       // by cell: index in regions
	clear   []bool      // by cell: the nearest is nearest by far
}

func newWorld(table *geo.Table, names []string) (*world, error) {
	w := &world{table: table}
	for _, name := range names {
		region, err := geo.WellKnown(name)
		if err != nil {
			return nil, err
		}
		w.regions = append(w.regions, region)
	}
	countries := centres(table.Cells())
	for _, cell := range table.Cells() {
		point := cell.Point
		if cell.Kind != geo.Located {
			point = countries[cell.Country]
		}
		best, second := -1, math.Inf(1)
		nearest := math.Inf(1)
		for i := range w.regions {
			km := w.regions[i].Kilometres(point)
			if km < nearest {
				best, nearest, second = i, km, nearest
			} else {
				second = min(second, km)
			}
		}
		w.points = append(w.points, point)
		w.nearest = append(w.nearest, best)
		// Servers round and measure differently; what is nearly equally far is no test.
		w.clear = append(w.clear, cell.Kind == geo.Located && nearest*1.5 < second)
	}
	return w, nil
}

// centres returns the mean place of the located cells of each country.
func centres(cells []geo.Cell) map[[2]byte]geo.Point {
	sums := map[[2]byte]struct{ latitude, longitude, weight float64 }{}
	for _, c := range cells {
		if c.Kind == geo.Located {
			s, w := sums[c.Country], float64(c.Weight)
			s.latitude, s.longitude, s.weight = s.latitude+w*c.Latitude, s.longitude+w*c.Longitude, s.weight+w
			sums[c.Country] = s
		}
	}
	points := make(map[[2]byte]geo.Point, len(sums))
	for country, s := range sums {
		points[country] = geo.Point{Latitude: s.latitude / s.weight, Longitude: s.longitude / s.weight}
	}
	return points
}

// database writes the world as a city database in the format of MaxMind, to path.
// Coordinates are what Portolan and gdnsd measure from; the name of the city is
// the nearest region, for the servers that map places to answers by name and do
// not measure.
func (w *world) database(path string) error {
	tree, err := mmdbwriter.New(mmdbwriter.Options{
		DatabaseType: "GeoLite2-City", IPVersion: 6, RecordSize: 28, DisableIPv4Aliasing: true,
		IncludeReservedNetworks: true, Languages: []string{"en"},
		Description: map[string]string{"en": "the location data of Portolan, for a comparison"},
	})
	if err != nil {
		return fmt.Errorf("make a location database: %w", err)
	}
	records := make([]mmdbtype.Map, len(w.points))
	for id := range w.points {
		records[id] = w.record(id)
	}
	for addr := netip.IPv4Unspecified(); addr.IsValid(); {
		id, prefix := w.table.Cell(addr)
		if id != 0 {
			if err := tree.Insert(netipx.PrefixIPNet(prefix), records[id]); err != nil {
				return fmt.Errorf("insert %s: %w", prefix, err)
			}
		}
		addr = netipx.PrefixLastIP(prefix).Next()
	}
	// A run that is cut short must not leave half a file behind.
	file, err := os.CreateTemp(filepath.Dir(path), "city-*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	if _, err := tree.WriteTo(file); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := file.Chmod(0o644); err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}

func (w *world) record(id int) mmdbtype.Map {
	cell, region := w.table.Cells()[id], w.regions[w.nearest[id]].Label
	return mmdbtype.Map{
		"city":      mmdbtype.Map{"names": mmdbtype.Map{"en": mmdbtype.String(region)}},
		"continent": mmdbtype.Map{"code": mmdbtype.String("XX")},
		"country":   mmdbtype.Map{"iso_code": mmdbtype.String(cell.CountryCode())},
		"location": mmdbtype.Map{
			"latitude":  mmdbtype.Float64(w.points[id].Latitude),
			"longitude": mmdbtype.Float64(w.points[id].Longitude),
		},
	}
}

// samples returns n networks, each with the region that has to be answered.
func (w *world) samples(n int) map[netip.Prefix]string {
	rng := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same samples in every run
	found := make(map[netip.Prefix]string, n)
	for len(found) < n {
		addr := netip.AddrFrom4([4]byte{byte(20 + rng.IntN(64)), byte(rng.IntN(256)), byte(rng.IntN(256))})
		if id, _ := w.table.Cell(addr); w.clear[id] {
			found[netip.PrefixFrom(addr, 24)] = w.regions[w.nearest[id]].Label
		}
	}
	return found
}
