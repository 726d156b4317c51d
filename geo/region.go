package geo

import (
	_ "embed" // the table of well-known regions
	"encoding/csv"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Region is a place where replicas are.
type Region struct {
	// Name is the name as configured: "westus" or "aws/us-east-1".
	Name string
	// Label is the DNS label of the region's endpoints: the name without the
	// provider.
	Label string
	Point
	// Country is the ISO 3166-1 alpha-2 code, "" where not known.
	Country string
	// Bias is added to every distance from the region, in kilometres. Positive
	// makes the region serve fewer clients.
	Bias float64
}

//go:embed regions.csv
var regionsCSV string

// wellKnown is one line of the table of well-known regions.
type wellKnown struct {
	provider, region, display string
	Region
}

// WellKnownRegions returns the regions of the public clouds whose coordinates
// come with Portolan, named "provider/region", sorted by name. The caller owns
// the slice.
func WellKnownRegions() []Region {
	table := wellKnownTable()
	regions := make([]Region, len(table))
	for i := range table {
		regions[i] = table[i].Region
	}
	slices.SortFunc(regions, func(a, b Region) int { return strings.Compare(a.Name, b.Name) })
	return regions
}

// WellKnown returns the region of a public cloud by its name: "provider/region",
// or "region" alone where only one provider has it. The name of the result is the
// name as given. The error for an ambiguous name lists the candidates, the one
// for an unknown name the nearest spellings.
func WellKnown(name string) (Region, error) {
	return pick(name, wellKnownTable())
}

func pick(name string, table []wellKnown) (Region, error) {
	var found []wellKnown
	for _, w := range table {
		if name == w.region || name == w.Name {
			found = append(found, w)
		}
	}
	switch len(found) {
	case 1:
		region := found[0].Region
		region.Name = name
		return region, nil
	case 0:
		return Region{}, unknownRegion(name, table)
	}
	names := make([]string, len(found))
	for i, w := range found {
		names[i] = w.Name
	}
	return Region{}, fmt.Errorf("region %q is known to several providers: write one of %s", name, strings.Join(names, ", "))
}

func unknownRegion(name string, table []wellKnown) error {
	near := nearestSpellings(name, table)
	if len(near) == 0 {
		return fmt.Errorf("region %q is not well known: give its latitude and longitude", name)
	}
	return fmt.Errorf("region %q is not well known: did you mean %s? Or give its latitude and longitude",
		name, strings.Join(near, " or "))
}

// wellKnownTable parses the embedded table. The table is part of the program, so
// that it parses is a matter for a test and not for the caller; a line that does
// not is left out.
func wellKnownTable() []wellKnown {
	records, err := csv.NewReader(strings.NewReader(regionsCSV)).ReadAll()
	if err != nil || len(records) == 0 {
		return nil
	}
	table := make([]wellKnown, 0, len(records)-1)
	for _, record := range records[1:] {
		w, err := parseWellKnown(record)
		if err != nil {
			continue
		}
		table = append(table, w)
	}
	return table
}

func parseWellKnown(record []string) (wellKnown, error) {
	if len(record) != 6 {
		return wellKnown{}, fmt.Errorf("%d fields instead of 6", len(record))
	}
	latitude, err := strconv.ParseFloat(record[3], 64)
	if err != nil {
		return wellKnown{}, fmt.Errorf("latitude: %w", err)
	}
	longitude, err := strconv.ParseFloat(record[4], 64)
	if err != nil {
		return wellKnown{}, fmt.Errorf("longitude: %w", err)
	}
	return wellKnown{
		provider: record[0], region: record[1], display: record[2],
		Region: Region{
			Name:    record[0] + "/" + record[1],
			Label:   record[1],
			Point:   Point{latitude, longitude},
			Country: record[5],
		},
	}, nil
}
