package resolver

import (
	"math/bits"
	"net/netip"
	"slices"

	"portolan.dev/geo"
	"portolan.dev/resolver/decide"
	"portolan.dev/resolver/wire"
)

// Partition tells client units apart as one configuration does. Immutable.
type Partition struct {
	Units *geo.Units
	// ECS says whether client subnets count.
	ECS bool
	// ByName marks units of a version that told them apart by the names of sites.
	ByName bool
}

// Earlier is a partition that counted until a moment, in Unix seconds. What units had
// then goes on to count for their clients, see [Snapshot.SetEarlier].
type Earlier struct {
	Partition
	Until uint32
}

const (
	// MaxEarlier is how many earlier partitions a snapshot can have.
	MaxEarlier = 32
	// MaxUnits is how many of the units that a client was of before are asked for. They
	// are names in pairs and longer rows, so the work grows with the square.
	MaxUnits = 8
)

// SetEarlier gives a snapshot the partitions that counted before its own, the oldest
// first; each is asked for [decide.Keep] seconds after its end, at now in Unix seconds. Of
// more than [MaxEarlier] the last count; lost reports whether there are more.
//
// A configuration may change which clients are one unit, and the table of units knows
// them by hashes alone, which cannot be turned into others. So a client is asked for
// under its earlier units, too, and goes on with what was given to them.
func (s *Snapshot) SetEarlier(earlier []Earlier, now uint32) (lost bool) {
	for len(earlier) > 0 && earlier[0].over(now) {
		earlier = earlier[1:]
	}
	if lost = len(earlier) > MaxEarlier; lost {
		earlier = earlier[len(earlier)-MaxEarlier:]
	}
	if len(earlier) == 0 {
		s.earlier.Store(nil)
		return false
	}
	s.earlier.Store(&earlier)
	return lost
}

// Earlier returns the partitions that counted before that of s, the oldest first.
func (s *Snapshot) Earlier() []Earlier {
	if p := s.earlier.Load(); p != nil {
		return slices.Clone(*p)
	}
	return nil
}

// Partition is how s tells units apart.
func (s *Snapshot) Partition() Partition { return Partition{Units: s.Units, ECS: s.ECS} }

// Follow gives s, which is about to be served in the place of before, the earlier
// partitions that count from now on, in Unix seconds. lost is that of [Snapshot.SetEarlier].
func (s *Snapshot) Follow(before *Snapshot, now uint32) (lost bool) {
	earlier := before.Earlier()
	was, is := before.Partition(), s.Partition()
	if !was.Equal(&is) {
		earlier = append(earlier, Earlier{was, now})
	}
	return s.SetEarlier(earlier, now)
}

// Equal reports whether two partitions tell all clients apart in the same way, by the
// same names.
func (p *Partition) Equal(other *Partition) bool {
	return p.ECS == other.ECS && p.Units.Equal(other.Units) && p.asked() == other.asked()
}

// Forget drops the earlier partitions that do not count any more at now.
func (s *Snapshot) Forget(now uint32) {
	p := s.earlier.Load()
	if p == nil {
		return
	}
	left := *p
	for len(left) > 0 && left[0].over(now) {
		left = left[1:]
	}
	if len(left) == len(*p) {
		return
	}
	var next *[]Earlier
	if len(left) > 0 {
		next = &left
	}
	s.earlier.CompareAndSwap(p, next)
}

func (e *Earlier) over(now uint32) bool { return now >= e.Until+decide.Keep }

// ofAll marks the units of askers where client subnets do not count: they speak for
// clients that would be units of their own otherwise.
const ofAll = 1 << 63

// locate does of [Snapshot.locate] what finds the unit and its scope.
func (p *Partition) locate(e *wire.ECS, from netip.Addr) (u geo.Unit, scope uint8) {
	if !tailored(p.ECS, e) {
		u, _, _ = p.place(addressOf(from))
		return u, 0
	}
	u, scope, special := p.place(subnetOf(e))
	if special {
		u, _, _ = p.place(addressOf(from))
	}
	return u, scope
}

func (p *Partition) place(a address) (u geo.Unit, scope uint8, special bool) {
	var class geo.Class
	var block uint8
	if a.ipv4 {
		class, block = p.Units.Find4(uint32(a.lo))
		u, scope = p.Units.Of4(uint32(a.lo), class, block)
	} else {
		class, block = p.Units.Find6(a.hi, a.lo)
		u, scope = p.Units.Of6(a.hi, class, block)
	}
	if special = class == geo.ClassSpecial; special {
		scope = block
	}
	u.Lo |= p.asked()
	return u, scope + a.shift, special
}

// asked is what the names of units have in their lower words for askers who speak for
// all their clients.
func (p *Partition) asked() uint64 {
	if p.ECS || p.ByName {
		return 0
	}
	return ofAll
}

// merging returns the unit of an asker whose clients p told apart by their subnets, if
// this one has a subnet and they are one in the partition that follows p.
func (p *Partition) merging(ecs bool, e *wire.ECS, from netip.Addr) (u geo.Unit) {
	if p != nil && !ecs && tailored(p.ECS, e) {
		u, _, _ = p.place(addressOf(from))
	}
	return u
}

// lineage is the units that one client has been of, one after the other: the last of them.
type lineage struct {
	// units are the earlier ones, oldest first, then that of now. No two neighbors are
	// the same.
	units [MaxUnits + 1]geo.Unit
	// until says when each earlier unit was followed by the next, in Unix seconds.
	until [MaxUnits]uint32
	// merged is the unit that the asker was before a unit in which the client is one with
	// all others of that asker, who were units of their own by their subnets; zero else.
	merged [MaxUnits + 1]geo.Unit
	// n is how many earlier units there are.
	n int
}

// lineage returns the units of a client whose present one is in c, and narrows its scope
// to clients that have been in the same units all along.
func (s *Snapshot) lineage(earlier []Earlier, c *client, e *wire.ECS, from netip.Addr, now uint32) (l lineage) {
	var last *Partition
	for i := range earlier {
		was := &earlier[i]
		if was.over(now) {
			continue
		}
		u, scope := was.locate(e, from)
		if tailored(s.ECS, e) {
			c.unitScope = max(c.unitScope, scope)
		}
		if l.n == 0 || l.units[l.n-1] != u {
			if l.n == MaxUnits {
				l.dropOldest()
			}
			l.merged[l.n] = last.merging(was.ECS, e, from)
			l.units[l.n] = u
			l.n++
		}
		l.until[l.n-1], last = was.Until, &was.Partition
	}
	if l.n > 0 && l.units[l.n-1] == c.unit {
		l.n--
	} else {
		l.merged[l.n] = last.merging(s.ECS, e, from)
	}
	l.units[l.n] = c.unit
	return l
}

func (l *lineage) dropOldest() {
	copy(l.units[:], l.units[1:l.n])
	copy(l.until[:], l.until[1:l.n])
	copy(l.merged[:], l.merged[1:l.n])
	l.n--
}

// key names the clients that have been in units i to j one after the other, and changed
// when this one did: what was known of those who did so before is another story.
//
// Where client subnets count no more, one answer is for all clients of an asker, who
// were units of their own before. A cache asks for any of them next, so they must not
// differ: from there on they are one, and go by the units of the asker.
func (l *lineage) key(s *Snapshot, r *Registry, i, j int) decide.Key {
	u := l.units[i]
	for k := i + 1; k <= j; k++ {
		if l.merged[k] != (geo.Unit{}) {
			u = l.merged[k]
		}
		u = follow(u, l.until[k-1], l.units[k])
	}
	return decide.NewKey(s.UnitSeed, r.Number, u.Hi, u.Lo)
}

// follow names the clients who were of unit u until a moment, and of unit next from then on.
// Each word is mixed in by itself: networks are numbered one after the other, and so are
// seconds, and what one has more the other may have less.
func follow(u geo.Unit, until uint32, next geo.Unit) geo.Unit {
	for _, word := range [...]uint64{uint64(until), next.Hi, next.Lo} {
		u.Hi = (bits.RotateLeft64(u.Hi, 29) ^ word) * 0x9e3779b97f4a7c15
		u.Lo = (bits.RotateLeft64(u.Lo, 31) ^ word ^ u.Hi) * 0xd6e8feb86659fd93
	}
	return u
}

// carried is how a client is known in the table of units.
type carried struct {
	key decide.Key
	// entry is what the client had under an earlier name, and is to be known under
	// key, if adopt.
	entry decide.Entry
	adopt bool
	// unsure says that others still go by that earlier name, who may be all that it is
	// known for.
	unsure bool
	// next is the key by which the client is going to be known soon; 0 for the same.
	next decide.Key
}

// carry finds out how a client is known.
//
// A client who was active when its unit changed goes on as a unit with those who came
// from the same unit to the same unit: it cannot be one with the others of its new unit,
// who may have another replica, nor with the others of the old one, who may be placed
// elsewhere now. When it falls silent, or when the earlier partition is no longer asked,
// it is one of its new unit, like clients who were not active.
func (l *lineage) carry(s *Snapshot, r *Registry, now uint32) carried {
	best := carried{key: l.key(s, r, l.n, l.n)}
	for i := l.part(s, r); i < l.n; i++ {
		switch c, ok := l.carryFrom(s, r, i, now); {
		case !ok:
		case !c.unsure:
			return c
		case !best.adopt:
			best = c
		}
	}
	return best
}

// part finds out what has become of clients of an asker where they were to be one. If nobody
// has been answered since as one of them, they are still who they were. If those who were
// answered were known under no earlier name, all go by what those were given: first is the
// unit from which on names count.
func (l *lineage) part(s *Snapshot, r *Registry) (first int) {
	for k := 1; k < l.n; k++ {
		if l.merged[k] == (geo.Unit{}) {
			continue
		}
		since := l.until[k-1]
		_, known := s.Holds.Get(l.key(s, r, k-1, k)) // a name that the change has made
		fresh, asked := s.Holds.Get(l.key(s, r, k, k))
		switch {
		case known:
		case asked && fresh.LastSeen >= since:
			first = k
		default:
			l.merged[k] = geo.Unit{}
		}
	}
	return first
}

// carryFrom is carry for what is known under names that began with unit i, if that
// counts.
func (l *lineage) carryFrom(s *Snapshot, r *Registry, i int, now uint32) (c carried, ok bool) {
	c.key = l.key(s, r, i, l.n)
	if c.entry, ok = s.Holds.Get(c.key); ok {
		return l.ending(s, r, i, c, now), r.Policy.Active(c.entry, now)
	}
	var j int
	if c.entry, j = l.last(s, r, i); j < 0 {
		return c, false
	}
	if j == i && slices.Contains(l.units[i+1:l.n], l.units[i]) {
		return c, false // it is known as it was when it was of that unit again
	}
	c.unsure = c.entry.LastSeen > l.until[j]+settled
	c.adopt = r.Policy.Outlasts(c.entry, l.until[j], now)
	if c.unsure || l.merged[l.n] != (geo.Unit{}) { // or it is one with others now
		c.adopt = c.adopt && !l.answeredSince(s, r)
	}
	// The change itself must count as one since the client was last seen.
	c.entry.LastSeen = min(c.entry.LastSeen, l.until[j])
	return c, c.adopt
}

// last returns what is known of a client under names that began with unit i, and the
// unit up to which it was known so; -1 for nothing.
func (l *lineage) last(s *Snapshot, r *Registry, i int) (e decide.Entry, j int) {
	for j := l.n - 1; j >= i; j-- {
		if e, ok := s.Holds.Get(l.key(s, r, i, j)); ok {
			return e, j
		}
	}
	return e, -1
}

// settled is how long after a change, in seconds, clients may still have been answered
// as before it.
const settled = 15

// answeredSince reports whether clients that came new to the present unit have been
// answered since the last change: the one that is asked for may be one of them.
func (l *lineage) answeredSince(s *Snapshot, r *Registry) bool {
	e, ok := s.Holds.Get(l.key(s, r, l.n, l.n))
	return ok && e.LastSeen >= l.until[l.n-1]
}

// ending sets the next key of a client who is known by what began with unit i, if that
// unit is soon not asked for any more.
func (l *lineage) ending(s *Snapshot, r *Registry, i int, c carried, now uint32) carried {
	if now+r.Policy.Idle < l.until[i]+decide.Keep {
		return c
	}
	c.next = l.key(s, r, i+1, l.n)
	return c
}

// carriedKey returns the key of a client, and sees that the table knows by it what the
// client had under earlier names.
func (s *Snapshot) carriedKey(earlier []Earlier, r *Registry, c *client, e *wire.ECS, from netip.Addr, now uint32) decide.Key {
	l := s.lineage(earlier, c, e, from, now)
	if l.n == 0 {
		return s.unitKey(r, c)
	}
	k := l.carry(s, r, now)
	if k.adopt {
		s.Holds.Put(k.key, k.entry)
	}
	if k.next != 0 {
		if _, ok := s.Holds.Get(k.next); !ok {
			s.Holds.Put(k.next, k.entry)
		}
	}
	return k.key
}
