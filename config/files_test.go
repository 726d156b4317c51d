package config

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the expected errors in testdata/config; read the difference before committing it")

// knownForTest knows every region but those that begin with xx.
func knownForTest(name string) error {
	if strings.HasPrefix(name, "xx") {
		return fmt.Errorf("region %q is not well known", name)
	}
	return nil
}

const wantPrefix = "# want: "

// wanted are the lines a file expects of itself, at its end.
func wanted(data []byte) []string {
	var want []string
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, wantPrefix); ok {
			want = append(want, strings.TrimSpace(rest))
		}
	}
	return want
}

func rewrite(t *testing.T, path string, data []byte, lines []string) {
	t.Helper()
	var b bytes.Buffer
	for line := range strings.Lines(string(data)) {
		if !strings.HasPrefix(line, wantPrefix) {
			b.WriteString(line)
		}
	}
	for _, line := range lines {
		b.WriteString(wantPrefix + line + "\n")
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

func lines(errs Errors) []string {
	var out []string
	for _, e := range errs {
		out = append(out, e.Error())
	}
	return out
}

// TestBadFiles refuses each file with exactly the errors it expects: one that is
// missing, and one that follows from another, are both defects.
func TestBadFiles(t *testing.T) {
	paths, err := filepath.Glob("../testdata/config/bad/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			c, err := Options{KnownRegion: knownForTest}.Parse(filepath.Base(path), data)
			var errs Errors
			if c != nil || !errors.As(err, &errs) {
				t.Fatalf("Parse gave %v, %v, want Errors", c, err)
			}
			if *update {
				rewrite(t, path, data, lines(errs))
				return
			}
			if diff := cmp.Diff(wanted(data), lines(errs)); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
		})
	}
}

// TestGoodFiles accepts each file, with exactly the warnings it expects.
func TestGoodFiles(t *testing.T) {
	paths, err := filepath.Glob("../testdata/config/good/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			c, err := Options{KnownRegion: knownForTest}.Parse(filepath.Base(path), data)
			if err != nil {
				t.Fatalf("refused:\n%v", err)
			}
			if *update {
				rewrite(t, path, data, lines(c.Warnings))
				return
			}
			if diff := cmp.Diff(wanted(data), lines(c.Warnings)); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
			checkComplete(t, c)
		})
	}
}

// checkComplete asserts what the package promises of every Config it returns.
func checkComplete(t *testing.T, c *Config) {
	t.Helper()
	zones, probes, regions := map[string]bool{}, map[string]bool{"": true}, map[string]bool{"": true}
	for _, z := range c.Zones {
		zones[z.Name] = true
		if len(z.Nameservers) == 0 && z.Records == "" || z.Contact == "" || z.TTL <= 0 || z.NegativeTTL <= 0 {
			t.Errorf("zone %s is not complete: %+v", z.Name, z)
		}
	}
	for _, p := range c.Probes {
		probes[p.Name] = true
		if p.Timeout <= 0 || p.Timeout > p.Interval || p.Fall < 1 || p.Rise < 1 {
			t.Errorf("probe %s is not complete: %+v", p.Name, p)
		}
	}
	for _, r := range c.Regions {
		regions[r.Name] = true
	}
	if len(c.Server.Listen) == 0 || len(c.Zones) == 0 || len(c.Regions) > MaxRegions || !regions[c.Geo.DefaultRegion] {
		t.Errorf("not complete: %+v", c)
	}
	for i := range c.Registries {
		r := &c.Registries[i]
		home := false
		for _, p := range r.Replicas {
			home = home || p.Region == r.Home
			if len(p.Addresses) == 0 == (p.Target == "") || !probes[p.Probe] || !regions[p.Region] || r.DataEndpoints && p.Data == nil {
				t.Errorf("registry %s: replica %s is not complete: %+v", r.Key, p.Region, p)
			}
		}
		if !home || !zones[r.Zone] || r.Sticky.TTL <= 0 || r.RegionalTTL <= 0 || r.Answer == "" || r.AllDown == "" {
			t.Errorf("registry %s is not complete: %+v", r.Key, r)
		}
	}
}
