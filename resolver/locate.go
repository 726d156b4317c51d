package resolver

import (
	"encoding/binary"
	"net/netip"

	"portolan.dev/geo"
	"portolan.dev/resolver/wire"
)

// client is where a question comes from, as far as the answer depends on it.
type client struct {
	class geo.Class
	// scope is the prefix length of the echoed client subnet for which the ranked
	// list is the same, in the family of the option; 0 without one.
	scope uint8
	// subnet is true when the client subnet counted, false when the address that
	// asked did.
	subnet bool
	// unitScope is the scope of the unit: the prefix within which clients are
	// held together.
	unitScope uint8
	// hi and lo tell units apart: the prefix of the address that counted, or its
	// site.
	hi, lo uint64
}

// The kinds of unit, so that an IPv4 prefix, an IPv6 prefix and a site never
// share a key.
const (
	unitIPv4 = iota + 1
	unitIPv6
	unitSite
)

// The length of a unit's prefix, the one to which resolvers cut a subnet or nearly
// so.
const (
	unitBits4 = 24
	unitBits6 = 48
)

// locate finds the locality of a client: the client subnet if there is one and
// it can be placed, else the address the query came from.
func (s *Snapshot) locate(c *client, e *wire.ECS, from netip.Addr) {
	if !s.ECS || e.Family == 0 || e.Source == 0 {
		// Source 0 asks not to be tailored to; the asker's own address is no
		// secret, and the scope stays 0 (RFC 7871 section 7.2.1).
		s.locateAddr(c, from)
		c.scope, c.unitScope, c.subnet = 0, 0, false
		return
	}
	s.locateSubnet(c, e)
	if c.class == geo.ClassSpecial {
		// Private and other special-purpose space has no place on the map. The
		// asker's address counts, for all of the block (RFC 7871 section 10).
		block := c.scope
		s.locateAddr(c, from)
		c.scope, c.unitScope, c.subnet = block, block, false
	}
}

func (s *Snapshot) locateSubnet(c *client, e *wire.ECS) {
	if e.Family == wire.FamilyIPv4 {
		s.locate4(c, binary.BigEndian.Uint32(e.Addr[:]), 0)
		return
	}
	s.locate6(c, binary.BigEndian.Uint64(e.Addr[:]), binary.BigEndian.Uint64(e.Addr[8:]), int(e.Source))
}

func (s *Snapshot) locateAddr(c *client, a netip.Addr) {
	if a.Is4() {
		b := a.As4()
		s.locate4(c, binary.BigEndian.Uint32(b[:]), 0)
		return
	}
	b := a.As16()
	s.locate6(c, binary.BigEndian.Uint64(b[:]), binary.BigEndian.Uint64(b[8:]), 128)
}

// locate4 places an IPv4 address. shift is what its prefix lengths grow by in the
// family that was asked in.
func (s *Snapshot) locate4(c *client, addr uint32, shift uint8) {
	class, scope := s.Places.Find4(addr)
	c.class, c.scope, c.subnet = class, scope+shift, true
	if site := s.Places.Site(class); site >= 0 {
		c.unitScope, c.hi, c.lo = c.scope, s.SiteKeys[site], unitSite
		return
	}
	c.unitScope, c.hi, c.lo = unitBits4+shift, uint64(addr>>(32-unitBits4)), unitIPv4
}

// locate6 places an IPv6 address of which the first bits are known; one that
// carries an IPv4 address is placed by that.
func (s *Snapshot) locate6(c *client, hi, lo uint64, known int) {
	if v4, shift, ok := geo.Unwrap(hi, lo, known); ok {
		s.locate4(c, v4, uint8(shift))
		return
	}
	class, scope := s.Places.Find6(hi, lo)
	c.class, c.scope, c.subnet = class, scope, true
	if site := s.Places.Site(class); site >= 0 {
		c.unitScope, c.hi, c.lo = scope, s.SiteKeys[site], unitSite
		return
	}
	c.unitScope, c.hi, c.lo = unitBits6, hi>>(64-unitBits6), unitIPv6
}
