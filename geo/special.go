package geo

import "net/netip"

// specialBlocks returns the blocks that have no place on the map: those of the
// IANA special-purpose address registries (RFC 6890) that are not globally
// reachable, multicast, and reserved space. They are never looked up in the
// location data, which often has an entry for them all the same.
//
// Blocks of the registries that are globally reachable (AS112, AMT, the PCP and
// TURN anycast addresses outside the blocks below) are ordinary addresses.
func specialBlocks() []netip.Prefix {
	texts := []string{
		"0.0.0.0/8",       // this network, RFC 791
		"10.0.0.0/8",      // private, RFC 1918
		"100.64.0.0/10",   // shared address space, RFC 6598
		"127.0.0.0/8",     // loopback, RFC 1122
		"169.254.0.0/16",  // link local, RFC 3927
		"172.16.0.0/12",   // private, RFC 1918
		"192.0.0.0/24",    // IETF protocol assignments, RFC 6890
		"192.0.2.0/24",    // documentation, RFC 5737
		"192.88.99.0/24",  // 6to4 relay anycast, withdrawn by RFC 7526
		"192.168.0.0/16",  // private, RFC 1918
		"198.18.0.0/15",   // benchmarking, RFC 2544
		"198.51.100.0/24", // documentation, RFC 5737
		"203.0.113.0/24",  // documentation, RFC 5737
		"224.0.0.0/4",     // multicast, RFC 5771
		"240.0.0.0/4",     // reserved, RFC 1112; holds the limited broadcast

		"::/8",           // reserved, RFC 4291; holds ::, ::1 and 64:ff9b:1::/48
		"100::/64",       // discard only, RFC 6666
		"100:0:0:1::/64", // dummy prefix, RFC 9780
		"2001::/23",      // IETF protocol assignments, RFC 2928
		"2001:db8::/32",  // documentation, RFC 3849
		"3fff::/20",      // documentation, RFC 9637
		"5f00::/16",      // segment routing identifiers, RFC 9602
		"fc00::/7",       // unique local, RFC 4193
		"fe80::/10",      // link local, RFC 4291
		"fec0::/10",      // site local, withdrawn by RFC 3879
		"ff00::/8",       // multicast, RFC 4291
	}
	return parsePrefixes(texts)
}

// wrappedBlocks returns the IPv6 blocks whose addresses [Unwrap] turns into IPv4
// addresses. They are ranges of their own in an Index, so that no scope around
// them reaches in.
func wrappedBlocks() []netip.Prefix {
	return parsePrefixes([]string{"::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "2001::/32", "2002::/16"})
}

func parsePrefixes(texts []string) []netip.Prefix {
	prefixes := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		prefixes[i] = netip.MustParsePrefix(text)
	}
	return prefixes
}
