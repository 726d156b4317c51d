package config

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// fleetFiles are the files of a configuration that changes: of each the lines in
// front, and the registries by their text.
type fleetFiles struct {
	rng   *rand.Rand
	dir   string
	tops  []string // sections of the main file
	files map[string]*fleetFile
	keys  int // of registries given so far
}

type fleetFile struct {
	above   string
	entries []string
}

func newFleetFiles(rng *rand.Rand, dir string) *fleetFiles {
	f := &fleetFiles{rng: rng, dir: dir, files: make(map[string]*fleetFile)}
	f.tops = []string{
		"include: [r.d/*.yaml]", "zones: {example.io: {nameservers: {ns1: [192.0.2.53]}}, example.org: {nameservers: {ns1: [192.0.2.54]}}}",
		"probes: {p: {type: tcp, port: 1}, q: {type: tls}}", "regions: {home: {latitude: 1, longitude: 2}}", "server: {identity: a}",
	}
	for i := range 5 {
		f.files[fmt.Sprintf("r.d/%d.yaml", i)] = &fleetFile{entries: []string{f.registry(), f.registry(), f.registry()}}
	}
	f.files["main.yaml"] = &fleetFile{entries: []string{f.registry()}}
	return f
}

func (f *fleetFiles) pick(words ...string) string { return words[f.rng.IntN(len(words))] }

// registry writes one, with any of the keys there are.
func (f *fleetFiles) registry() string {
	f.keys++
	var b strings.Builder
	fmt.Fprintf(&b, "  %s:%s\n    zone: %s\n", f.pick(fmt.Sprintf("R%d", f.keys), fmt.Sprintf("'r%d'", f.keys)), f.pick("", " # odd"), f.pick("example.io", "Example.org"))
	for _, line := range []string{
		fmt.Sprintf("name: n%d.team", f.keys), "home: west", "regional_endpoints: enabled", "data_endpoints: enabled", "answer: address", "families: ipv4",
		"regional_ttl: 90s", "sticky: {ttl: 45s, idle: 200s, hold: 500s, renewals: 3}", "sticky: off", "recovery_hold: 0s", "all_down: nodata", "failback: manual", "",
	} {
		if f.rng.IntN(6) == 0 && (!strings.HasPrefix(line, "sticky") || !strings.Contains(b.String(), "sticky")) {
			b.WriteString(strings.TrimRight("    "+line, " ") + "\n")
		}
	}
	b.WriteString("    replicas:\n")
	probe := f.pick("", ", probe: p", ", probe: q, probe_target: \"10.0.0.1:77\"")
	for i, region := range []string{"west", f.pick("east", "East2", "aws/us-east-1"), "south"}[:1+f.rng.IntN(3)] {
		data := f.pick("", "", ", data: {target: blobs.example.net}", ", data: {addresses: [192.0.2.9, 192.0.2.8]}")
		to := fmt.Sprintf("addresses: [10.%d.%d.%d]", i, f.keys>>8, f.keys&255)
		if !strings.Contains(b.String(), "address") && f.rng.IntN(5) == 0 {
			to, data = "target: lb.Example.net", ""
		}
		fmt.Fprintf(&b, "      %s: {%s%s%s%s}\n", region, to, probe, data, f.pick("", ", global_endpoint_routing: false"))
	}
	return b.String()
}

// wrong is an entry with a fault, or with something odd.
func (f *fleetFiles) wrong() string {
	good := f.registry()
	return f.pick(
		good+f.pick("", good), // or one of them twice
		strings.Replace(good, "replicas:", "replica:", 1), strings.Replace(good, "addresses: [10.", "addresses: [310.", 1),
		strings.Replace(good, "zone: example.io", "zone: example.net", 1), strings.Replace(good, ", probe: p", ", probe: gone", 1),
		strings.Replace(good, "      west:", "    west:", 1), strings.Replace(good, "{", "{{", 1),
		strings.Replace(good, "    replicas:", "    all_down: |\n      nodata\n    replicas:", 1), // no plain text
		strings.Replace(good, "    replicas:", "    sticky: {ttl: 20s}\n    replicas:", 1),        // a warning, or a key too many
		strings.Replace(good, "    replicas:", "    # \u00fc\n    replicas:", 1),
	)
}

// edit changes something, and says whether it may be for the worse.
func (f *fleetFiles) edit() (worse bool) {
	names := slices.Sorted(maps.Keys(f.files))
	name := names[f.rng.IntN(len(names))]
	file := f.files[name]
	at := f.rng.IntN(len(file.entries) + 1)
	switch n := f.rng.IntN(14); {
	case n < 4 && at < len(file.entries):
		file.entries[at] = f.registry()
	case n < 6:
		file.entries = slices.Insert(file.entries, at, f.registry())
	case n < 8 && at < len(file.entries):
		file.entries = slices.Delete(file.entries, at, at+1)
	case n == 8:
		file.above = f.pick("", "# a\n", "\n\n", "# a\n# b\n")
	case n == 9 && name != "main.yaml":
		delete(f.files, name)
		if f.rng.IntN(3) > 0 { // under another name
			f.files[fmt.Sprintf("r.d/%d.yaml", f.rng.IntN(20))] = file
		}
	case n == 10:
		f.files[fmt.Sprintf("r.d/%d.yaml", f.rng.IntN(20))] = &fleetFile{entries: []string{f.registry(), f.registry()}}
	case n == 11:
		f.tops[1+f.rng.IntN(4)] = f.pick(
			"zones: {example.io: {nameservers: {ns1: [192.0.2.53]}, transfer: {allow: [10.0.0.1]}}, example.org: {nameservers: {ns1: [192.0.2.54]}}}",
			"probes: {p: {type: tcp, port: 2}, q: {type: tls}}", "probes: {p: {type: tcp, port: 2}}", "regions: {east: {bias: 7}, west: {bias: 1}}",
			"server: {identity: b, ecs: false}", "geo: {default_region: south}", "state: {grace: 1s}", "diagnostics: {allow: [10.0.0.0/8]}", "")
		return true
	case n == 12:
		f.rng.Shuffle(len(file.entries), func(i, j int) { file.entries[i], file.entries[j] = file.entries[j], file.entries[i] })
	case n == 13:
		file.entries = slices.Insert(file.entries, at, f.wrong())
		return true
	}
	return false
}

func (f *fleetFiles) write(t *testing.T) {
	t.Helper()
	if err := os.RemoveAll(f.dir); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(f.dir, "r.d"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, file := range f.files {
		text := file.above + "registries:\n" + strings.Join(file.entries, "")
		if name == "main.yaml" {
			text = strings.Join(f.tops, "\n") + "\n" + text
		}
		if err := os.WriteFile(filepath.Join(f.dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// save remembers the state of the files, for undo.
func (f *fleetFiles) save() (undo func()) {
	tops, files := slices.Clone(f.tops), make(map[string]*fleetFile)
	for name, file := range f.files {
		files[name] = &fleetFile{file.above, slices.Clone(file.entries)}
	}
	return func() { f.tops, f.files = tops, files }
}

// TestCacheChangesNothing edits files, and loads them each time with the cache of all
// loads before, and without one, in small parts: nothing may differ, in what is
// loaded, where it stands, or what is wrong with it.
func TestCacheChangesNothing(t *testing.T) {
	const edits = 400
	rng := rand.New(rand.NewPCG(5, 6))
	f := newFleetFiles(rng, filepath.Join(t.TempDir(), "c"))
	path := filepath.Join(f.dir, "main.yaml")
	var cache Cache
	seen := make(map[string]bool) // keys in files without a fault
	good, bad, reused, undo := 0, 0, 0, f.save()
	for i := range edits {
		worse := f.edit()
		f.write(t)
		known := len(cache.kept)
		got, gotErr := Options{Cache: &cache, part: 300}.Load(path)
		root := Options{part: 1 << 20} // in one piece
		want, wantErr := root.careful(path)
		if diff := cmp.Diff(fmt.Sprint(wantErr), fmt.Sprint(gotErr)); diff != "" {
			t.Fatalf("edit %d: other errors (-fresh +cached):\n%s", i, diff)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}, netip.Prefix{})); diff != "" {
			t.Fatalf("edit %d: another configuration (-fresh +cached):\n%s", i, diff)
		}
		switch {
		case wantErr != nil:
			bad++
			undo()
			undo = f.save()
		default:
			good++
			reused += min(known, len(cache.kept))
			f.note(seen)
			if !worse || rng.IntN(2) == 0 {
				undo = f.save()
			}
		}
	}
	if good < edits/2 || bad < edits/50 || reused < good {
		t.Errorf("%d good, %d bad, %d parts reused: too few to compare", good, bad, reused)
	}
	for _, k := range Reference() {
		if name := k.Path[strings.LastIndexByte(k.Path, '.')+1:]; strings.HasPrefix(k.Path, "registries.") && !seen[name] {
			t.Errorf("%s stands in no file: let registry write it, for the cache has to know it", k.Path)
		}
	}
}

// note notes the keys that stand in the files.
func (f *fleetFiles) note(seen map[string]bool) {
	for _, file := range f.files {
		for _, word := range strings.FieldsFunc(strings.Join(file.entries, ""), func(r rune) bool { return strings.ContainsRune(" {,\n", r) }) {
			if key, ok := strings.CutSuffix(word, ":"); ok {
				seen[key] = true
			}
		}
	}
}

// careful loads as if something were wrong from the beginning.
func (o Options) careful(path string) (*Config, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	c, _, err := o.once(path, data, true, (*loader).include)
	return c, err
}
