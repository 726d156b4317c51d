package app_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"portolan.dev/cmd/internal/admin"
	"portolan.dev/cmd/internal/app"
)

const contoso = head + `
zones: {example.io: {nameservers: {ns1: [192.0.2.53]}, records: DIR/example.zone}}
registries:
  myregistry:
    regional_endpoints: enabled
    replicas:
      westus: {addresses: [192.0.2.10]}
      westeurope: {addresses: [192.0.2.40]}
`

// questions are asked before and after what must not change anything.
func questions(tb testing.TB) [][]byte {
	tb.Helper()
	return [][]byte{
		query(tb, "myregistry.example.io.", dns.TypeA, seattle),
		query(tb, "myregistry.example.io.", dns.TypeA, amsterdam),
		query(tb, "myregistry.westus.geo.example.io.", dns.TypeA, ""),
		query(tb, "example.io.", dns.TypeSOA, ""),
		query(tb, "example.io.", dns.TypeNS, ""),
		query(tb, "mail.example.io.", dns.TypeA, ""),
		query(tb, "nowhere.example.io.", dns.TypeA, ""),
		query(tb, "new.example.io.", dns.TypeA, ""),
	}
}

func (s *server) answers(tb testing.TB) [][]byte {
	tb.Helper()
	var out [][]byte
	for _, q := range questions(tb) {
		out = append(out, bytes.Clone(s.raw(tb, q)))
	}
	return out
}

func writeFile(tb testing.TB, path, text string) {
	tb.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
}

func startContoso(tb testing.TB) *server {
	tb.Helper()
	s := newServer(tb, strings.Replace(contoso, ", records: DIR/example.zone", "", 1), app.Options{})
	writeFile(tb, filepath.Join(s.dir, "example.zone"), "mail A 192.0.2.80\n")
	s.write(tb, contoso)
	s.Start()
	s.reload(tb)
	return s
}

// A reload that succeeds is answered from at once, with a higher serial, and says
// what it did.
func TestReload(t *testing.T) {
	s := startContoso(t)
	before, generation := s.serial(t, "example.io."), s.Status().Generation
	s.write(t, strings.Replace(contoso, "192.0.2.10]}", "192.0.2.11]}\n      eastus: {addresses: [192.0.2.20]}", 1)+
		"  new: {replicas: {westus: {addresses: [192.0.2.99]}}}\n")
	writeFile(t, filepath.Join(s.dir, "example.zone"), "mail A 192.0.2.81\n")
	old := s.answers(t)
	// One of the addresses is replaced under the client that has asked.
	promised, err := s.Reload(t.Context(), admin.ReloadRequest{DryRun: true, Force: true})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.EqualFunc(old, s.answers(t), bytes.Equal) || s.Status().Generation != generation {
		t.Error("a dry run has changed something")
	}
	report, err := s.Reload(t.Context(), admin.ReloadRequest{Force: true})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"myregistry.example.io.": "192.0.2.11", "new.example.io.": "192.0.2.99", "mail.example.io.": "192.0.2.81"} {
		if got := s.addresses(t, name, seattle); !slices.Equal(got, []string{want}) {
			t.Errorf("%s: %v, want %s", name, got, want)
		}
	}
	if after := s.serial(t, "example.io."); after <= before {
		t.Errorf("serial %d after %d", after, before)
	}
	if got := s.Status().Generation; got != generation+1 {
		t.Errorf("generation %d after %d", got, generation)
	}
	promised.DryRun, promised.Millis = false, report.Millis
	for i := range promised.Readdressed {
		promised.Readdressed[i].OldAddressesUntil = report.Readdressed[i].OldAddressesUntil // counts from then
	}
	if diff := cmp.Diff(promised, report); diff != "" {
		t.Errorf("the dry run promised something else: %s", diff)
	}
	if len(report.Changes) == 0 || report.Changes[0] != "registries: 1 added, 0 removed, 1 changed" {
		t.Errorf("changes %q", report.Changes)
	}
	// Some clients are nearer to eastus than to the two of before, and not all.
	if report.MovedCells < 0.05 || report.MovedCells > 0.95 {
		t.Errorf("moved share %v", report.MovedCells)
	}
}

// A reload of the same moves nobody, and says so.
func TestReloadOfTheSame(t *testing.T) {
	s := startContoso(t)
	report, err := s.Reload(t.Context(), admin.ReloadRequest{})
	if err != nil || len(report.Changes) != 0 || report.MovedCells != 0 || len(report.Restart) != 0 {
		t.Errorf("%+v, %v", report, err)
	}
}

// A setting that only a start can change is named.
func TestReloadNamesWhatTakesARestart(t *testing.T) {
	s := startContoso(t)
	s.write(t, strings.Replace(strings.Replace(contoso, "workers: 2", "workers: 1", 1), "DIR/admin.sock", "DIR/other.sock", 1))
	report, err := s.Reload(t.Context(), admin.ReloadRequest{})
	if err != nil || !slices.Contains(report.Restart, "server") || !slices.Contains(report.Restart, "admin") || len(report.Restart) != 2 {
		t.Errorf("%+v, %v", report, err)
	}
}

// A reload that fails changes no octet of any answer and tells every fault.
func TestFailedReload(t *testing.T) {
	s := startContoso(t) // for all: a start takes longer than anything here
	for _, tt := range []struct {
		what, text, zone string
		want             []string
	}{
		{"broken YAML", "zones: {", "", []string{"portolan.yaml:"}},
		{"an empty file", "", "", []string{"portolan.yaml:"}},
		{
			"several errors", strings.NewReplacer("westeurope:", "nowhere:", "regional_endpoints", "regional_endpoint", "192.0.2.10]", "192.0.2.400]").Replace(contoso), "",
			[]string{"nowhere", "regional_endpoint", "192.0.2.400"},
		},
		{"no location data", strings.Replace(contoso, "city.mmdb", "gone.mmdb", 1), "", []string{"geo.database", "gone.mmdb"}},
		{
			"no location data in the file", strings.Replace(contoso, "city.mmdb", "example.zone", 1), "mail A 192.0.2.80\n",
			[]string{"geo.database", "example.zone"},
		},
		{"a zone file with errors", contoso, "mail A 192.0.2.81\na NS b\nc NS d\n", []string{"example.zone:2:", "example.zone:3:"}},
		{"a zone file that cannot be parsed", contoso, "mail A nonsense\n", []string{"example.zone:", "line: 1"}},
		{"no zone file", strings.Replace(contoso, "example.zone", "gone.zone", 1), "", []string{"gone.zone", "relative to the file"}},
		{
			"errors of zone and registry", contoso + "  mail: {replicas: {westus: {addresses: [192.0.2.9], probe: p}}}\nprobes: {p: {type: registry, ca_file: DIR/gone.pem}}\n",
			"mail A 192.0.2.80\na NS b\n",
			[]string{"example.zone:2:", "gone.pem", "mail.example.io."},
		},
	} {
		t.Run(tt.what, func(t *testing.T) {
			before, status, reloads := s.answers(t), s.Status(), len(s.logs.records(t, "reloaded"))
			s.write(t, tt.text)
			if tt.zone != "" {
				writeFile(t, filepath.Join(s.dir, "example.zone"), tt.zone)
			}
			err := s.tryReload(t.Context())
			if err == nil {
				t.Fatal("accepted")
			}
			lines := app.Lines(err)
			for _, want := range tt.want {
				if !slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, want) }) {
					t.Errorf("no line of %q names %q", lines, want)
				}
			}
			if after := s.answers(t); !slices.EqualFunc(before, after, bytes.Equal) {
				t.Errorf("the answers have changed:\n%x\n%x", before, after)
			}
			if got := s.Status().Generation; got != status.Generation {
				t.Errorf("generation %d, was %d", got, status.Generation)
			}
			if n := len(s.logs.records(t, "reloaded")); n != reloads {
				t.Errorf("%d reloads are logged, were %d", n, reloads)
			}
			// What was wrong is mended, and all goes on.
			s.write(t, contoso)
			writeFile(t, filepath.Join(s.dir, "example.zone"), "mail A 192.0.2.82\n")
			s.reload(t)
			if got := s.addresses(t, "mail.example.io.", ""); !slices.Equal(got, []string{"192.0.2.82"}) {
				t.Errorf("mail: %v", got)
			}
		})
	}
}

// A start that fails leaves nothing open and says every fault.
func TestFailedStart(t *testing.T) {
	taken := startContoso(t)
	dir := t.TempDir()
	data, err := places()
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "city.mmdb"), string(data))
	for what, text := range map[string]string{
		"address": strings.Replace(strings.ReplaceAll(contoso, ", records: DIR/example.zone", ""), "127.0.0.1:0\"]", taken.Addrs()[0].String()+"\"]", 1),
		"metrics": strings.Replace(strings.ReplaceAll(contoso, ", records: DIR/example.zone", ""), "metrics: \"127.0.0.1:0", "metrics: \""+taken.MetricsAddr(), 1),
		"socket":  strings.Replace(strings.ReplaceAll(contoso, ", records: DIR/example.zone", ""), "DIR/admin.sock", taken.dir+"/admin.sock", 1),
	} {
		path := filepath.Join(dir, what+".yaml")
		writeFile(t, path, strings.ReplaceAll(text, "DIR", dir))
		goroutines := settled()
		_, err := app.New(app.Options{Source: source(path, now), Log: discard})
		if err == nil || !strings.Contains(err.Error(), ":") {
			t.Errorf("%s: %v", what, err)
		}
		eventually(t, "the goroutines of a failed start end", func() bool { return settled() <= goroutines })
	}
}

// A reload names the registries that differ, what of them, and how many addresses
// each of them moves.
func TestReloadSaysWhatDiffers(t *testing.T) {
	s := startContoso(t)
	for _, change := range []struct {
		before, after string
		want          admin.RegistryChange
		moves         bool
	}{
		{"192.0.2.10", "192.0.2.11", admin.RegistryChange{Registry: "myregistry", Change: "changed", Changed: []string{"westus"}}, false},
		{"    replicas:", "    recovery_hold: 1m\n    replicas:", admin.RegistryChange{Registry: "myregistry", Change: "changed", Settings: true}, false},
		{"      westeurope: {addresses: [192.0.2.40]}\n", "", admin.RegistryChange{Registry: "myregistry", Change: "changed", Removed: []string{"westeurope"}}, true},
		{"      westeurope:", "      eastus: {addresses: [192.0.2.50]}\n      westeurope:", admin.RegistryChange{Registry: "myregistry", Change: "changed", Added: []string{"eastus"}}, true},
		{"  myregistry:", "  other: {replicas: {westus: {addresses: [192.0.2.99]}}}\n  myregistry:", admin.RegistryChange{Registry: "other", Change: "added"}, false},
	} {
		s.write(t, strings.Replace(contoso, change.before, change.after, 1))
		report, err := s.Reload(t.Context(), admin.ReloadRequest{DryRun: true})
		if err != nil || len(report.Registries) != 1 || report.RegistriesLeftOff != 0 || len(report.Changes) != 1 {
			t.Fatalf("%s: %+v, %v", change.after, report, err)
		}
		got := report.Registries[0]
		if (got.MovedCells > 0.05) != change.moves || got.MovedCells >= 1 || got.MovedCells != report.MovedCells {
			t.Errorf("%s: moves %v, in all %v", change.after, got.MovedCells, report.MovedCells)
		}
		got.MovedCells = 0
		if diff := cmp.Diff(change.want, got); diff != "" {
			t.Errorf("%s: %s", change.after, diff)
		}
	}
}

// A reload warns of what the configuration allows and seldom means, as a start does.
func TestReloadWarns(t *testing.T) {
	s := startContoso(t)
	s.write(t, strings.Replace(contoso, "geo: {database: DIR/city.mmdb}", "geo: {database: DIR/city.mmdb, networks: {41.0.0.0/8: westus}}", 1))
	if err := s.tryReload(t.Context()); err != nil {
		t.Fatal(err)
	}
	records := s.logs.records(t, "configuration")
	if len(records) != 1 || !strings.Contains(records[0]["warning"].(string), "41.0.0.0/8: {prefixes: [41.0.0.0/8], region: westus}") {
		t.Errorf("%v, want the form of a site", records)
	}
}
