package config

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const manual = "../docs/configuration.md"

// documented reads the tables of the manual: the heading has the path above the
// keys, and a column each for key, types of probe where they differ, value and
// default.
func documented(t *testing.T, text string) []Key {
	t.Helper()
	var keys []Key
	prefix, columns := "", 0
	heading := regexp.MustCompile("^##+ `(.*)`$")
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if m := heading.FindStringSubmatch(line); m != nil {
			prefix = m[1] + "."
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case !strings.HasPrefix(line, "|"):
			columns = 0
			continue
		case columns == 0 || strings.HasPrefix(line, "|--"):
			columns = len(cells)
			continue
		case len(cells) != columns || cells[columns-1] == "":
			t.Errorf("row has %d cells of %d: %s", len(cells), columns, line)
			continue
		}
		key := Key{Path: prefix + strings.Trim(cells[0], "`"), Type: cells[columns-3], Default: strings.Trim(cells[columns-2], "`")}
		if columns == 5 && cells[1] != "all" {
			key.Only = strings.Split(cells[1], ", ")
		}
		if key.Default == "required" {
			key.Required, key.Default = true, ""
		}
		keys = append(keys, key)
	}
	return keys
}

// TestManual sees that the manual has every key with its type and default, in the
// order of the sections, and no other.
func TestManual(t *testing.T) {
	text, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Reference(), documented(t, string(text))); diff != "" {
		t.Errorf("%s (-decoder +manual):\n%s", manual, diff)
	}
}

// TestManualExamples loads every example of the manual. Fragments get the zone
// they leave out.
func TestManualExamples(t *testing.T) {
	text, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	examples := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(examples) < 5 {
		t.Fatalf("%d examples", len(examples))
	}
	for i, m := range examples {
		example := m[1]
		if !strings.Contains(example, "zones:") {
			example += zoneLine
		}
		files := map[string]string{"main.yaml": example}
		if i == 0 {
			// The complete example includes a folder: put the next one into it.
			files["registries.d/team-a.yaml"] = strings.Replace(examples[1][1], "team-a:\n", "team-a:\n    zone: example.io\n", 1)
		}
		c, err := Load(tree(t, files) + "/main.yaml")
		if err != nil {
			t.Errorf("example %d is refused:\n%v\n%s", i+1, err, example)
			continue
		}
		checkComplete(t, c)
		if i == 0 {
			want := Summary{Files: 2, Zones: 1, Regions: 4, Networks: 2, Probes: 1, Registries: 2, Replicas: 5, Names: 8}
			if got := c.Summary(); got != want || len(c.Warnings) != 0 {
				t.Errorf("the complete example has %+v, want %+v; warnings %v", got, want, c.Warnings)
			}
		}
	}
}

// TestDefaultsDecode sees that the defaults in the tables are valid: they are
// decoded like what a file gives.
func TestDefaultsDecode(t *testing.T) {
	d := newDecoder(Options{})
	if errs := append(d.errs.errors(), d.warnings.errors()...); len(errs) > 0 {
		t.Errorf("defaults:\n%v", errs)
	}
}

// TestDistance compares with the plain definition of the distance.
func TestDistance(t *testing.T) {
	tests := []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"probe", "prboe", 1}, {"regstry", "registry", 1}, {"kitten", "sitting", 3}, {"abc", "ca", 3}, {"eastus", "westus", 2}}
	for _, test := range tests {
		if got, back := distance(test.a, test.b), distance(test.b, test.a); got != test.want || back != got {
			t.Errorf("distance(%q, %q) = %d, and back %d, want %d", test.a, test.b, got, back, test.want)
		}
	}
	known := []string{"zone", "name", "home", "replicas"}
	for word, want := range map[string]string{"replica": "replicas", "zones": "zone", "hmoe": "home", "frob": "", "": "", strings.Repeat("x", 1000): ""} {
		if got := nearest(word, known); got != want {
			t.Errorf("nearest(%.20q) = %q, want %q", word, got, want)
		}
	}
}

// TestPlaces checks how paths and values are shown, hostile ones too.
func TestPlaces(t *testing.T) {
	src := &source{name: "f.yaml"}
	at := &place{source: src}
	for _, key := range []string{"registries", "my.registry", "a b", "\x1b[31m", strings.Repeat("k", 1000)} {
		at = &place{up: at, source: src, key: key, line: 3, column: 4}
	}
	at = &place{up: at, source: src, index: 7, line: 3, column: 4}
	want := `registries.my.registry["a b"]["\x1b[31m"]["` + strings.Repeat("k", maxShown) + `"...][7]`
	if got := at.path(); got != want {
		t.Errorf("path = %s\nwant   %s", got, want)
	}
	err := Error{Pos: at.pos(), Path: "a.b", Msg: "is wrong", Hint: "mend it"}
	for got, want := range map[string]string{
		err.Error():                            "f.yaml:3:4: a.b: is wrong (mend it)",
		fmt.Sprint(err):                        "f.yaml:3:4: a.b: is wrong (mend it)",
		Error{Msg: "m"}.Error():                "m",
		Pos{File: "f", Line: 2}.String():       "f:2",
		Errors{{Msg: "a"}, {Msg: "b"}}.Error(): "a\nb",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
