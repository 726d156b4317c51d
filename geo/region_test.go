package geo

import (
	"encoding/csv"
	"strings"
	"testing"
)

func TestWellKnown(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, label, country string
		near                 Point
	}{
		{"westus", "westus", "US", Point{37.8, -122.4}},
		{"azure/westus", "westus", "US", Point{37.8, -122.4}},
		{"aws/us-east-1", "us-east-1", "US", Point{39, -77.5}},
		{"europe-west4", "europe-west4", "NL", Point{53.4, 6.8}},
	} {
		r, err := WellKnown(c.name)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if r.Name != c.name || r.Label != c.label || r.Country != c.country || r.Kilometres(c.near) > 50 || r.Bias != 0 {
			t.Errorf("%s: %+v", c.name, r)
		}
	}
}

func TestWellKnownErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, want string }{
		{"westsu", "did you mean azure/westus"},
		{"West US", "did you mean azure/westus"},
		{"us-east1a", "gcp/us-east1"},
		{"aws/us-esat-1", "aws/us-east-1"},
		{"azure/us-east-1", "aws/us-east-1"},
		{"WESTEUROPE", "azure/westeurope"},
		{"basement", "give its latitude and longitude"},
		{"", "give its latitude and longitude"},
	} {
		if _, err := WellKnown(c.name); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: error %v, want one with %q", c.name, err, c.want)
		}
	}
}

func TestAmbiguousRegion(t *testing.T) {
	t.Parallel()
	table := []wellKnown{
		{"azure", "central", "Central", Region{Name: "azure/central", Label: "central"}},
		{"gcp", "central", "Central", Region{Name: "gcp/central", Label: "central"}},
	}
	if _, err := pick("central", table); err == nil || !strings.Contains(err.Error(), "azure/central, gcp/central") {
		t.Errorf("error %v, want one that lists the candidates", err)
	}
	if r, err := pick("gcp/central", table); err != nil || r.Name != "gcp/central" {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestRegionsTable reads every line of the table: WellKnown leaves out lines that
// do not parse.
func TestRegionsTable(t *testing.T) {
	t.Parallel()
	records, err := csv.NewReader(strings.NewReader(regionsCSV)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, record := range records[1:] {
		w, err := parseWellKnown(record)
		if err != nil {
			t.Errorf("%v: %v", record, err)
			continue
		}
		if seen[w.Name] {
			t.Errorf("%s is there twice", w.Name)
		}
		seen[w.Name] = true
		if !w.valid() || countryOf(w.Country) == [2]byte{} || w.display == "" {
			t.Errorf("%s makes no sense: %+v", w.Name, w)
		}
		if w.Label == "" || strings.Trim(w.Label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || len(w.Label) > 63 {
			t.Errorf("%s is no DNS label", w.Label)
		}
		if r, err := WellKnown(w.Name); err != nil || r != w.Region {
			t.Errorf("%s: %+v, %v", w.Name, r, err)
		}
	}
	if got := len(WellKnownRegions()); got != len(seen) || got < 150 {
		t.Errorf("%d regions of %d lines", got, len(seen))
	}
}
