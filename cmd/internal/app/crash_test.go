package app_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"portolan.dev/cmd/internal/admin"
	"portolan.dev/cmd/internal/app"
)

// decision is one that moves newcomers.
type decision struct {
	name     string
	extra    string // of the registry
	decide   func(*server) error
	from, to string
}

func decisions(t *testing.T) []decision {
	t.Helper()
	route := func(on bool) func(*server) error {
		return func(s *server) error {
			_, err := s.SetRouting(t.Context(), admin.RoutingRequest{Registry: "myregistry", Region: "westus", On: &on})
			return err
		}
	}
	return []decision{
		{"drain", "", func(s *server) error {
			_, err := s.Drain(t.Context(), west("kernel"))
			return err
		}, "192.0.2.1", "192.0.2.2"},
		{"undrain", "", func(s *server) error {
			_, err := s.Undrain(t.Context(), admin.Selector{Region: "westus"}, "test", "")
			return err
		}, "192.0.2.2", "192.0.2.1"},
		{"routing off", "", route(false), "192.0.2.1", "192.0.2.2"},
		{"routing on", ", global_endpoint_routing: false", route(true), "192.0.2.2", "192.0.2.1"},
	}
}

// A decision that is known is in force after a crash, even if its moment comes while
// the server is down: then too, who was active before keeps the replica.
func TestDecisionTakesEffectWhileTheServerIsDown(t *testing.T) {
	t.Parallel()
	for _, d := range decisions(t) {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			text := strings.NewReplacer("grace: 0s", "grace: 10s", "idle: 2s, hold: 2s", "idle: 60s, hold: 60s").Replace(sticky("", d.extra))
			s := start(t, text)
			if d.name == "undrain" {
				now := west("kernel")
				now.Now = true
				if _, err := s.Drain(t.Context(), now); err != nil {
					t.Fatal(err)
				}
				s.newcomers(t, d.from)
				drained := time.Now().Unix() // the drain itself must not hold anybody
				eventually(t, "another second", func() bool { return time.Now().Unix() > drained })
			}
			s.expect(t, pusher, d.from)
			if err := d.decide(s); err != nil {
				t.Fatal(err)
			}
			decided := time.Now()
			// What a killed server leaves behind is what is on disk now.
			crashed := &server{dir: t.TempDir(), logs: new(logs)}
			crashed.path = filepath.Join(crashed.dir, "portolan.yaml")
			copyState(t, s.dir, crashed.dir)
			if err := os.Link(filepath.Join(s.dir, "city.mmdb"), filepath.Join(crashed.dir, "city.mmdb")); err != nil {
				t.Fatal(err)
			}
			crashed.write(t, text)
			later := func() time.Time { return decided.Add(11 * time.Second).Add(time.Since(decided)) }
			var err error
			if crashed.App, err = app.New(app.Options{Source: source(crashed.path, later), Log: crashed.logger()}); err != nil {
				t.Fatal(err)
			}
			crashed.Start()
			t.Cleanup(func() { crashed.stop(t) })
			crashed.newcomers(t, d.to)
			crashed.expect(t, pusher, d.from)
		})
	}
}

// Without shared memory, who was answered is saved within seconds: a process that is
// killed and started with another configuration holds them. Status says how much is at risk.
func TestCrashWithoutSharedMemory(t *testing.T) {
	t.Parallel()
	settings := strings.NewReplacer("idle: 2s, hold: 2s", "idle: 60s, hold: 60s", "state: {dir: DIR/state", `state: {memory: "", dir: DIR/state`)
	text := settings.Replace(sticky("", ""))
	s := start(t, text)
	risk := s.Status().UnitsAtRisk
	if risk == nil || risk.Seconds < 1 || risk.Seconds > 30 || !strings.Contains(risk.Reason, "state.memory") {
		t.Errorf("status: %+v", risk)
	}
	s.expect(t, pusher, "192.0.2.1")
	saved := filepath.Join(s.dir, "state", "ledger.db.holds")
	// The first save may have begun before the pusher came: the second holds him.
	for _, unit := range []string{"128.95.2.0/24", "128.95.3.0/24"} {
		begin := time.Now()
		eventually(t, "the table to be saved", func() bool {
			info, err := os.Stat(saved)
			return err == nil && info.ModTime().After(begin)
		})
		s.expect(t, unit, "192.0.2.1") // so that there is something to save again
	}
	crashed := &server{dir: t.TempDir(), logs: new(logs)}
	crashed.path = filepath.Join(crashed.dir, "portolan.yaml")
	copyState(t, s.dir, crashed.dir)
	if err := os.Link(filepath.Join(s.dir, "city.mmdb"), filepath.Join(crashed.dir, "city.mmdb")); err != nil {
		t.Fatal(err)
	}
	crashed.write(t, settings.Replace(sticky("", ", global_endpoint_routing: false")))
	var err error
	if crashed.App, err = app.New(app.Options{Source: source(crashed.path, time.Now), Log: crashed.logger()}); err != nil {
		t.Fatal(err)
	}
	crashed.Start()
	t.Cleanup(func() { crashed.stop(t) })
	crashed.newcomers(t, "192.0.2.2")
	crashed.expect(t, pusher, "192.0.2.1")
}
