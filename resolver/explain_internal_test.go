package resolver

import (
	"net/netip"
	"testing"

	"portolan.dev/geo"
)

// Every way in which a place can be known has its words.
func TestPlaceText(t *testing.T) {
	block := netip.MustParsePrefix("192.0.2.0/24")
	located := geo.Cell{Kind: geo.Located, Country: [2]byte{'N', 'L'}, Point: geo.Point{Latitude: 52.4, Longitude: 4.9}}
	country := geo.Cell{Kind: geo.CountryOnly, Country: [2]byte{'N', 'L'}}
	for want, p := range map[string]geo.Place{
		"configured network lab, block 192.0.2.0/24":                                       {Site: 0, Class: 2, Scope: block},
		"special-purpose address, block 192.0.2.0/24; ranked by " + geo.ByDefault.String(): {Site: -1, Class: geo.ClassSpecial, Scope: block, Basis: geo.ByDefault},
		"NL near 52.4,4.9, block 192.0.2.0/24":                                             {Site: -1, Class: 5, Cell: located, Location: block},
		"NL, country only, block 192.0.2.0/24":                                             {Site: -1, Class: 5, Cell: country, Location: block},
		"not located; ranked by " + geo.ByDefault.String():                                 {Site: -1, Class: geo.ClassUnlocated, Basis: geo.ByDefault},
	} {
		if got := placeText(p, "lab"); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
