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

// A decision that is known is in force after a crash, even if its moment comes while
// the server is down: then too, who was active before keeps the replica.
func TestDecisionTakesEffectWhileTheServerIsDown(t *testing.T) {
	off := false
	decisions := map[string]func(*server) error{
		"drain": func(s *server) error {
			_, err := s.Drain(t.Context(), west("kernel"))
			return err
		},
		"routing": func(s *server) error {
			_, err := s.SetRouting(t.Context(), admin.RoutingRequest{Registry: "myregistry", Region: "westus", On: &off})
			return err
		},
	}
	for what, decide := range decisions {
		text := strings.NewReplacer("grace: 0s", "grace: 500ms", "hold: 2s", "hold: 20s").Replace(sticky("", ""))
		s := start(t, text)
		s.expect(t, pusher, "192.0.2.1")
		if err := decide(s); err != nil {
			t.Fatal(err)
		}
		decided := time.Now()
		// What a killed server leaves behind is what is on disk now.
		crashed := &server{dir: t.TempDir(), logs: new(logs)}
		crashed.path = filepath.Join(crashed.dir, "portolan.yaml")
		if err := os.CopyFS(filepath.Join(crashed.dir, "state"), os.DirFS(filepath.Join(s.dir, "state"))); err != nil {
			t.Fatal(err)
		}
		if err := os.Link(filepath.Join(s.dir, "city.mmdb"), filepath.Join(crashed.dir, "city.mmdb")); err != nil {
			t.Fatal(err)
		}
		crashed.write(t, text)
		later := func() time.Time { return decided.Add(time.Second).Add(time.Since(decided)) }
		var err error
		if crashed.App, err = app.New(app.Options{Source: app.Source{Path: crashed.path, Now: later}, Log: crashed.logger()}); err != nil {
			t.Fatal(err)
		}
		crashed.Start()
		t.Cleanup(func() { crashed.stop(t) })
		crashed.newcomers(t, "192.0.2.2")
		crashed.expect(t, pusher, "192.0.2.1")
		if t.Failed() {
			t.Fatal(what)
		}
	}
}
