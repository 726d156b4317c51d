package cli

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"portolan.dev/cmd/internal/admin"
)

var updateVerbs = flag.Bool("update-verbs", false, "write what the verbs print to testdata/verbs")

var verbsNow = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func at(d time.Duration) time.Time { return verbsNow.Add(d) }

// verbsAPI is a server with a fixed state, which records what it is asked.
type verbsAPI struct {
	mu     sync.Mutex
	calls  []string
	err    error
	drains [][]admin.DrainStatus // of each Drains in turn; the last for all that follow
	coming chan admin.Event
}

func (a *verbsAPI) note(format string, args ...any) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls = append(a.calls, fmt.Sprintf(format, args...))
	return a.err
}

func (a *verbsAPI) asked() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return strings.Join(a.calls, "\n")
}

func (a *verbsAPI) Explain(registry string, _ netip.Addr, subnet netip.Prefix) (admin.Explanation, error) {
	return admin.Explanation{
		Registry: registry, Answer: "eastus", Lines: []string{"answer eastus (nearest) ttl 60 scope /24", "client " + subnet.String()},
		History: []admin.Given{
			{At: at(-30 * time.Minute), From: "westus", To: "eastus", Reason: "westus is down"},
			{At: at(-time.Minute), To: "westus", Reason: "first seen"},
		},
	}, a.note("explain %s %s", registry, subnet)
}

func (a *verbsAPI) Status() admin.Status {
	_ = a.note("status")
	east, west := verbsDrain("eastus"), verbsDrain("westus")
	west.SafeAt, west.Held, west.Until = new(at(30*time.Second)), 0, new(at(2*time.Hour))
	return admin.Status{
		Node: "ns1", Version: "v1", Generation: 3, Started: at(-48 * time.Hour), GeoSource: "City", GeoBuilt: at(-60 * 24 * time.Hour),
		Ledger: 42, LedgerError: "disk full", Sandbox: "on: Landlock 7; reads /etc/portolan; writes /var/lib/portolan", Units: 17,
		Prober: admin.ProberStatus{
			Impaired: true, Since: new(at(-time.Minute)), Reason: "no anchor answers: 192.0.2.1:443, 192.0.2.2:443", LocalShare: 0.25,
			Anchors: []admin.AnchorStatus{
				{Address: "192.0.2.1:443", Last: "connect: timeout", At: at(-time.Second)}, {Address: "192.0.2.2:443", Last: "here: connect: network is unreachable", At: at(-time.Second)},
			},
		},
		UnitsAtRisk: &admin.UnitsAtRisk{Reason: "state.memory names no folder", Seconds: 1.5},
		Registries: []admin.RegistryStatus{
			{Registry: "myregistry", Name: "myregistry.example.io.", Holds: true, Replicas: []admin.ReplicaStatus{
				{Region: "westus", Routed: true, Up: true, State: "up", Since: new(at(-time.Hour)), Last: "401 in 3 ms", Drain: &west, Share1m: 0.25, Share10m: 1.0 / 3},
				{Region: "eastus", Routed: true, Up: true, State: "up", Since: new(at(-time.Hour)), Last: "200", Drain: &east, Held: 12, Share1m: 0.75, Share10m: 2.0 / 3},
				{Region: "westeurope", Routed: false, RoutingBy: "ann", State: "recovering", EligibleAt: new(at(5 * time.Minute)), Flaps: 3, Last: "503"},
			}},
			{Registry: "other", Name: "other.example.io.", NoHolds: "sticky.hold is 0", Replicas: []admin.ReplicaStatus{
				{Region: "eastus", Routed: true, Up: false, State: "down", Since: new(at(-26 * time.Hour)), Last: "connection refused"},
				{Region: "lab", Routed: true, Up: true, State: "up", Since: new(at(-time.Hour)), UnseenSince: new(at(-3 * time.Minute)), Last: "here: connect: network is unreachable"},
			}},
		},
	}
}

// verbsDrain is a drain that has begun and holds clients.
func verbsDrain(region string) admin.DrainStatus {
	return admin.DrainStatus{
		Registry: "myregistry", Region: region, Drained: true, EffectiveAt: at(-time.Minute), By: "ann", Reason: "disk change",
		Held: 12, LastAnswer: new(at(-2 * time.Second)), TTL: 60, Bound: at(time.Hour),
	}
}

func (a *verbsAPI) Endpoints(registry string) (admin.Endpoints, error) {
	return admin.Endpoints{
		LoginServer:       "myregistry.example.io",
		RegionalEndpoints: []admin.Endpoint{{Region: "eastus", Endpoint: "myregistry.eastus.geo.example.io"}, {Region: "westus", Endpoint: "myregistry.westus.geo.example.io"}},
	}, a.note("endpoints %s", registry)
}

func (a *verbsAPI) Drain(_ context.Context, r admin.DrainRequest) ([]admin.DrainStatus, error) {
	err := a.note("drain %+v", r)
	decided := verbsDrain("westus")
	decided.EffectiveAt, decided.LastAnswer, decided.Until = at(15*time.Second), nil, new(at(2*time.Hour))
	return []admin.DrainStatus{verbsDrain("eastus"), decided}, err
}

func (a *verbsAPI) Undrain(_ context.Context, s admin.Selector, by, reason string) ([]admin.DrainStatus, error) {
	return []admin.DrainStatus{
		{Registry: "myregistry", Region: "eastus", LastAnswer: new(at(-time.Hour)), UndrainAt: new(at(15 * time.Second))},
		{Registry: "other", Region: "eastus", LastAnswer: new(at(-time.Hour))},
	}, a.note("undrain %+v by %q: %s", s, by, reason)
}

func (a *verbsAPI) Drains(_ context.Context, s admin.Selector) ([]admin.DrainStatus, error) {
	err := a.note("drains %+v", s)
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.drains) == 0 {
		return nil, err
	}
	now := a.drains[0]
	if len(a.drains) > 1 {
		a.drains = a.drains[1:]
	}
	return now, err
}

func (a *verbsAPI) SetRouting(_ context.Context, r admin.RoutingRequest) (admin.ReplicaStatus, error) {
	on := decided(r.On)
	pending := &admin.PendingRouting{EffectiveAt: at(15 * time.Second)}
	return admin.ReplicaStatus{Region: r.Region, Routed: true, Up: true, State: "up", Pending: pending},
		a.note("routing %s/%s %s force %t by %q: %s", r.Registry, r.Region, on, r.Force, r.By, r.Reason)
}

func (a *verbsAPI) Failback(_ context.Context, s admin.Selector, by, reason string) ([]admin.ReplicaStatus, error) {
	return []admin.ReplicaStatus{{Registry: "myregistry", Region: "eastus", Up: true}}, a.note("failback %+v by %q: %s", s, by, reason)
}

func (a *verbsAPI) Events(_ context.Context, q admin.EventQuery) ([]admin.Event, error) {
	since := "ever"
	if q.Since != nil {
		since = stamp(*q.Since)
	}
	err := a.note("events %+v kind %q since %s limit %d", q.Selector, q.Kind, since, q.Limit)
	return []admin.Event{
		{Seq: 1, Kind: "start", DecidedAt: at(-3 * time.Hour), EffectiveAt: at(-3 * time.Hour), Detail: "v1"},
		{Seq: 2, Kind: "down", Registry: "myregistry", Region: "eastus", SharedBy: 40, DecidedAt: at(-2 * time.Hour), EffectiveAt: at(-2 * time.Hour), Reason: "503"},
		{
			Seq: 3, Kind: "drain", Registry: "myregistry", Region: "eastus", DecidedAt: at(-time.Minute), EffectiveAt: at(-45 * time.Second),
			Deadline: new(at(10 * time.Minute)), Until: new(at(13 * time.Hour)), Now: true, By: "ann", Reason: "disk change",
		},
		{Seq: 4, Kind: "routing", Registry: "myregistry", Region: "westus", DecidedAt: at(0), EffectiveAt: at(15 * time.Second), Routing: new(false), By: "bob"},
		{Seq: 5, Kind: "routing", Registry: "myregistry", Region: "westus", DecidedAt: at(0), EffectiveAt: at(0)},
	}, err
}

func (a *verbsAPI) Follow(context.Context, uint64) (<-chan admin.Event, error) { return a.coming, nil }

func (a *verbsAPI) Reload(_ context.Context, r admin.ReloadRequest) (admin.ReloadReport, error) {
	var refused string
	if r.DryRun {
		refused = "refused: clients would lose addresses"
	}
	return admin.ReloadReport{
		DryRun: r.DryRun, Refused: refused, Readdressed: []admin.Readdressed{
			{Registry: "c", Region: "eastus", Clients: 12, InUse: true, OldAddressesUntil: at(5 * time.Minute)},
			{Registry: "a", Region: "westus", Removed: true, LastAnswer: new(at(-time.Hour)), OldAddressesUntil: at(0)},
		}, ReaddressedLeftOff: 30,
		Changes: []string{"registries: 1 added, 0 removed, 2 changed"}, MovedCells: 0.012, MovedQueries: 0.5,
		Registries: []admin.RegistryChange{
			{Registry: "a", Change: "changed", Settings: true, Added: []string{"eastus"}, Removed: []string{"westus", "japaneast"}, MovedCells: 0.25},
			{Registry: "b", Change: "added"},
			{Registry: "c", Change: "changed", Changed: []string{"eastus"}},
		},
		Restart: []string{"server", "admin"}, Generation: 4, Millis: 120,
	}, a.note("reload dry %t force %t", r.DryRun, r.Force)
}

func (a *verbsAPI) Upgrade(_ context.Context, r admin.UpgradeRequest) (admin.UpgradeReport, error) {
	return admin.UpgradeReport{From: "1.2", To: "1.3", PID: 4711, Millis: 1900, Frozen: 210}, a.note("upgrade force %t", r.Force)
}

// verbsServer serves api until the test ends, and returns its socket.
func verbsServer(t *testing.T, api admin.API) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	s, err := admin.New(admin.Options{Socket: path, Gatherer: prometheus.NewRegistry(), API: api, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return path
}

// ran is what a verb has printed, and its exit code.
type ran struct {
	code     int
	out, err string
}

// runVerb runs a command line against the server at socket, at verbsNow. settings
// are NAME=value of the environment.
func runVerb(ctx context.Context, socket string, args []string, settings ...string) ran {
	var out, errw bytes.Buffer
	getenv := func(name string) string {
		for _, s := range settings {
			if v, ok := strings.CutPrefix(s, name+"="); ok {
				return v
			}
		}
		if name == "PORTOLAN_SOCKET" {
			return socket
		}
		return ""
	}
	e := &env{strings.NewReader(""), &out, &errw, getenv, func() time.Time { return verbsNow }}
	code := e.run(ctx, args)
	return ran{code, out.String(), errw.String()}
}

// golden compares what a verb printed with testdata/verbs/name.
func golden(t *testing.T, name string, got ran) {
	t.Helper()
	text := fmt.Sprintf("%s-- exit code %d --\n%s", got.out, got.code, got.err)
	path := filepath.Join("testdata", "verbs", name)
	if *updateVerbs {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), text); d != "" {
		t.Errorf("%s (-want +got):\n%s", path, d)
	}
}
