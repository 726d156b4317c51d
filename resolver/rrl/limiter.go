package rrl

import "net/netip"

// Class is a kind of response; each has counts of its own.
type Class uint8

// The classes.
const (
	Answer   Class = iota // with records in the answer section
	Negative              // NXDOMAIN and NODATA, whatever their name: they belong to the zone cut
	Error                 // every other response code
	classes
)

// Policy says what is allowed.
type Policy struct {
	// Rates, by class, is how many responses a second one address gets; 0 is no
	// limit.
	Rates [classes]uint32
	// Burst is how many it gets at once after a pause. It should be no less than the
	// rates, because time comes in whole seconds.
	Burst uint32
	// Slip says that every n-th limited response is sent with TC instead of dropped,
	// so that a real client can come back over TCP: 1 is all of them, 0 none.
	Slip uint32
	// Exempt networks are never limited.
	Exempt []netip.Prefix
	// DryRun counts and limits nothing.
	DryRun bool
}

// second is one second in the unit of counts: 2^-24 s.
const second = 1 << 24

// maxWait bounds how far ahead a count may be, in the unit of counts.
const maxWait = 1 << 44

// slack is how much earlier the clock of another worker may be; a count further
// ahead than a limit can bring it is of another time and means nothing.
const slack = 8 * second

// multiples of the rate: for the address, and outwards for what holds it.
const (
	multiple4Mid    = 32  // /24
	multiple4Coarse = 768 // /16
	multiple6Mid    = 4   // /56
	multiple6Site   = 8   // /48
	multiple6Coarse = 64  // /32
)

// limit is one class's, in the unit of counts.
type limit struct {
	cost uint64 // of one response, for its address
	// What a sampled response, which stands for others, costs the networks.
	mid4, coarse4, mid6, site6, coarse6 uint64
	wait                                uint64 // how far a count may be ahead of now
}

func newLimit(rate, burst uint32) limit {
	cost := max(second/uint64(rate), 1)
	wait := min(cost*uint64(max(burst, 1)), maxWait)
	// No response costs more than there is of an empty count: a sampled one stands for
	// others, and with a small burst the first of a network would be refused.
	network := func(multiple uint64) uint64 { return min(max(sample*second/(uint64(rate)*multiple), 1), wait) }
	return limit{
		cost: cost, mid4: network(multiple4Mid), coarse4: network(multiple4Coarse),
		mid6: network(multiple6Mid), site6: network(multiple6Site), coarse6: network(multiple6Coarse), wait: wait,
	}
}

// Limiter applies a policy on a table. Immutable but for the table, and safe for
// concurrent use.
type Limiter struct {
	Policy

	table  *Table
	limits [classes]limit
}

// New returns a Limiter. Several may share a table: that of a new policy goes on
// with the counts of the old one.
func New(p Policy, t *Table) *Limiter {
	l := &Limiter{Policy: p, table: t}
	for class, rate := range p.Rates {
		if rate != 0 {
			l.limits[class] = newLimit(rate, p.Burst)
		}
	}
	return l
}

// Take counts a response to addr, which is not an IPv4 address in IPv6 form, and
// reports whether it may be sent. now is in Unix seconds. It can step in either
// direction: what was counted at another time is forgotten then. number is that of
// the response in any row of numbers, by which those that count for networks are
// chosen.
func (l *Limiter) Take(addr netip.Addr, class Class, now int64, number uint64) bool {
	limit := &l.limits[class]
	if limit.cost == 0 {
		return true
	}
	sampled := mix(number, l.table.seed)%sample == 0
	var ok bool
	if addr.Is4() {
		ok = l.table.take4(addr.As4(), class, limit, uint64(now)*second, sampled)
	} else {
		ok = l.table.take6(addr.As16(), class, limit, uint64(now)*second, sampled)
	}
	return ok || l.exempt(addr)
}

// exempt is asked only about addresses that are over the limit.
func (l *Limiter) exempt(addr netip.Addr) bool {
	for _, p := range l.Exempt {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}
