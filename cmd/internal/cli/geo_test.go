package cli

import (
	"net/netip"
	"strings"
	"testing"
)

// Distances are those from where the address is, and none where that is not known.
func TestGeoLookupDistances(t *testing.T) {
	l, err := (&env{}).lookup("", []string{"westus", "westeurope"})
	if err != nil {
		t.Fatal(err)
	}
	for addr, known := range map[string]bool{"145.18.0.1": true, "192.0.2.1": false, "10.0.0.1": false, "2001:db8::1": false} {
		for _, form := range []format{"table", "json"} {
			var out strings.Builder
			if err := l.print(&out, &form, netip.MustParseAddr(addr)); err != nil {
				t.Fatal(err)
			}
			got := strings.Contains(out.String(), " km") || strings.Contains(out.String(), `"km"`)
			if got != known || !strings.Contains(out.String(), "westeurope") || form == "table" && strings.Contains(out.String(), "0.00,0.00") {
				t.Errorf("%s: %s", addr, out.String())
			}
		}
	}
}
