package compile

import (
	"encoding/binary"
	"net/netip"
	"time"

	"portolan.dev/config"
	"portolan.dev/resolver"
	"portolan.dev/resolver/wire"
)

// target notes that the addresses of a replica have to be resolved.
func (b *builder) target(r *config.Registry, replica *config.Replica, out *resolver.Replica) {
	index := len(b.result.Targets)
	b.result.Targets = append(b.result.Targets, Target{
		Member: Member{Registry: len(b.s.Registries) - 1, Region: b.regions[replica.Region]},
		Host:   replica.Target, TTL: seconds(r.Sticky.TTL), Resolved: index,
		IPv4: r.Families != config.FamiliesIPv6, IPv6: r.Families != config.FamiliesIPv4,
	})
	out.Resolved = uint32(index + 1)
}

// maxAddresses bounds how many addresses of a target are served per family: more
// than any load balancer has, and few enough for one datagram.
const maxAddresses = 8

// PackAddresses packs resolved addresses as records of the question's name, the
// way the path of a query copies them, leaving out the families that t does not
// serve.
func PackAddresses(t Target, addrs []netip.Addr, until time.Time) *resolver.Addresses {
	a := &resolver.Addresses{Until: until}
	for _, addr := range addrs {
		addr = addr.Unmap()
		switch {
		case addr.Is4() && t.IPv4 && a.IPv4Count < maxAddresses:
			a.IPv4 = appendAddress(a.IPv4, wire.TypeA, t.TTL, addr)
			a.IPv4Count++
		case addr.Is6() && t.IPv6 && a.IPv6Count < maxAddresses:
			a.IPv6 = appendAddress(a.IPv6, wire.TypeAAAA, t.TTL, addr)
			a.IPv6Count++
		default:
			continue
		}
		a.From = append(a.From, addr)
	}
	return a
}

// appendAddress appends an address record whose owner is a pointer to the
// question's name.
func appendAddress(dst []byte, rrtype uint16, ttl uint32, addr netip.Addr) []byte {
	data := addr.AsSlice()
	dst = append(dst, 0xc0, wire.HeaderLen)
	dst = binary.BigEndian.AppendUint16(dst, rrtype)
	dst = binary.BigEndian.AppendUint16(dst, wire.ClassIN)
	dst = binary.BigEndian.AppendUint32(dst, ttl)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(data)))
	return append(dst, data...)
}
