package transfer

import (
	"encoding/binary"
	"net/netip"

	"github.com/miekg/dns"

	"portolan.dev/resolver/wire"
)

// Zone is one zone that secondaries may have.
type Zone struct {
	Name string // fully qualified, lower case
	Apex []byte // the same, in wire form
	// SOA is the RDATA of the SOA record, its serial to be filled in at SerialAt.
	SOA      []byte
	SerialAt int
	TTL      uint32 // of the SOA record, seconds
	// Records are all others, none with an empty owner.
	Records []wire.RR
	// Allow has the networks that may have the zone; Key is what they must sign
	// with, nil for nothing.
	Allow []netip.Prefix
	Key   *Key
	// Notify has the addresses that are told of changes.
	Notify []netip.AddrPort
	// Serial returns the serial that is served now. Safe for concurrent use.
	Serial func() uint32
}

// Set is the zones that secondaries may have, by name. Immutable once made.
type Set struct {
	zones   map[string]*Zone // by name in wire form
	keys    map[string]*Key  // by name
	traffic *Traffic
	most    int // transfers that may run at a time
}

// DefaultMost is how many transfers of a set run at a time unless [Set.Share] says.
const DefaultMost = 10

// NewSet returns a Set of zones.
func NewSet(zones []*Zone) *Set {
	s := &Set{zones: make(map[string]*Zone, len(zones)), keys: make(map[string]*Key), traffic: new(Traffic), most: DefaultMost}
	for _, z := range zones {
		s.zones[string(z.Apex)] = z
		if z.Key != nil {
			s.keys[z.Key.Name] = z.Key
		}
	}
	return s
}

// Share makes t count the transfers of the set too, and lets most of all that t counts
// run at a time. It is part of making the set: not for one that is in use.
func (s *Set) Share(t *Traffic, most int) { s.traffic, s.most = t, most }

// Zones returns the zones, in no order.
func (s *Set) Zones() []*Zone {
	out := make([]*Zone, 0, len(s.zones))
	for _, z := range s.zones {
		out = append(out, z)
	}
	return out
}

// allows reports whether an address may have the zone.
func (z *Zone) allows(from netip.Addr) bool {
	from = from.Unmap()
	for _, p := range z.Allow {
		if p.Contains(from) {
			return true
		}
	}
	return false
}

// soa returns the SOA record with the serial that is served now.
func (z *Zone) soa() (rr wire.RR, serial uint32) {
	serial = z.Serial()
	data := append(make([]byte, 0, len(z.SOA)), z.SOA...)
	binary.BigEndian.PutUint32(data[z.SerialAt:], serial)
	return wire.RR{Owner: z.Apex, Type: dns.TypeSOA, Class: dns.ClassINET, TTL: z.TTL, Data: data}, serial
}
