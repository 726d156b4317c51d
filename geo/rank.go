package geo

import (
	"math"
)

// Class is the number of a ranked list of regions in an [Index]. Sites are classes
// of their own, even where the list is that of a neighbor.
type Class uint16

const (
	// ClassSpecial is the class of private, loopback, multicast, documentation and
	// other special-purpose addresses that are in no site.
	ClassSpecial Class = 0
	// ClassUnlocated is the class of addresses the data says nothing about.
	ClassUnlocated Class = 1

	firstSiteClass Class = 2
)

// Values of a range that are not classes.
const (
	inFine    = math.MaxUint16     // the answer is in a fine block
	isWrapped = math.MaxUint16 - 1 // the block carries IPv4 addresses: unlocated
	maxClass  = math.MaxUint16 - 2
)

// MaxRegions is how many regions an Index can rank: the availability of a
// registry's replicas is a mask of 64 bits.
const MaxRegions = 64

// coster knows what every place costs from every region: great-circle kilometres
// plus the region's bias.
type coster struct {
	regions []Region
	vectors []vector
}

func newCoster(regions []Region) *coster {
	c := &coster{regions: regions, vectors: make([]vector, len(regions))}
	for i, r := range regions {
		c.vectors[i] = r.vector()
	}
	return c
}

// kilometres appends the distance of p from each region.
func (c *coster) kilometres(km []float64, p Point) []float64 {
	v := p.vector()
	for _, r := range c.vectors {
		km = append(km, v.kilometres(r))
	}
	return km
}

// order appends the numbers of the regions by rising cost; regions of equal cost
// stay in the configured order.
func (c *coster) order(list []uint8, km []float64) []uint8 {
	list = list[:0]
	var cost [MaxRegions]float64
	for i := range km {
		cost[i] = km[i] + c.regions[i].Bias
		// Insertion keeps equal costs in order and is the fastest way for so few.
		j := len(list)
		list = append(list, uint8(i))
		for ; j > 0 && cost[list[j-1]] > cost[i]; j-- {
			list[j] = list[j-1]
		}
		list[j] = uint8(i)
	}
	return list
}

// countryMeans is the weighted mean distance of the located cells of each country
// from each region. It is what a client costs of whom only the country is known:
// the expected distance, which the distance from the middle of the country is not.
type countryMeans struct {
	coster *coster
	sums   map[[2]byte]*countrySum
}

type countrySum struct {
	km     []float64
	weight float64
}

func newCountryMeans(c *coster) *countryMeans {
	return &countryMeans{coster: c, sums: make(map[[2]byte]*countrySum)}
}

// add counts a located cell; others are ignored.
func (m *countryMeans) add(cell Cell) {
	if cell.Kind != Located || cell.Country == [2]byte{} {
		return
	}
	sum := m.sums[cell.Country]
	if sum == nil {
		sum = &countrySum{km: make([]float64, len(m.coster.regions))}
		m.sums[cell.Country] = sum
	}
	weight := float64(max(cell.Weight, 1))
	v := cell.vector()
	for i, r := range m.coster.vectors {
		sum.km[i] += weight * v.kilometres(r)
	}
	sum.weight += weight
}

// kilometres appends the mean distances of a country; ok is false for a country
// without located cells.
func (m *countryMeans) kilometres(km []float64, country [2]byte) (_ []float64, ok bool) {
	sum := m.sums[country]
	if sum == nil {
		return km, false
	}
	for _, k := range sum.km {
		km = append(km, k/sum.weight)
	}
	return km, true
}

// ranking interns ranked lists and numbers them.
type ranking struct {
	n       int // regions, the length of each list
	ranks   []uint8
	classes map[string]Class
}

// add makes a class of its own for the list.
func (r *ranking) add(list []uint8) Class {
	class := Class(len(r.ranks) / r.n)
	r.ranks = append(r.ranks, list...)
	return class
}

// intern returns the class of the list that cells share.
func (r *ranking) intern(list []uint8) Class {
	if class, ok := r.classes[string(list)]; ok {
		return class
	}
	class := r.add(list)
	r.classes[string(list)] = class
	return class
}

func (r *ranking) full() bool { return len(r.ranks)/r.n > maxClass }
