package app_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"hash/fnv"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"portolan.dev/cmd/internal/admin"
	"portolan.dev/cmd/internal/app"
	"portolan.dev/config/ledger"
	"portolan.dev/resolver/decide"
)

// networked is a server with long holds and these networks.
func networked(networks string) string {
	return strings.NewReplacer("idle: 2s, hold: 2s", "idle: 60s, hold: 60s",
		"geo: {database: DIR/city.mmdb}", "geo: {database: DIR/city.mmdb, networks: {"+networks+"}}").Replace(sticky("", ""))
}

// networkChanges are what may happen to the networks of the pusher, who has the first
// replica before and is placed elsewhere, or known by another name, after.
var networkChanges = []struct{ name, before, after string }{
	{"added", "", "office: {prefixes: [128.95.0.0/16], region: eastus}"},
	{"renamed", "office: {prefixes: [128.95.0.0/16], region: westus}", "campus: {prefixes: [128.95.0.0/16], region: eastus}"},
	{"removed", "office: {prefixes: [128.95.0.0/16, 145.18.0.0/16], region: westus}", "other: {prefixes: [145.18.0.0/16], region: eastus}, 128.94.0.0/15: eastus"},
	{"site made plain", "128.95.0.0/16: {region: westus}", "128.95.0.0/16: eastus"},
}

// A reload that changes which clients are one moves nobody who is active, and explain
// says so.
func TestReloadCarriesUnits(t *testing.T) {
	t.Parallel()
	for _, c := range networkChanges {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, networked(c.before))
			s.expect(t, pusher, "192.0.2.1")
			s.write(t, networked(c.after))
			report, err := s.Reload(t.Context(), admin.ReloadRequest{})
			if err != nil || !slices.ContainsFunc(report.Changes, func(line string) bool { return strings.HasPrefix(line, "networks: ") }) {
				t.Errorf("%+v, %v", report, err)
			}
			s.expect(t, pusher, "192.0.2.1")
			e, err := s.Explain("myregistry", mustAddr("192.0.2.99"), mustPrefix(pusher))
			if err != nil || e.Outcome != "held" || e.HeldFrom != "eastus" {
				t.Errorf("%+v, %v", e, err)
			}
		})
	}
}

// So does a start with another configuration: after an orderly stop, and after a crash
// right behind a reload, which leaves no more than is saved by then.
func TestStartCarriesUnits(t *testing.T) {
	t.Parallel()
	for _, c := range networkChanges {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, networked(c.before))
			s.expect(t, pusher, "192.0.2.1")
			s.stop(t)
			s.write(t, networked(c.after))
			s.goOn(t, time.Now)
			s.expect(t, pusher, "192.0.2.1")
			s.stop(t)
			s.goOn(t, time.Now) // the change is still known
			s.expect(t, pusher, "192.0.2.1")
		})
		t.Run(c.name+" and a crash", func(t *testing.T) {
			t.Parallel()
			s := start(t, networked(c.before))
			s.expect(t, pusher, "192.0.2.1")
			s.write(t, networked(c.after))
			s.reload(t)
			crashed := &server{dir: t.TempDir(), logs: new(logs)}
			crashed.path = filepath.Join(crashed.dir, "portolan.yaml")
			copyState(t, s.dir, crashed.dir)
			if c.name == "renamed" { // its units are what they were
				wantSaved(t, crashed, c.after)
			} else {
				wantSaved(t, crashed, c.before, c.after)
			}
			data, err := places()
			if err != nil {
				t.Fatal(err)
			}
			writeFile(t, filepath.Join(crashed.dir, "city.mmdb"), string(data))
			crashed.write(t, networked(c.after))
			crashed.goOn(t, time.Now)
			crashed.expect(t, pusher, "192.0.2.1")
		})
	}
}

// wantSaved wants these networks, the earliest first, to be known from what a server has
// saved.
func wantSaved(t *testing.T, s *server, all ...string) {
	t.Helper()
	store, err := ledger.Open(filepath.Join(s.dir, "state", "ledger.db"), ledger.Options{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	table, _, err := store.Holds(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var head struct {
		Partitions []struct {
			Networks []struct {
				Prefixes []netip.Prefix `json:"prefixes"`
			} `json:"networks"`
			Until uint32 `json:"until"`
		} `json:"partitions"`
	}
	if err := json.NewDecoder(bytes.NewReader(table)).Decode(&head); err != nil || len(head.Partitions) != len(all) {
		t.Fatalf("%+v, %v", head, err)
	}
	for i, networks := range all {
		p := head.Partitions[i]
		if (p.Until == 0) != (i == len(all)-1) {
			t.Errorf("%+v", head)
		}
		for _, n := range p.Networks {
			for _, prefix := range n.Prefixes {
				if !strings.Contains(networks, prefix.String()) {
					t.Errorf("%v is not in %q", prefix, networks)
				}
			}
		}
	}
}

// Versions that told sites apart by their names, and took every network for one, left
// tables whose units are carried, too.
func TestUnitsOfEarlierVersions(t *testing.T) {
	t.Parallel()
	s := newServer(t, networked("128.64.0.0/10: eastus, campus: {prefixes: [145.0.0.0/9], region: eastus}"), app.Options{})
	s.stop(t)
	store, err := ledger.Open(filepath.Join(s.dir, "state", "ledger.db"), ledger.Options{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	head, err := json.Marshal(map[string]any{
		"version": 1, "seed": 7, "regions": [decide.MaxRegions]string{3: "westeurope"}, "registries": map[int]string{5: "myregistry"},
	})
	if err != nil {
		t.Fatal(err)
	}
	table := bytes.Clone(append(head, '\n'))
	for _, name := range []string{"128.64.0.0/10", "campus"} {
		h := fnv.New64a()
		_, _ = h.Write([]byte(name))
		table = binary.BigEndian.AppendUint64(table, uint64(decide.NewKey(7, 5, h.Sum64(), 3)))
		table = binary.BigEndian.AppendUint32(table, uint32(time.Now().Unix())-1)
		table = append(table, 0, 0, 0, 0, 3, 0, 1)
	}
	if err := store.PutHolds(t.Context(), table); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	s.goOn(t, time.Now)
	s.expect(t, pusher, "192.0.2.3")
	s.expect(t, amsterdam, "192.0.2.3")
}
