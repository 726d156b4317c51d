package geo

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
)

// Index maps an address to the ranked list of regions for it and to the widest
// prefix with the same list. It is immutable, and every method may be called from
// any number of goroutines. Find4, Find6, Rank and Site neither lock nor allocate.
type Index struct {
	v4, v6 tree

	ranking
	sites []Site

	// For Describe.
	table         *Table
	coster        *coster
	means         *countryMeans
	classOfCell   []Class
	defaultRegion int
}

// Option changes how an Index is made.
type Option func(*options)

type options struct{ countryCells []Cell }

// WithCountryCells gives the located cells of another table, to rank those
// countries by of which the table itself has no located cell. A table of country
// level has none at all.
func WithCountryCells(cells []Cell) Option {
	return func(o *options) { o.countryCells = cells }
}

// NewIndex compiles a table for one configuration. There must be 1 to [MaxRegions]
// regions. defaultRegion is the number of the region whose place stands for clients
// that cannot be located, or -1: they get the regions in the configured order. It
// keeps the slices.
func NewIndex(t *Table, regions []Region, sites []Site, defaultRegion int, opts ...Option) (*Index, error) {
	if err := validate(regions, sites, defaultRegion); err != nil {
		return nil, err
	}
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	ix := &Index{
		ranking: ranking{n: len(regions), classes: make(map[string]Class)},
		sites:   sites, table: t, coster: newCoster(regions), defaultRegion: defaultRegion,
	}
	ix.means = meansOf(t.cells, o.countryCells, ix.coster)
	if err := ix.rank(); err != nil {
		return nil, err
	}
	if err := ix.splice(); err != nil {
		return nil, err
	}
	return ix, nil
}

func validate(regions []Region, sites []Site, defaultRegion int) error {
	if len(regions) == 0 {
		return errors.New("no regions to rank: configure at least one")
	}
	if len(regions) > MaxRegions {
		return fmt.Errorf("%d regions: at most %d can be ranked", len(regions), MaxRegions)
	}
	for _, r := range regions {
		if !r.valid() {
			return fmt.Errorf("region %q: %v,%v is no place: latitude is -90 to 90, longitude -180 to 180",
				r.Name, r.Latitude, r.Longitude)
		}
		if math.IsNaN(r.Bias) || math.IsInf(r.Bias, 0) {
			return fmt.Errorf("region %q: bias %v is no number of kilometres", r.Name, r.Bias)
		}
	}
	if defaultRegion < -1 || defaultRegion >= len(regions) {
		return fmt.Errorf("default region %d: there are regions 0 to %d, or -1 for none", defaultRegion, len(regions)-1)
	}
	for _, s := range sites {
		if s.Region < 0 || s.Region >= len(regions) {
			return fmt.Errorf("site %q: region %d: there are regions 0 to %d", s.Name, s.Region, len(regions)-1)
		}
	}
	return nil
}

// meansOf prefers the table's own cells country by country.
func meansOf(own, other []Cell, c *coster) *countryMeans {
	means := newCountryMeans(c)
	for _, cell := range own {
		means.add(cell)
	}
	known := make(map[[2]byte]bool, len(means.sums))
	for country := range means.sums {
		known[country] = true
	}
	for _, cell := range other {
		if !known[cell.Country] {
			means.add(cell)
		}
	}
	return means
}

// rank makes the classes: the two fixed ones, the sites, then the lists of cells.
func (ix *Index) rank() error {
	if len(ix.sites) > maxClass/2 {
		return fmt.Errorf("%d sites: at most %d fit; list several prefixes in one site", len(ix.sites), maxClass/2)
	}
	unlocated := ix.unlocatedList()
	ix.add(unlocated) // ClassSpecial
	ix.add(unlocated) // ClassUnlocated
	for _, site := range ix.sites {
		ix.add(ix.siteList(site.Region))
	}
	ix.classOfCell = make([]Class, len(ix.table.cells))
	km, list := make([]float64, 0, ix.n), make([]uint8, 0, ix.n)
	for id, cell := range ix.table.cells {
		var basis Basis
		km, basis = ix.distances(km[:0], cell)
		if basis == ByDefault {
			ix.classOfCell[id] = ClassUnlocated
			continue
		}
		list = ix.coster.order(list, km)
		ix.classOfCell[id] = ix.intern(list)
		if ix.full() {
			return fmt.Errorf("more than %d different ranked lists: configure fewer regions or sites", maxClass)
		}
	}
	return nil
}

// distances appends how far the clients of a cell are from each region.
func (ix *Index) distances(km []float64, cell Cell) ([]float64, Basis) {
	switch cell.Kind {
	case Located:
		return ix.coster.kilometres(km, cell.Point), ByCell
	case CountryOnly:
		if km, ok := ix.means.kilometres(km, cell.Country); ok {
			return km, ByCountry
		}
	case Unlocated:
	}
	return km, ByDefault
}

// unlocatedList is the list for clients with no place.
func (ix *Index) unlocatedList() []uint8 {
	if ix.defaultRegion >= 0 {
		return ix.siteList(ix.defaultRegion)
	}
	list := make([]uint8, ix.n)
	for i := range list {
		list[i] = uint8(i)
	}
	return list
}

// siteList is a region, then the others by cost from its place.
func (ix *Index) siteList(region int) []uint8 {
	list := ix.coster.order(nil, ix.coster.kilometres(nil, ix.coster.regions[region].Point))
	at := slices.Index(list, uint8(region))
	copy(list[1:at+1], list[:at])
	list[0] = uint8(region)
	return list
}

// splice lays special-purpose blocks, sites and blocks that carry IPv4 addresses
// over the ranges of the table.
func (ix *Index) splice() error {
	over4, over6, err := overlays(ix.sites)
	if err != nil {
		return err
	}
	ranges4 := lay(&ix.table.v4, ix.classOfCell, runs4(over4))
	ix.v4 = newTree(ranges4.widened(), nil)

	runs, fine := runs6(over6, func(hi uint64) uint16 {
		return uint16(ix.classOfCell[ix.table.v6.values[ix.table.v6.find(hi)]])
	})
	ranges6 := lay(&ix.table.v6, ix.classOfCell, runs)
	ix.v6 = newTree(&ranges6, fine)
	return nil
}

func splitFamilies(prefixes []netip.Prefix, class uint16) (v4, v6 []block) {
	for _, p := range prefixes {
		if p.Addr().Is4() {
			v4 = append(v4, blockOf(p, class))
		} else {
			v6 = append(v6, blockOf(p, class))
		}
	}
	return v4, v6
}
