package app_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"portolan.dev/cmd/internal/admin"
	"portolan.dev/cmd/internal/app"
)

// successor starts a server, this much later, with what a server that is killed now
// leaves on disk, and asks it before it can have resolved anything.
func successor(t *testing.T, s *server, later time.Duration, text string, resolvers ...string) *server {
	t.Helper()
	next := &server{dir: t.TempDir(), logs: new(logs)}
	next.path = filepath.Join(next.dir, "portolan.yaml")
	copyState(t, s.dir, next.dir)
	if err := os.Link(filepath.Join(s.dir, "city.mmdb"), filepath.Join(next.dir, "city.mmdb")); err != nil {
		t.Fatal(err)
	}
	next.write(t, text)
	now := func() time.Time { return time.Now().Add(later) }
	var err error
	next.App, err = app.New(app.Options{Source: source(next.path, now), Log: next.logger(), Resolvers: resolvers, Crash: true})
	if err != nil {
		t.Fatal(err)
	}
	next.Start()
	t.Cleanup(func() { next.stop(t) })
	return next
}

// target is what status says of the target of a replica of the only registry.
func (s *server) target(t *testing.T, region string) *admin.TargetStatus {
	t.Helper()
	for _, r := range s.Status().Registries[0].Replicas {
		if r.Region == region {
			return r.Target
		}
	}
	t.Fatalf("no replica in %s", region)
	return nil
}

const deadResolver = "127.0.0.1:1"

// A server that is killed knows after its restart what its targets resolved to, and
// serves it before it has asked anybody.
func TestTargetsOverRestart(t *testing.T) {
	t.Parallel()
	n := newNameServer(t)
	n.set("west.lb.test.", "192.0.2.10", "192.0.2.11")
	n.set("europe.lb.test.", "192.0.2.40")
	text := strings.Replace(targeted, "sticky: off", "families: ipv4, sticky: off", 1)
	s := startTargets(t, n, text)
	saved := filepath.Join(s.dir, "state", "ledger.db.targets")
	eventually(t, "both targets are saved", func() bool {
		b, _ := os.ReadFile(saved)
		return strings.Contains(string(b), "192.0.2.11") && strings.Contains(string(b), "192.0.2.40")
	})
	if st := s.target(t, "westus"); st == nil || st.Host != "west.lb.test" || st.Stale || len(st.Addresses) != 2 {
		t.Errorf("fresh: %+v", st)
	}
	if got := metric(s.scrape(t), `portolan_targets{state="fresh"}`); got != "2" {
		t.Errorf("%q are fresh", got)
	}

	for _, tt := range []struct {
		what                    string
		later                   time.Duration
		text                    string
		forSeattle, forEuropean string // "" for SERVFAIL
	}{
		{"at once", 0, text, "192.0.2.10 192.0.2.11", "192.0.2.40"},
		{"after a long weekend", 70 * time.Hour, text, "192.0.2.10 192.0.2.11", "192.0.2.40"},
		{"after too long", 73 * time.Hour, text, "", ""},
		{"with another target", 0, strings.ReplaceAll(text, "west.lb.test", "new.lb.test"), "192.0.2.40", "192.0.2.40"},
		{"with another key and case", 0, strings.NewReplacer("own:", "other:", "west.lb.test", "WEST.lb.test").Replace(text), "192.0.2.10 192.0.2.11", "192.0.2.40"},
		{"with both families", 0, strings.Replace(text, "families: ipv4", "families: dual", 1), "192.0.2.10 192.0.2.11", "192.0.2.40"},
		{"with the family that was never asked for", 0, strings.Replace(text, "families: ipv4", "families: ipv6", 1), "", ""},
	} {
		t.Run(tt.what, func(t *testing.T) {
			t.Parallel()
			next := successor(t, s, tt.later, tt.text, deadResolver)
			for subnet, want := range map[string]string{seattle: tt.forSeattle, amsterdam: tt.forEuropean} {
				m := next.ask(t, "own.test.", dns.TypeA, subnet)
				if want == "" {
					if m.Rcode != dns.RcodeServerFailure {
						t.Errorf("%s: %v", subnet, m)
					}
					continue
				}
				if got := strings.Join(next.addresses(t, "own.test.", subnet), " "); got != want {
					t.Errorf("%s: got %s, want %s", subnet, got, want)
				}
			}
		})
	}
}

// What an earlier process resolved is told as stale until it is resolved anew, and
// over as many restarts as it takes.
func TestStaleTargets(t *testing.T) {
	t.Parallel()
	n := newNameServer(t)
	n.set("west.lb.test.", "192.0.2.10")
	s := startTargets(t, n, targeted)
	eventually(t, "a target resolves", func() bool { st := s.target(t, "westus"); return st.ResolvedAt != nil })
	resolved := *s.target(t, "westus").ResolvedAt
	s.stop(t)

	for days := range 3 { // each two days after the one before: longer than a server may stand still
		s = successor(t, s, time.Duration(days+1)*48*time.Hour, targeted, deadResolver)
		if st := s.target(t, "westus"); st == nil || !st.Stale || st.ResolvedAt == nil || !st.ResolvedAt.Equal(resolved) {
			t.Fatalf("%d: %+v", days, st)
		}
		if st := s.target(t, "westeurope"); st == nil || !st.Stale || st.ResolvedAt != nil || st.Addresses == nil || len(st.Addresses) != 0 {
			t.Errorf("never resolved: %+v", st)
		}
		e, err := s.Explain("own", mustAddr("128.95.0.1"), mustPrefix(seattle))
		if err != nil {
			t.Fatal(err)
		}
		want := "addresses are stale, resolved at " + resolved.UTC().Format(time.RFC3339)
		if e.Answer != "westus" || e.Candidates[0].Note != want || !slices.ContainsFunc(e.Lines, func(l string) bool { return strings.Contains(l, want) }) {
			t.Errorf("%q", e.Lines)
		}
		page := s.scrape(t)
		for state, want := range map[string]string{"fresh": "0", "stale": "1", "unresolved": "1"} {
			if got := metric(page, `portolan_targets{state="`+state+`"}`); got != want {
				t.Errorf("%s are %s, want %s", got, state, want)
			}
		}
		s.stop(t)
	}

	s = successor(t, s, 0, targeted, deadResolver, n.addr)
	serial := s.serial(t, "own.test.")
	eventually(t, "the target is fresh", func() bool { return !s.target(t, "westus").Stale })
	if got := s.serial(t, "own.test."); got != serial {
		t.Errorf("serial %d after %d, and nothing has changed", got, serial)
	}
}
