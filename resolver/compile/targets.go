package compile

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"portolan.dev/config"
	"portolan.dev/resolver"
	"portolan.dev/resolver/wire"
)

// direct reports whether the global name of r answers addresses and no alias.
func direct(r *config.Registry) bool {
	return r.Name == config.Apex || r.Answer == config.AnswerAddress
}

// families returns what the global name of r answers. Where it answers addresses
// of targets, nobody knows at load which they will have: served as they come, a
// client whose target has no IPv6 would leave "no such type" in a resolver for
// the clients of the others. So all replicas serve IPv4 alone there, unless the
// operator says what they have.
func families(r *config.Registry) (ipv4, ipv6 bool) {
	switch r.Families {
	case config.FamiliesIPv4:
		return true, false
	case config.FamiliesIPv6:
		return false, true
	case config.FamiliesDual:
		return true, true
	}
	isTarget := func(p config.Replica) bool { return p.Target != "" }
	return true, !direct(r) || !slices.ContainsFunc(r.Replicas, isTarget)
}

// globalAddresses returns the addresses of a replica that the global name answers.
func globalAddresses(r *config.Registry, replica *config.Replica) ([]netip.Addr, error) {
	if _, ipv6 := families(r); ipv6 || len(replica.Addresses) == 0 {
		return replica.Addresses, nil
	}
	addrs := make([]netip.Addr, 0, len(replica.Addresses))
	for _, a := range replica.Addresses {
		if a.Is4() {
			addrs = append(addrs, a)
		}
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("region %s has no IPv4 address, and beside targets only IPv4 is served: set `families` to what all replicas have", replica.Region)
	}
	return addrs, nil
}

// target notes that the addresses of a replica have to be resolved.
func (b *builder) target(r *config.Registry, replica *config.Replica, out *resolver.Replica) {
	index := len(b.result.Targets)
	ipv4, ipv6 := families(r)
	b.result.Targets = append(b.result.Targets, Target{
		Member: Member{Registry: len(b.s.Registries) - 1, Region: b.regions[replica.Region]},
		Host:   replica.Target, TTL: seconds(r.Sticky.TTL), Resolved: index,
		IPv4: ipv4, IPv6: ipv6,
	})
	out.Resolved = uint32(index + 1)
}

// maxAddresses bounds how many addresses of a target are served per family: more
// than any load balancer has, and few enough for one datagram.
const maxAddresses = 8

// PackAddresses packs resolved addresses as records of the question's name, the
// way the path of a query copies them, leaving out the families that t does not
// serve. at and until are those of [resolver.Addresses].
func PackAddresses(t Target, addrs []netip.Addr, at, until time.Time) *resolver.Addresses {
	a := &resolver.Addresses{At: at, Until: until}
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
