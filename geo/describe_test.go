package geo

import (
	"net/netip"
	"testing"
)

func TestDescribe(t *testing.T) {
	t.Parallel()
	regions := fourRegions()
	regions[1].Bias = 250
	sites := []Site{{Name: "lab", Prefixes: prefixes("10.20.0.0/16"), Region: 3}}
	ix := mustIndex(t, fourCells(), regions, sites, 2)
	for _, c := range []struct {
		addr, lookup, country, location, scope string
		site, first                            int
		basis                                  Basis
		special                                bool
	}{
		{addr: "8.8.8.8", lookup: "8.8.8.8", country: "US", location: "8.0.0.0/8", scope: "8.0.0.0/8", site: -1, first: 0, basis: ByCell},
		{addr: "2002:808:808::1", lookup: "8.8.8.8", country: "US", location: "8.0.0.0/8", scope: "8.0.0.0/8", site: -1, first: 0, basis: ByCell},
		{addr: "::ffff:8.8.8.8", lookup: "8.8.8.8", country: "US", location: "8.0.0.0/8", scope: "8.0.0.0/8", site: -1, first: 0, basis: ByCell},
		{addr: "14.1.1.1", lookup: "14.1.1.1", country: "US", location: "14.0.0.0/8", scope: "14.0.0.0/8", site: -1, first: 1, basis: ByCountry},
		{addr: "15.1.1.1", lookup: "15.1.1.1", country: "BR", location: "15.0.0.0/8", scope: "15.0.0.0/8", site: -1, first: 2, basis: ByDefault},
		{addr: "10.20.3.4", lookup: "10.20.3.4", country: "CA", location: "10.0.0.0/7", scope: "10.20.0.0/16", site: 0, first: 3, basis: BySite},
		{addr: "10.30.3.4", lookup: "10.30.3.4", scope: "10.24.0.0/13", site: -1, first: 2, basis: ByDefault, special: true},
		{addr: "2a00::1%eth0", lookup: "2a00::1", country: "NL", location: "2a00::/8", scope: "2a00::/8", site: -1, first: 3, basis: ByCell},
	} {
		p := ix.Describe(netip.MustParseAddr(c.addr))
		location := ""
		if p.Location.IsValid() {
			location = p.Location.String()
		}
		if p.Lookup.String() != c.lookup || p.Cell.CountryCode() != c.country || location != c.location ||
			p.Scope.String() != c.scope || p.Site != c.site || p.Basis != c.basis || p.Special() != c.special {
			t.Errorf("%s: %+v", c.addr, p)
		}
		if len(p.Ranking) != 4 || p.Ranking[0].Region != c.first {
			t.Errorf("%s: ranking %+v, want region %d first", c.addr, p.Ranking, c.first)
		}
		for i, r := range p.Ranking {
			if r.Bias != regions[r.Region].Bias {
				t.Errorf("%s: region %d with bias %v", c.addr, r.Region, r.Bias)
			}
			if i > 1 && r.Kilometres+r.Bias < p.Ranking[i-1].Kilometres+p.Ranking[i-1].Bias {
				t.Errorf("%s: ranking %+v is out of order", c.addr, p.Ranking)
			}
		}
	}
}

func TestDescribeNothing(t *testing.T) {
	t.Parallel()
	p := mustIndex(t, fourCells(), fourRegions(), nil, -1).Describe(netip.Addr{})
	if p.Class != ClassUnlocated || p.Site != -1 || p.Scope.IsValid() || len(p.Ranking) != 4 || p.Ranking[0].Kilometres != 0 {
		t.Errorf("%+v", p)
	}
}
