package geo

// The IPv6 blocks that carry an IPv4 address, by the upper half of the address
// (and, below /64, the upper half of the lower half).
const (
	mappedTop = 0x0000_ffff       // ::ffff:0:0/96, RFC 4291 section 2.5.5.2
	siitTop   = 0xffff_0000       // ::ffff:0:0:0/96, RFC 2765 (SIIT)
	nat64Hi   = 0x0064_ff9b << 32 // 64:ff9b::/96, RFC 6052 section 2.1
	teredoTop = 0x2001_0000       // 2001::/32, RFC 4380
	sixToFour = 0x2002            // 2002::/16, RFC 3056
)

// Unwrap finds the IPv4 address that an IPv6 address carries: IPv4-mapped, SIIT,
// NAT64 with the well-known prefix, 6to4 and Teredo (the client's own address).
// bits is how many bits of the address are known: the SOURCE of a client subnet,
// or 128. With fewer than 24 bits of the IPv4 address known, ok is false; the
// bits that are not known are taken as zero in the IPv6 form.
//
// shift is what a prefix length of the IPv4 address grows by in the IPv6 form:
// 16 for 6to4, else 96. It does not allocate.
func Unwrap(hi, lo uint64, bits int) (v4 uint32, shift int, ok bool) {
	switch {
	case hi>>48 == sixToFour:
		return uint32(hi >> 16), 16, bits >= 16+UnitBits4
	case bits < 96+UnitBits4:
		return 0, 0, false
	case hi == 0 && (lo>>32 == mappedTop || lo>>32 == siitTop), hi == nat64Hi && lo>>32 == 0:
		return uint32(lo), 96, true
	case hi>>32 == teredoTop:
		// RFC 4380 section 4: the address is there with every bit inverted.
		return ^uint32(lo), 96, true
	}
	return 0, 0, false
}

// wrappedScope is the ECS scope of an address in a block that carries IPv4
// addresses when too few of its bits are known to unwrap it: as long as any scope
// an unwrapped address in the block can have, so that none overlaps it.
func wrappedScope(hi uint64) uint8 {
	if hi>>48 == sixToFour {
		return 16 + 32
	}
	return 128
}
