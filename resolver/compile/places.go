package compile

import (
	"slices"

	"portolan.dev/geo"
)

// Places are the compiled places of clients, and what they were compiled from: most
// reloads change nothing of it, and it is the larger part of what a small
// configuration costs. Immutable.
type Places struct {
	index         *geo.Index
	units         *geo.Units
	table         *geo.Table
	regions       []geo.Region
	sites         []geo.Site
	defaultRegion int
	countryCells  []geo.Cell
}

// compile fills in the index: that of before, if it was made from the same.
func (p *Places) compile(before *Places) (*Places, error) {
	if before != nil && p.same(before) {
		return before, nil
	}
	ranked := p.regions
	if len(ranked) == 0 {
		// Zones without a registry need nothing ranked, and an index needs a region.
		ranked = []geo.Region{{Name: "none"}}
	}
	var err error
	if p.units, err = geo.NewUnits(p.sites); err != nil {
		return nil, err
	}
	p.index, err = geo.NewIndex(p.table, ranked, p.sites, p.defaultRegion, geo.WithCountryCells(p.countryCells))
	return p, err
}

// same says whether p would come to the same index as q. Tables and their cells are
// immutable, so that they are told apart by where they are.
func (p *Places) same(q *Places) bool {
	return p.table == q.table && p.defaultRegion == q.defaultRegion &&
		len(p.countryCells) == len(q.countryCells) && (len(p.countryCells) == 0 || &p.countryCells[0] == &q.countryCells[0]) &&
		slices.Equal(p.regions, q.regions) &&
		slices.EqualFunc(p.sites, q.sites, func(a, b geo.Site) bool {
			return a.Name == b.Name && a.Region == b.Region && a.Plain == b.Plain && slices.Equal(a.Prefixes, b.Prefixes)
		})
}
