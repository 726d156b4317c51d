package compile

import (
	"net/netip"
	"slices"

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
	replica uint32 // its number
	all     AddressSet
	ipv6    AddressSet // of all
}

// severalAddresses notes that some of the addresses of a replica may be left out, if each
// is probed by itself.
func (b *builder) severalAddresses(replica *config.Replica, out *resolver.Replica) {
	if replica.Probe == "" || replica.ProbeTarget != "" || replica.Target != "" {
		return
	}
	s := several{replica: uint32(len(b.s.Replicas)), all: 1<<len(replica.Addresses) - 1}
	for i, a := range replica.Addresses {
		if a.Is6() {
			s.ipv6 |= 1 << i
		}
	}
	b.result.several = append(b.result.several, s)
	out.Living = uint32(len(b.result.several))
}

// Families returns the addresses of a replica of which some may be left out, by family;
// empty for any other.
func (r *Result) Families(m Member) (families [2]AddressSet) {
	replica := &r.Snapshot.Replicas[r.Snapshot.ReplicaNumber(m.Registry, m.Region)]
	if replica.Living == 0 {
		return families
	}
	s := &r.several[replica.Living-1]
	return [2]AddressSet{s.all &^ s.ipv6, s.ipv6}
}

// SetLiving has the global name answer these addresses of a replica and no others, of the
// families that it serves, and reports whether that is a change. Nothing happens to a
// replica of which none may be left out. Calls for one replica must not run at the same
// time.
func (r *Result) SetLiving(m Member, living AddressSet) (changed bool) {
	s := r.Snapshot
	replica := &s.Replicas[s.ReplicaNumber(m.Registry, m.Region)]
	if replica.Living == 0 {
		return false
	}
	of, place := &r.several[replica.Living-1], &s.Living[replica.Living-1]
	var next *resolver.Addresses
	if of.all&^living != 0 {
		next = partOf(s.Bodies, replica, of, living)
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
	s := r.Snapshot
	replica := &s.Replicas[s.ReplicaNumber(m.Registry, m.Region)]
	if replica.Living == 0 {
		return nil
	}
	if a := s.Living[replica.Living-1].Load(); a != nil {
		return a.LeftOut
	}
	return nil
}

// partOf takes the records of living addresses from those of a replica; nil if none that is
// served is left out. The records of a family are of one length and stand in the order of
// the addresses.
func partOf(bodies []byte, replica *resolver.Replica, of *several, living AddressSet) *resolver.Addresses {
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
