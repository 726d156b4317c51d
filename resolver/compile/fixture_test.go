package compile_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"time"

	"portolan.dev/config"
	"portolan.dev/geo"
	"portolan.dev/geo/geotest"
	"portolan.dev/health/probe"
	"portolan.dev/resolver"
	"portolan.dev/resolver/compile"
	"portolan.dev/resolver/wire"
	"portolan.dev/resolver/zone"
)

var clock = time.Unix(1_800_000_000, 0)

// table is location data of one place. Where clients are is not for these tests,
// and to index the embedded data takes longer than all of them together.
var table = sync.OnceValues(func() (*geo.Table, error) { return geotest.Table(geotest.Seattle()) })

// files stand in for those that a configuration names.
type files map[string]string

// run is one compilation after others: what it needs of them.
type run struct {
	files    files
	previous *resolver.Snapshot
	slots    *compile.Slots
	now      time.Time
	kept     keptFiles
}

// keptFiles stands in for what keeps the files that probes name. A file that it does not
// have cannot be used.
type keptFiles struct {
	pools  map[string]*x509.CertPool
	logins map[string]probe.Login
	pairs  map[string]*tls.Certificate // by the name of the certificate
}

var errUseless = errors.New("cannot be used")

func (f keptFiles) Roots(path string) (func() *x509.CertPool, error) {
	pool, ok := f.pools[path]
	if path != "" && !ok {
		return nil, fmt.Errorf("ca_file: %s: %w", path, errUseless)
	}
	return func() *x509.CertPool { return pool }, nil
}

func (f keptFiles) Login(path string) (func() probe.Login, error) {
	login, ok := f.logins[path]
	if !ok {
		return nil, fmt.Errorf("credentials: %s: %w", path, errUseless)
	}
	return func() probe.Login { return login }, nil
}

func (f keptFiles) Certificate(certificate, _ string) (func() *tls.Certificate, error) {
	pair, ok := f.pairs[certificate]
	if !ok {
		return nil, fmt.Errorf("client_certificate: %s: %w", certificate, errUseless)
	}
	return func() *tls.Certificate { return pair }, nil
}

func (r run) compile(tb testing.TB, text string) (*compile.Result, error) {
	tb.Helper()
	data, err := table()
	if err != nil {
		tb.Fatal(err)
	}
	c, err := config.Parse("test.yaml", []byte(text))
	if err != nil {
		tb.Fatal(err)
	}
	if r.slots == nil {
		r.slots = compile.NewSlots()
	}
	if r.now.IsZero() {
		r.now = clock
	}
	return compile.Compile(c, compile.Options{
		Table: data, Slots: r.slots, Seed: 42, Now: r.now, Identity: "host", Previous: r.previous, Files: r.kept,
		ReadFile: func(name string) ([]byte, error) {
			if text, ok := r.files[name]; ok {
				return []byte(text), nil
			}
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		},
	})
}

func (r run) must(tb testing.TB, text string) *compile.Result {
	tb.Helper()
	result, err := r.compile(tb, text)
	if err != nil {
		tb.Fatal(err)
	}
	return result
}

// name is the folded wire form of text.
func name(tb testing.TB, text string) []byte {
	tb.Helper()
	n, err := wire.ParseName(text)
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

// find looks up a name in a snapshot, and gives the zone that answers for it.
func find(tb testing.TB, s *resolver.Snapshot, text string) (*zone.Node, string, zone.Found) {
	tb.Helper()
	msg := []byte{0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0}
	msg = append(append(msg, name(tb, text)...), 0, byte(wire.TypeA), 0, byte(wire.ClassIN))
	var q wire.Query
	if got := q.Parse(msg); got != wire.Refer {
		tb.Fatalf("%s: disposition %d", text, got)
	}
	node, z, found := s.Names.Find(&q)
	if z == nil {
		return node, "", found
	}
	return node, string(wire.AppendName(nil, z.Apex)), found
}

// types lists the types that a name has RRsets of.
func types(tb testing.TB, s *resolver.Snapshot, text string) []uint16 {
	tb.Helper()
	node, _, found := find(tb, s, text)
	if found != zone.Hit {
		tb.Fatalf("%s: %d", text, found)
	}
	var out []uint16
	for _, set := range s.Names.Sets(node) {
		out = append(out, set.Type)
	}
	return out
}

// says fails the test unless err holds all words.
func says(tb testing.TB, err error, words ...string) {
	tb.Helper()
	if err == nil {
		tb.Error("no error")
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			tb.Errorf("%q does not say %q", err, w)
		}
	}
}

// registry finds a registry by its key.
func registry(tb testing.TB, s *resolver.Snapshot, key string) (int, *resolver.Registry) {
	tb.Helper()
	n, ok := s.FindRegistry(key)
	if !ok {
		tb.Fatalf("no registry %s", key)
	}
	return n, &s.Registries[n]
}

// replica is the compiled replica of a registry in a region.
func replica(tb testing.TB, s *resolver.Snapshot, key, region string) *resolver.Replica {
	tb.Helper()
	_, r := registry(tb, s, key)
	return &s.Replicas[int(r.First)+r.Configured.Position(regionNumber(tb, s, region))]
}

// regionNumber is the number of a region.
func regionNumber(tb testing.TB, s *resolver.Snapshot, label string) uint8 {
	tb.Helper()
	for i, r := range s.Regions {
		if r.Label == label {
			return uint8(i)
		}
	}
	tb.Fatalf("no region %s", label)
	return 0
}
