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
	// unitScope is the scope of the unit: the widest prefix around the client in which
	// all clients are held together.
	unitScope uint8
	unit      geo.Unit
}

// address is an address as it is looked up: an IPv6 address that carries an IPv4
// address is placed by that.
type address struct {
	hi, lo uint64 // an IPv4 address is in lo
	ipv4   bool
	// shift is what prefix lengths grow by in the family that was asked in.
	shift uint8
}

func addressOf(a netip.Addr) address {
	if a.Is4() {
		b := a.As4()
		return address{lo: uint64(binary.BigEndian.Uint32(b[:])), ipv4: true}
	}
	b := a.As16()
	return unwrapped(binary.BigEndian.Uint64(b[:]), binary.BigEndian.Uint64(b[8:]), 128)
}

// subnetOf is the address of a client subnet, which must have a known family.
func subnetOf(e *wire.ECS) address {
	if e.Family == wire.FamilyIPv4 {
		return address{lo: uint64(binary.BigEndian.Uint32(e.Addr[:])), ipv4: true}
	}
	return unwrapped(binary.BigEndian.Uint64(e.Addr[:]), binary.BigEndian.Uint64(e.Addr[8:]), int(e.Source))
}

// unwrapped is an IPv6 address of which the first bits are known.
func unwrapped(hi, lo uint64, known int) address {
	if v4, shift, ok := geo.Unwrap(hi, lo, known); ok {
		return address{lo: uint64(v4), ipv4: true, shift: uint8(shift)}
	}
	return address{hi: hi, lo: lo}
}

// tailored reports whether answers depend on a client subnet. Source 0 asks not to be
// tailored to; the asker's own address is no secret, and the scope stays 0 (RFC 7871
// section 7.2.1).
func tailored(ecs bool, e *wire.ECS) bool { return ecs && e.Family != 0 && e.Source != 0 }

// locate finds the locality of a client: the client subnet if there is one and
// it can be placed, else the address the query came from.
func (s *Snapshot) locate(c *client, e *wire.ECS, from netip.Addr) {
	if !tailored(s.ECS, e) {
		s.placeAsker(c, from)
		c.scope, c.unitScope = 0, 0
		return
	}
	s.place(c, subnetOf(e))
	c.subnet = c.class != geo.ClassSpecial
	if !c.subnet {
		// Private and other special-purpose space has no place on the map. The
		// asker's address counts, for all of the block (RFC 7871 section 10).
		block := c.scope
		s.placeAsker(c, from)
		c.scope, c.unitScope = block, block
	}
}

// placeAsker places the address that asked.
func (s *Snapshot) placeAsker(c *client, from netip.Addr) {
	s.place(c, addressOf(from))
	c.subnet = false
	if !s.ECS {
		c.unit.Lo |= ofAll
	}
}

func (s *Snapshot) place(c *client, a address) {
	if !a.ipv4 { // and so not shifted
		c.class, c.scope = s.Places.Find6(a.hi, a.lo)
		c.unit, c.unitScope = s.Units.Of6(a.hi, c.class, c.scope)
		return
	}
	class, scope := s.Places.Find4(uint32(a.lo))
	unit, unitScope := s.Units.Of4(uint32(a.lo), class, scope)
	c.class, c.scope, c.unit, c.unitScope = class, scope+a.shift, unit, unitScope+a.shift
}
