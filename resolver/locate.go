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
}

// locate finds the locality of a client: the client subnet if there is one and
// it can be placed, else the address the query came from.
func (s *Snapshot) locate(e *wire.ECS, from netip.Addr) client {
	if !s.ECS || e.Family == 0 || e.Source == 0 {
		// Source 0 asks not to be tailored to; the asker's own address is no
		// secret, and the scope stays 0 (RFC 7871 section 7.2.1).
		return client{class: s.locateAddr(from)}
	}
	c := s.locateSubnet(e)
	if c.class == geo.ClassSpecial {
		// Private and other special-purpose space has no place on the map. The
		// asker's address counts, for all of the block (RFC 7871 section 10).
		return client{class: s.locateAddr(from), scope: c.scope}
	}
	return c
}

func (s *Snapshot) locateSubnet(e *wire.ECS) client {
	if e.Family == wire.FamilyIPv4 {
		class, scope := s.Places.Find4(binary.BigEndian.Uint32(e.Addr[:]))
		return client{class, scope, true}
	}
	hi, lo := binary.BigEndian.Uint64(e.Addr[:]), binary.BigEndian.Uint64(e.Addr[8:])
	if v4, shift, ok := geo.Unwrap(hi, lo, int(e.Source)); ok {
		class, scope := s.Places.Find4(v4)
		return client{class, scope + uint8(shift), true}
	}
	class, scope := s.Places.Find6(hi, lo)
	return client{class, scope, true}
}

func (s *Snapshot) locateAddr(a netip.Addr) geo.Class {
	if a.Is4() {
		b := a.As4()
		class, _ := s.Places.Find4(binary.BigEndian.Uint32(b[:]))
		return class
	}
	b := a.As16()
	hi, lo := binary.BigEndian.Uint64(b[:]), binary.BigEndian.Uint64(b[8:])
	if v4, _, ok := geo.Unwrap(hi, lo, 128); ok {
		class, _ := s.Places.Find4(v4)
		return class
	}
	class, _ := s.Places.Find6(hi, lo)
	return class
}
