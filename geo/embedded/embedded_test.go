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
