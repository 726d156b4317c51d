package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"portolan.dev/cmd/internal/admin"
	"portolan.dev/cmd/internal/app"
	"portolan.dev/geo"
	"portolan.dev/geo/embedded"
	"portolan.dev/geo/geotest"
	"portolan.dev/resolver/activity"
)

// patience bounds every wait for something that has to happen.
const patience = time.Minute

// eventually polls ok until it is true.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			tb.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// copyState copies the state folder of a server that goes on writing there: files that
// are put in their places meanwhile have one name or the other.
func copyState(tb testing.TB, from, to string) {
	tb.Helper()
	eventually(tb, "a whole copy of the state", func() bool {
		state := filepath.Join(to, "state")
		if err := os.RemoveAll(state); err != nil {
			tb.Fatal(err)
		}
		err := os.CopyFS(state, os.DirFS(filepath.Join(from, "state")))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			tb.Fatal(err)
		}
		return err == nil
	})
}

// logs keeps what is logged, as JSON lines.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// records returns those with a message, oldest first.
func (l *logs) records(tb testing.TB, msg string) []map[string]any {
	tb.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []map[string]any
	for line := range bytes.Lines(l.text.Bytes()) {
		var r map[string]any
		if err := json.Unmarshal(line, &r); err != nil {
			tb.Fatalf("%q: %v", line, err)
		}
		if r["msg"] == msg {
			out = append(out, r)
		}
	}
	return out
}

// server is an App on loopback with its configuration in a file.
type server struct {
	*app.App

	dir, path string
	logs      *logs
	seen      int // clients that newcomers has used up
}

// write replaces the configuration. DIR stands for the folder of the test.
func (s *server) write(tb testing.TB, text string) {
	tb.Helper()
	if err := os.WriteFile(s.path, []byte(strings.ReplaceAll(text, "DIR", s.dir)), 0o600); err != nil {
		tb.Fatal(err)
	}
}

// head is what every configuration here begins with.
const head = `
server: {listen: ["127.0.0.1:0"], workers: 2}
admin: {socket: DIR/admin.sock, metrics: "127.0.0.1:0"}
state: {dir: DIR/state}
geo: {database: DIR/city.mmdb}
`

// places is a location database with three cities.
var places = sync.OnceValues(func() ([]byte, error) {
	return geotest.MMDB(
		geotest.Place{Prefix: "128.64.0.0/10", City: "Seattle", Country: "US", Latitude: 47.6, Longitude: -122.3},
		geotest.Place{Prefix: "145.0.0.0/10", City: "Amsterdam", Country: "NL", Latitude: 52.4, Longitude: 4.9},
		geotest.Place{Prefix: "130.192.0.0/10", City: "Atlanta", Country: "US", Latitude: 33.7, Longitude: -84.4},
	)
})

// countryCells are decoded once for all servers: under the race detector that takes
// longer than all else that a server does at its start.
var countryCells = sync.OnceValue(func() []geo.Cell {
	table, err := embedded.Table()
	if err != nil {
		panic(err) // it is part of the program
	}
	return table.Cells()
})

// source is that of a server with its configuration in a file.
func source(path string, clock func() time.Time) app.Source {
	return app.Source{Path: path, Now: clock, CountryCells: countryCells()}
}

// newServer makes a server that does not run yet. It is stopped with the test.
func newServer(tb testing.TB, text string, o app.Options) *server {
	tb.Helper()
	dir, err := os.MkdirTemp("", "app") //nolint:usetesting // short: the path of a socket has 107 octets at most
	if err != nil {
		tb.Fatal(err)
	}
	s := &server{dir: dir, path: filepath.Join(dir, "portolan.yaml"), logs: new(logs)}
	tb.Cleanup(func() {
		_ = os.RemoveAll(dir)
		_ = os.Remove(activity.Path("/dev/shm", filepath.Join(dir, "state"), os.Geteuid())) // of one that did not start
	})
	s.write(tb, text)
	data, err := places()
	if err != nil {
		tb.Fatal(err)
	}
	writeFile(tb, filepath.Join(dir, "city.mmdb"), string(data))
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Source = source(s.path, o.Now)
	o.Crash = true // no test is to miss a query that cannot be taken
	o.Log = slog.New(slog.NewJSONHandler(s.logs, nil))
	if s.App, err = app.New(o); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.stop(tb) })
	return s
}

func start(tb testing.TB, text string) *server {
	tb.Helper()
	s := newServer(tb, text, app.Options{})
	s.Start()
	return s
}

func (s *server) stop(tb testing.TB) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		tb.Errorf("stop: %v", err)
	}
}

// goOn goes on with another server in the folder of the one that has stopped, by the
// clock now.
func (s *server) goOn(tb testing.TB, now func() time.Time) {
	tb.Helper()
	var err error
	if s.App, err = app.New(app.Options{Source: source(s.path, now), Log: s.logger()}); err != nil {
		tb.Fatal(err)
	}
	s.Start()
	tb.Cleanup(func() { s.stop(tb) })
}

// restart stops the server and goes on with another one.
func (s *server) restart(tb testing.TB) {
	tb.Helper()
	s.stop(tb)
	s.goOn(tb, time.Now)
}

// tryReload reloads in earnest and gives the error alone.
func (s *server) tryReload(ctx context.Context) error {
	_, err := s.Reload(ctx, admin.ReloadRequest{})
	return err
}

func (s *server) reload(tb testing.TB) {
	tb.Helper()
	if err := s.tryReload(tb.Context()); err != nil {
		tb.Fatal(err)
	}
}

// query packs a question, with a client subnet unless that is empty.
func query(tb testing.TB, name string, qtype uint16, subnet string) []byte {
	tb.Helper()
	m := new(dns.Msg)
	m.SetQuestion(name, qtype)
	m.Id = 4711
	if subnet != "" {
		p := netip.MustParsePrefix(subnet)
		m.SetEdns0(1232, false)
		m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_SUBNET{
			Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: uint8(p.Bits()), Address: net.IP(p.Addr().AsSlice()),
		})
	}
	out, err := m.Pack()
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// raw asks over a datagram and returns the octets of the response.
func (s *server) raw(tb testing.TB, msg []byte) []byte {
	tb.Helper()
	c, err := net.Dial("udp", s.Addrs()[0].String())
	if err != nil {
		tb.Fatal(err)
	}
	defer c.Close()
	buf := make([]byte, 4096)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if _, err := c.Write(msg); err != nil {
			tb.Fatal(err)
		}
		if err := c.SetReadDeadline(time.Now().Add(2 * time.Second)); err != nil {
			tb.Fatal(err)
		}
		if n, err := c.Read(buf); err == nil {
			return buf[:n]
		}
	}
	tb.Fatal("no response")
	return nil
}

func (s *server) ask(tb testing.TB, name string, qtype uint16, subnet string) *dns.Msg {
	tb.Helper()
	m := new(dns.Msg)
	if err := m.Unpack(s.raw(tb, query(tb, name, qtype, subnet))); err != nil {
		tb.Fatal(err)
	}
	return m
}

// addresses lists the addresses in an answer, sorted.
func (s *server) addresses(tb testing.TB, name, subnet string) []string {
	tb.Helper()
	var out []string
	for _, rr := range s.ask(tb, name, dns.TypeA, subnet).Answer {
		if a, ok := rr.(*dns.A); ok {
			out = append(out, a.A.String())
		}
	}
	slices.Sort(out)
	return out
}

// serial is the SOA serial of a zone.
func (s *server) serial(tb testing.TB, zone string) uint32 {
	tb.Helper()
	for _, rr := range s.ask(tb, zone, dns.TypeSOA, "").Answer {
		if soa, ok := rr.(*dns.SOA); ok {
			return soa.Serial
		}
	}
	tb.Fatalf("no SOA of %s", zone)
	return 0
}

// standIn is a registry as far as probes look.
type standIn struct {
	*httptest.Server

	broken atomic.Bool
	asked  atomic.Int64
}

func newStandIn(tb testing.TB) *standIn {
	tb.Helper()
	s := &standIn{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s.asked.Add(1)
		if s.broken.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	tb.Cleanup(s.Close)
	return s
}

func (s *standIn) addr() string { return s.Listener.Addr().String() }

// Clients in Seattle and Amsterdam.
const (
	seattle   = "128.95.0.0/24"
	amsterdam = "145.18.0.0/24"
)

func (s *server) logger() *slog.Logger { return slog.New(slog.NewJSONHandler(s.logs, nil)) }

func mustAddr(a string) netip.Addr { return netip.MustParseAddr(a) }

func mustPrefix(p string) netip.Prefix { return netip.MustParsePrefix(p) }
