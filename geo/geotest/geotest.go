// Package geotest makes location data of a few places, for tests: the embedded data
// is right too, and takes a hundred times longer to load. Tests alone may import it.
package geotest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"

	"portolan.dev/geo"
)

// Place is where the addresses of a network are.
type Place struct {
	// Prefix is the network, as in "128.95.0.0/16".
	Prefix string
	// City is its English name. It must not be empty: a point of many addresses that is in
	// no city stands for the whole country.
	City string
	// Country is its ISO code.
	Country string
	// Latitude and Longitude are in degrees.
	Latitude, Longitude float64
}

// Seattle is the place of one network: where clients are is not for most tests.
func Seattle() Place {
	return Place{Prefix: "128.95.0.0/16", City: "Seattle", Country: "US", Latitude: 47.6, Longitude: -122.3}
}

// MMDB returns a location database in the MaxMind DB format, always of the same day.
func MMDB(places ...Place) ([]byte, error) {
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "DBIP-City", BuildEpoch: 1_790_000_000, RecordSize: 24})
	if err != nil {
		return nil, fmt.Errorf("make a location database: %w", err)
	}
	for _, p := range places {
		_, network, err := net.ParseCIDR(p.Prefix)
		if err == nil {
			err = tree.Insert(network, mmdbtype.Map{
				"country":  mmdbtype.Map{"iso_code": mmdbtype.String(p.Country)},
				"city":     mmdbtype.Map{"names": mmdbtype.Map{"en": mmdbtype.String(p.City)}},
				"location": mmdbtype.Map{"latitude": mmdbtype.Float64(p.Latitude), "longitude": mmdbtype.Float64(p.Longitude)},
			})
		}
		if err != nil {
			return nil, fmt.Errorf("make a location database: %w", err)
		}
	}
	var b bytes.Buffer
	if _, err := tree.WriteTo(&b); err != nil {
		return nil, fmt.Errorf("make a location database: %w", err)
	}
	return b.Bytes(), nil
}

// Table returns what a server makes of such a database.
func Table(places ...Place) (*geo.Table, error) {
	data, err := MMDB(places...)
	if err != nil {
		return nil, err
	}
	file, err := os.CreateTemp("", "geotest-*.mmdb")
	if err != nil {
		return nil, fmt.Errorf("make location data: %w", err)
	}
	defer os.Remove(file.Name())
	_, err = file.Write(data)
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, fmt.Errorf("make location data: %w", err)
	}
	return geo.ReadMMDB(file.Name()) //nolint:wrapcheck // names the file
}
