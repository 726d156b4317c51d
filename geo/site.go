package geo

import (
	"fmt"
	"net/netip"
)

// Site is networks of the operator with the region that serves them: an entry of
// the configuration's networks.
type Site struct {
	Name string
	// Prefixes are IPv4 and IPv6 prefixes of any length; host bits are ignored.
	// They may lie in each other and in prefixes of other sites: the most specific
	// prefix has the address.
	Prefixes []netip.Prefix
	// Region is the number of the site's region. It is first in the site's list,
	// whatever the biases.
	Region int
	// Plain is true for one prefix that is placed and no more: its addresses belong
	// together no more than others do (see [Units]).
	Plain bool
}

// siteBlocks returns the blocks of all sites by family, with the sites' classes.
func siteBlocks(sites []Site) (v4, v6 []block, err error) {
	owner := make(map[netip.Prefix]int)
	for i, site := range sites {
		for _, given := range site.Prefixes {
			prefix, err := canonical(given)
			if err != nil {
				return nil, nil, fmt.Errorf("site %q: %w", site.Name, err)
			}
			if j, ok := owner[prefix]; ok && j != i {
				return nil, nil, fmt.Errorf("prefix %s is in site %q and in site %q: leave it in one of them",
					prefix, sites[j].Name, site.Name)
			}
			owner[prefix] = i
			b := blockOf(prefix, uint16(firstSiteClass)+uint16(i))
			if prefix.Addr().Is4() {
				v4 = append(v4, b)
			} else {
				v6 = append(v6, b)
			}
		}
	}
	return v4, v6, nil
}

// canonical returns the prefix as clients are looked up: without host bits, and
// an IPv4-mapped prefix as the IPv4 prefix it is.
func canonical(prefix netip.Prefix) (netip.Prefix, error) {
	if !prefix.IsValid() {
		return prefix, fmt.Errorf("prefix %q is not valid: write it as 192.0.2.0/24 or 2001:db8::/48", prefix)
	}
	if prefix.Addr().Is4In6() && prefix.Bits() >= 96 {
		return netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-96).Masked(), nil
	}
	prefix = netip.PrefixFrom(prefix.Addr().WithZone(""), prefix.Bits()).Masked()
	for _, wrapped := range wrappedBlocks() {
		if prefix.Addr().Is6() && wrapped.Bits() <= prefix.Bits() && wrapped.Contains(prefix.Addr()) {
			return prefix, fmt.Errorf("clients in %s are looked up by the IPv4 address that addresses in %s carry: list IPv4 prefixes instead",
				prefix, wrapped)
		}
	}
	return prefix, nil
}

// withoutCovered returns the blocks of special-purpose prefixes that no site covers:
// a site has its addresses even where it is the wider of the two.
func withoutCovered(special, sites []block) []block {
	var left []block
	for _, s := range special {
		covered := false
		for _, site := range sites {
			covered = covered || site.first.compare(s.first) <= 0 && s.last.compare(site.last) <= 0
		}
		if !covered {
			left = append(left, s)
		}
	}
	return left
}
