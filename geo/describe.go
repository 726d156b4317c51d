package geo

import (
	"encoding/binary"
	"net/netip"
)

// Basis says what a ranked list was ordered by.
type Basis uint8

const (
	// ByDefault is the place of the default region, or the configured order if
	// there is none.
	ByDefault Basis = iota
	// BySite is the place of the site's region, which comes first.
	BySite
	// ByCell is the place of the client's cell.
	ByCell
	// ByCountry is the mean over the located cells of the client's country.
	ByCountry
)

// String returns the basis as explain prints it.
func (b Basis) String() string {
	switch b {
	case BySite:
		return "site"
	case ByCell:
		return "cell"
	case ByCountry:
		return "country"
	case ByDefault:
	}
	return "default"
}

// Ranked is a region in the list of a client.
type Ranked struct {
	Region int
	// Kilometres is the distance; 0 where there is no place to measure from.
	Kilometres float64
	// Measured says that Kilometres is from where the address, or its network, is: not
	// from the default region, for want of such a place.
	Measured bool
	// Bias is the region's bias in kilometres; what counts is the sum.
	Bias float64
}

// Place is all that is known of an address.
type Place struct {
	// Addr is the address asked for, Lookup the one that was looked up: the IPv4
	// address that Addr carries, else Addr.
	Addr   netip.Addr
	Lookup netip.Addr

	// CellID and Cell are what the data says of Lookup, and Location is the block
	// around it for which the data says so. Special-purpose addresses have cell 0.
	CellID   CellID
	Cell     Cell
	Location netip.Prefix

	Class Class
	// Scope is the block of Lookup in which every address has the same class.
	Scope netip.Prefix
	// Site is the number of the site, or -1.
	Site int

	Basis Basis
	// Ranking has all regions, the best first.
	Ranking []Ranked
}

// Special reports whether the address is special-purpose and in no site.
func (p Place) Special() bool { return p.Class == ClassSpecial }

// Describe says all about an address that the index and its table know. It is for
// explanations, not for the path of a query. An invalid address is unlocated.
func (ix *Index) Describe(addr netip.Addr) Place {
	addr = addr.WithZone("")
	p := Place{Addr: addr, Lookup: unwrapAddr(addr), Class: ClassUnlocated, Site: -1}
	if addr.IsValid() {
		var scope uint8
		p.Class, scope = ix.find(p.Lookup)
		p.Scope = netip.PrefixFrom(p.Lookup, int(scope)).Masked()
		p.Site = ix.Site(p.Class)
	}
	if addr.IsValid() && p.Class != ClassSpecial {
		p.CellID, p.Location = ix.table.Cell(p.Lookup)
		p.Cell = ix.table.cells[p.CellID]
	}
	p.Basis, p.Ranking = ix.explain(p)
	return p
}

func (ix *Index) find(addr netip.Addr) (Class, uint8) {
	if addr.Is4() {
		a := addr.As4()
		return ix.Find4(binary.BigEndian.Uint32(a[:]))
	}
	a := addr.As16()
	return ix.Find6(binary.BigEndian.Uint64(a[:8]), binary.BigEndian.Uint64(a[8:]))
}

func unwrapAddr(addr netip.Addr) netip.Addr {
	if !addr.Is6() {
		return addr
	}
	a := addr.As16()
	v4, _, ok := Unwrap(binary.BigEndian.Uint64(a[:8]), binary.BigEndian.Uint64(a[8:]), 128)
	if !ok {
		return addr
	}
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], v4)
	return netip.AddrFrom4(b)
}

// explain finds out again what the list of a class was ordered by.
func (ix *Index) explain(p Place) (Basis, []Ranked) {
	var km []float64
	basis := ByDefault
	switch {
	case p.Site >= 0:
		basis = BySite
		km = ix.coster.kilometres(nil, ix.coster.regions[ix.sites[p.Site].Region].Point)
	case p.Class > ClassUnlocated:
		km, basis = ix.distances(nil, p.Cell)
	}
	if basis == ByDefault && ix.defaultRegion >= 0 {
		km = ix.coster.kilometres(nil, ix.coster.regions[ix.defaultRegion].Point)
	}
	ranked := make([]Ranked, 0, ix.n)
	for _, region := range ix.Rank(p.Class) {
		r := Ranked{Region: int(region), Bias: ix.coster.regions[region].Bias}
		if km != nil {
			r.Kilometres, r.Measured = km[region], basis != ByDefault
		}
		ranked = append(ranked, r)
	}
	return basis, ranked
}
