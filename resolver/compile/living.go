package compile

import (
	"net/netip"
	"slices"
	"sync/atomic"

	"portolan.dev/config"
	"portolan.dev/resolver"
)

// AddressSet is some of the addresses of a replica: bit i is the one that check i of its
// endpoint looks at.
type AddressSet uint32

// Has reports whether address i is in the set.
func (a AddressSet) Has(i int) bool { return a>>i&1 == 1 }

// several is a replica that has more than one address of a family, each with a check of its
// own, so that some may be answered while others are dead.
type several struct {
	all  AddressSet
	ipv6 AddressSet // of all
}

// severalAddresses notes that some of the addresses of a replica may be left out, if each
// is probed by itself.
func (b *builder) severalAddresses(replica *config.Replica, out *resolver.Replica) {
	if replica.Probe == "" || replica.ProbeTarget != "" || replica.Target != "" {
		return
	}
	s := several{all: 1<<len(replica.Addresses) - 1}
	for i, a := range replica.Addresses {
		if a.Is6() {
			s.ipv6 |= 1 << i
		}
	}
	b.result.several = append(b.result.several, s)
	out.Living = uint32(len(b.result.several))
}

// severalOf returns a replica of which some addresses may be left out, its addresses, and
// where those that live are published; ok is false for any other.
func (r *Result) severalOf(m Member) (replica *resolver.Replica, of several, living *atomic.Pointer[resolver.Addresses], ok bool) {
	s := r.Snapshot
	replica = &s.Replicas[s.ReplicaNumber(m.Registry, m.Region)]
	if replica.Living == 0 {
		return replica, of, nil, false
	}
	return replica, r.several[replica.Living-1], &s.Living[replica.Living-1], true
}

// Families returns the addresses of a replica of which some may be left out, by family;
// empty for any other.
func (r *Result) Families(m Member) (families [2]AddressSet) {
	_, of, _, _ := r.severalOf(m)
	return [2]AddressSet{of.all &^ of.ipv6, of.ipv6}
}

// SetLiving has the global name answer these addresses of a replica and no others, of the
// families that it serves, and reports whether that is a change. Nothing happens to a
// replica of which none may be left out. Calls for one replica must not run at the same
// time.
func (r *Result) SetLiving(m Member, living AddressSet) (changed bool) {
	replica, of, place, ok := r.severalOf(m)
	if !ok {
		return false
	}
	var next *resolver.Addresses
	if of.all&^living != 0 {
		next = partOf(r.Snapshot.Bodies, replica, of, living)
	}
	before := place.Load()
	switch {
	case next == nil && before == nil:
		return false
	case next != nil && before != nil && slices.Equal(next.LeftOut, before.LeftOut):
		return false
	}
	place.Store(next)
	return true
}

// LeftOut returns the addresses of a replica that the global name does not answer because
// they are dead.
func (r *Result) LeftOut(m Member) []netip.Addr {
	if _, _, living, ok := r.severalOf(m); ok {
		if a := living.Load(); a != nil {
			return a.LeftOut
		}
	}
	return nil
}

// partOf takes the records of living addresses from those of a replica; nil if none that is
// served is left out. The records of a family are of one length and stand in the order of
// the addresses.
func partOf(bodies []byte, replica *resolver.Replica, of several, living AddressSet) *resolver.Addresses {
	out := &resolver.Addresses{}
	at := replica.Body + uint32(replica.Alias)
	mid := at + uint32(replica.IPv4)
	for _, f := range []struct {
		records []byte
		n       uint8
		set     AddressSet
		dst     *[]byte
		count   *uint8
	}{
		{bodies[at:mid], replica.IPv4Count, of.all &^ of.ipv6, &out.IPv4, &out.IPv4Count},
		{bodies[mid : mid+uint32(replica.IPv6)], replica.IPv6Count, of.ipv6, &out.IPv6, &out.IPv6Count},
	} {
		if f.n == 0 { // not served
			continue
		}
		size := len(f.records) / int(f.n)
		for i := 0; len(f.records) >= size && i < 32; i++ {
			if !f.set.Has(i) {
				continue
			}
			record := f.records[:size]
			f.records = f.records[size:]
			addr, _ := netip.AddrFromSlice(record[size-addressLen(size):])
			if !living.Has(i) {
				out.LeftOut = append(out.LeftOut, addr)
				continue
			}
			*f.dst = append(*f.dst, record...)
			*f.count++
			out.From = append(out.From, addr)
		}
	}
	if len(out.LeftOut) == 0 {
		return nil
	}
	return out
}

// addressLen is how much of an address record of a length is the address: the rest is a
// pointer to the owner, type, class, TTL and length.
func addressLen(record int) int { return record - 12 }
