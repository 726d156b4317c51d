package geo

import (
	"encoding/binary"
	"hash/fnv"
	"math"
)

// UnitBits4 and UnitBits6 are the lengths to which an address is cut to tell clients
// apart: those to which resolvers cut a client subnet, or nearly so.
const (
	UnitBits4 = 24
	UnitBits6 = 48
)

// Unit names clients that are held together: two words that no other unit has.
// Comparable; for the keys of [Units.Of4] and [Units.Of6] only.
type Unit struct{ Hi, Lo uint64 }

// The kinds of unit, in the lower word, so that no two kinds share a Unit. Saved tables
// go by these numbers.
const (
	unitIPv4 = iota + 1 // a whole /24
	unitIPv6            // a whole /48
	unitPart            // other addresses: those of a site, or what sites have left of a prefix
)

// Units says which addresses are one client unit: the addresses of a site, or of a
// plain one whose prefix is longer than /24 or /48; else the /24 or /48 of the address,
// without what such a site has of it.
//
// A unit is named by its addresses. So a site that is renamed is the unit that
// it was, and one whose addresses change is another: which clients it has lost or won
// since can then be told by asking the Units of both configurations.
//
// It is immutable and safe for concurrent use. No method allocates or locks.
type Units struct {
	given  []Site
	v4, v6 overlay
	// sites has the unit of each site, zero for one whose addresses are units by prefix.
	sites []Unit
	// rest has what is left of prefixes that are not whole, by their first 24 or 48
	// bits.
	rest4, rest6 map[uint64]Unit
}

// NewUnits returns the units of sites. It keeps the slice.
func NewUnits(sites []Site) (*Units, error) {
	v4, v6, err := overlays(sites)
	if err != nil {
		return nil, err
	}
	// Where addresses are placed makes no difference to units.
	for _, blocks := range [...][]block{v4, v6} {
		for i := range blocks {
			if site := int(blocks[i].class) - int(firstSiteClass); site >= 0 && site < len(sites) && sites[site].places() {
				blocks[i].class = uint16(ClassUnlocated)
			}
		}
	}
	u := &Units{given: sites, v4: newOverlay(v4), v6: newOverlay(v6), sites: make([]Unit, len(sites))}
	extents := make([]extent, len(sites))
	u.v4.gather(extents, UnitBits4)
	u.v6.gather(extents, UnitBits6)
	for i := range sites {
		if len(extents[i]) > 0 {
			u.sites[i] = extents[i].unit()
		}
	}
	u.rest4 = u.v4.rests(u, UnitBits4)
	u.rest6 = u.v6.rests(u, UnitBits6)
	return u, nil
}

// NewUnitsByName returns the units as versions before the one that distinguishes plain
// sites told them apart: every site is one, under its name, and a /24 or /48 is the
// same unit whatever sites have of it. It keeps the slice.
func NewUnitsByName(sites []Site) (*Units, error) {
	v4, v6, err := overlays(sites)
	if err != nil {
		return nil, err
	}
	u := &Units{given: sites, v4: newOverlay(v4), v6: newOverlay(v6), sites: make([]Unit, len(sites))}
	for i, site := range sites {
		u.sites[i] = Unit{hashOf([]byte(site.Name)), unitPart}
	}
	return u, nil
}

// places reports whether a site does no more than place its addresses: it is plain,
// and as wide as the prefix of a unit.
func (s *Site) places() bool {
	if !s.Plain {
		return false
	}
	for _, given := range s.Prefixes {
		prefix, err := canonical(given)
		width := UnitBits6
		if prefix.Addr().Is4() {
			width = UnitBits4
		}
		if err == nil && prefix.Bits() > width {
			return false
		}
	}
	return true
}

// Find4 does what [Index.Find4] does, as far as sites and special-purpose blocks go:
// other addresses are unlocated.
func (u *Units) Find4(addr uint32) (Class, uint8) {
	class, scope := u.v4.find(position{uint64(addr) << 32, 0})
	return Class(class), scope
}

// Find6 does for an IPv6 address what [Units.Find4] does for an IPv4 address.
func (u *Units) Find6(hi, lo uint64) (Class, uint8) {
	class, scope := u.v6.find(position{hi, lo})
	if class == isWrapped {
		return ClassUnlocated, wrappedScope(hi)
	}
	return Class(class), scope
}

// Of4 returns the unit of an IPv4 address, given its class and scope by [Index.Find4],
// and the widest prefix around it with addresses of that unit only. Such prefixes are
// equal or disjoint.
func (u *Units) Of4(addr uint32, class Class, scope uint8) (Unit, uint8) {
	if site := u.site(class); site.together() {
		return site, scope
	}
	prefix := uint64(addr >> (32 - UnitBits4))
	if scope <= UnitBits4 {
		return Unit{prefix, unitIPv4}, UnitBits4
	}
	// The data places whole prefixes, so what is beside the address is a site.
	if rest, ok := u.rest4[prefix]; ok {
		return rest, scope
	}
	return Unit{prefix, unitIPv4}, scope
}

// Of6 does for an IPv6 address what [Units.Of4] does for an IPv4 address.
func (u *Units) Of6(hi uint64, class Class, scope uint8) (Unit, uint8) {
	if site := u.site(class); site.together() {
		return site, scope
	}
	prefix := hi >> (64 - UnitBits6)
	if scope <= UnitBits6 {
		return Unit{prefix, unitIPv6}, UnitBits6
	}
	if rest, ok := u.rest6[prefix]; ok {
		return rest, scope
	}
	return Unit{prefix, unitIPv6}, scope
}

// site returns the unit that a class is, zero for none.
func (u *Units) site(c Class) Unit {
	if i := int(c) - int(firstSiteClass); i >= 0 && i < len(u.sites) {
		return u.sites[i]
	}
	return Unit{}
}

// together is false for the zero Unit, which is none.
func (u Unit) together() bool { return u.Lo != 0 }

// gather adds the ranges of each site to its extent.
func (o *overlay) gather(extents []extent, length int) {
	for i, class := range o.classes {
		if site := int(class) - int(firstSiteClass); site >= 0 && site < len(extents) {
			extents[site] = append(extents[site], span{length, o.starts[i], o.last(i)})
		}
	}
}

// rests gives what is left of the prefixes of a length in which units begin or end.
func (o *overlay) rests(u *Units, length int) map[uint64]Unit {
	rests := make(map[uint64]Unit)
	host := uint64(math.MaxUint64) >> length
	for i := 0; i < len(o.starts); i++ {
		if start := o.starts[i]; start.hi&host == 0 && start.lo == 0 {
			continue // the prefix begins with this range
		}
		prefix := o.starts[i].hi &^ host
		first, last := position{prefix, 0}, position{prefix | host, math.MaxUint64}
		var rest extent
		for i--; i < len(o.starts) && o.starts[i].compare(last) <= 0; i++ {
			if !u.site(Class(o.classes[i])).together() {
				rest = append(rest, span{length, highest(o.starts[i], first), lowest(o.last(i), last)})
			}
		}
		i--
		rests[prefix>>(64-length)] = rest.unit()
	}
	return rests
}

// extent is ranges of addresses, in order.
type extent []span

// span is a range of addresses of a family, whose addresses are told from those of the
// other by the length of its units.
type span struct {
	length      int
	first, last position
}

// unit names the unit that has these addresses.
func (e extent) unit() Unit {
	if len(e) == 1 && e[0].whole() {
		return wholeUnit(e[0].first.hi>>(64-e[0].length), e[0].length)
	}
	var b []byte
	for _, s := range e {
		b = append(b, byte(s.length))
		for _, p := range [...]position{s.first, s.last} {
			b = binary.BigEndian.AppendUint64(b, p.hi)
			b = binary.BigEndian.AppendUint64(b, p.lo)
		}
	}
	return Unit{hashOf(b), unitPart}
}

// whole reports whether a range is all of a /24 or /48.
func (s *span) whole() bool {
	host := uint64(math.MaxUint64) >> s.length
	return s.first == position{s.first.hi &^ host, 0} && s.last == position{s.first.hi | host, math.MaxUint64}
}

// wholeUnit is all of a /24 or /48, given as its bits in the lowest ones.
func wholeUnit(prefix uint64, length int) Unit {
	if length == UnitBits4 {
		return Unit{prefix, unitIPv4}
	}
	return Unit{prefix, unitIPv6}
}

func hashOf(b []byte) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(b) // never fails
	return h.Sum64()
}

// Sites returns what u was made from. The caller must not change them.
func (u *Units) Sites() []Site { return u.given }

// Equal reports whether u and v tell all clients apart in the same way.
func (u *Units) Equal(v *Units) bool {
	return u.v4.equal(&v.v4, u, v) && u.v6.equal(&v.v6, u, v)
}
