package app_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"portolan.dev/cmd/internal/admin"
	"portolan.dev/cmd/internal/app"
)

// addressed is a server whose replica in westus can be given other addresses.
const addressed = `
server: {listen: ["127.0.0.1:0"], workers: 1}
admin: {socket: DIR/admin.sock}
state: {dir: DIR/state, grace: 0s}
geo: {database: DIR/city.mmdb}
zones: {example.io: {nameservers: {ns1: [192.0.2.53]}}}
probes: {registry: {type: registry, tls: false, interval: 500ms, timeout: 500ms, fall: 1, rise: 1}}
registries:
  myregistry:
    regional_endpoints: enabled
    data_endpoints: enabled
    sticky: {ttl: 60s, idle: 5m, hold: HOLD}
    regional_ttl: 300s
    replicas:
      westus: {addresses: [192.0.2.1, 192.0.2.11], data: {addresses: [192.0.2.101]}PROBE}
      eastus: {addresses: [192.0.2.2]}
`

func addresses(hold, probe string) string {
	return strings.NewReplacer("HOLD", hold, "PROBE", probe).Replace(addressed)
}

// Changes of the configuration, as what to replace by what.
var (
	replaced = [2]string{"[192.0.2.1, 192.0.2.11]", "[192.0.2.9]"}
	removed  = [2]string{"      westus:", "      westeurope:"}
)

// A reload is refused as a whole where active clients would lose addresses of their
// replica, and only there.
func TestAddressesOfReplicasInUse(t *testing.T) {
	t.Parallel()
	ask := func(t *testing.T, s *shifted) { t.Helper(); s.addresses(t, "myregistry.example.io.", pusher) }
	askDrain := func(t *testing.T, s *shifted, r admin.DrainRequest) {
		t.Helper()
		ask(t, s)
		if _, err := s.Drain(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		s.newcomers(t, "192.0.2.2")
	}
	now := west("")
	now.Now = true
	for _, tt := range []struct {
		name   string
		hold   string
		before func(t *testing.T, s *shifted)
		change [2]string
		says   string // in the refusal; "" if there is none
		lists  bool   // the replica is listed although it may lose its addresses
	}{
		{"replaced", "15m", ask, replaced, "myregistry/westus (1 active client)", false},
		{"one of two", "15m", ask, [2]string{", 192.0.2.11]", "]"}, "myregistry/westus (1 active client)", false},
		{"a target instead", "15m", ask, [2]string{"westus: {addresses: [192.0.2.1, 192.0.2.11]", "westus: {target: lb.example.net"}, "myregistry/westus (1 active client)", false},
		{"the data endpoint", "15m", ask, [2]string{"192.0.2.101", "192.0.2.109"}, "myregistry/westus (1 active client)", false},
		{"no data endpoints", "15m", ask, [2]string{"data_endpoints: enabled", "data_endpoints: disabled"}, "myregistry/westus (1 active client)", true},
		{"removed", "15m", ask, removed, "myregistry/westus (1 active client)", false},
		{"two clients", "15m", func(t *testing.T, s *shifted) {
			t.Helper()
			ask(t, s)
			s.addresses(t, "myregistry.example.io.", latecomer)
		}, replaced, "myregistry/westus (2 active clients)", false},
		{"one more", "15m", ask, [2]string{", 192.0.2.11]", ", 192.0.2.11, 192.0.2.12]"}, "", false},
		{"another order", "15m", ask, [2]string{"[192.0.2.1, 192.0.2.11]", "[192.0.2.11, 192.0.2.1]"}, "", false},
		{"of another replica", "15m", ask, [2]string{"192.0.2.2]", "192.0.2.22]"}, "", true},
		{"nobody has asked", "15m", func(*testing.T, *shifted) {}, replaced, "", true},
		{"its client is idle", "15m", func(t *testing.T, s *shifted) { t.Helper(); ask(t, s); s.move(6 * time.Minute) }, replaced, "", true},
		{"drained, and a client is held", "15m", func(t *testing.T, s *shifted) { t.Helper(); askDrain(t, s, west("")) }, replaced, "myregistry/westus (", false},
		{"drained, and nobody is held", "15m", func(t *testing.T, s *shifted) { t.Helper(); askDrain(t, s, west("")); s.move(3 * time.Hour) }, replaced, "", true},
		{"drained, and removed", "15m", func(t *testing.T, s *shifted) { t.Helper(); askDrain(t, s, west("")); s.move(3 * time.Hour) }, removed, "", true},
		{"drained at once", "15m", func(t *testing.T, s *shifted) { t.Helper(); askDrain(t, s, now) }, replaced, "", true},
		{"without holds", "0s", ask, replaced, "myregistry/westus (last given to a client at ", false},
		{"without holds, in no cache", "0s", func(t *testing.T, s *shifted) { t.Helper(); ask(t, s); s.move(64 * time.Second) }, replaced, "", true},
		{"without holds, drained", "0s", func(t *testing.T, s *shifted) { t.Helper(); askDrain(t, s, west("")) }, replaced, "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			text := addresses(tt.hold, "")
			s := startShifted(t, text)
			tt.before(t, s)
			generation, regional := s.Status().Generation, s.raw(t, query(t, "myregistry.westus.geo.example.io.", 1, ""))
			if s.write(t, strings.Replace(text, tt.change[0], tt.change[1], 1)); strings.Count(text, tt.change[0]) != 1 {
				t.Fatalf("the configuration has no %q", tt.change[0])
			}
			plan, err := s.Reload(t.Context(), admin.ReloadRequest{DryRun: true})
			if err != nil || !strings.Contains(plan.Refused, tt.says) || (plan.Refused != "") != (tt.says != "") || (len(plan.Readdressed) > 0) != (tt.lists || tt.says != "") {
				t.Errorf("dry run: %+v, %v", plan, err)
			}
			_, err = s.Reload(t.Context(), admin.ReloadRequest{})
			if tt.says == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if !errors.Is(err, admin.ErrRefused) || len(app.Lines(err)) != 1 {
				t.Fatalf("the reload: %v", err)
			}
			for _, want := range []string{tt.says, "portolan drain westus -r myregistry --wait", "portolan undrain westus -r myregistry", "--force"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v does not say %q", err, want)
				}
			}
			if got := s.raw(t, query(t, "myregistry.westus.geo.example.io.", 1, "")); s.Status().Generation != generation || !bytes.Equal(got, regional) {
				t.Error("a refused reload has changed something")
			}
			if report, err := s.Reload(t.Context(), admin.ReloadRequest{Force: true}); err != nil || len(report.Readdressed) == 0 || !report.Readdressed[0].InUse {
				t.Errorf("forced: %+v, %v", report, err)
			}
			if n := len(s.logs.records(t, lostLine)); n != 1 {
				t.Errorf("%d lines in the log of a forced reload", n)
			}
		})
	}
}

const lostLine = "active clients lose the addresses of their replica; their pushes may fail"

// A replica that is down has no clients any more: it can be replaced.
func TestAddressesOfADeadReplica(t *testing.T) {
	t.Parallel()
	stand := newStandIn(t)
	text := addresses("15m", `, probe: registry, probe_target: "`+stand.addr()+`"`)
	s := startShifted(t, text)
	eventually(t, "the replica is seen", func() bool { return s.replica(t, "westus").State == "up" })
	s.addresses(t, "myregistry.example.io.", pusher)
	s.write(t, strings.Replace(text, replaced[0], replaced[1], 1))
	if err := s.tryReload(t.Context()); !errors.Is(err, admin.ErrRefused) {
		t.Errorf("while it is up: %v", err)
	}
	stand.broken.Store(true)
	eventually(t, "the replica is down", func() bool { return !s.replica(t, "westus").Up })
	s.reload(t)
}

// Nothing can refuse at a restart: it is said in the log.
func TestAddressesReplacedByARestart(t *testing.T) {
	t.Parallel()
	text := addresses("15m", "")
	s := startShifted(t, text)
	s.addresses(t, "myregistry.example.io.", pusher)
	s.restart(t)
	if got := s.logs.records(t, lostLine); len(got) != 0 {
		t.Errorf("without a change: %v", got)
	}
	s.write(t, strings.Replace(text, replaced[0], replaced[1], 1))
	s.restart(t)
	if got := s.logs.records(t, lostLine); len(got) != 1 || got[0]["replicas"] != "myregistry/westus (1 active client)" {
		t.Errorf("%v", got)
	}
	if r := s.replica(t, "westus"); r.OldAddressesUntil == nil || r.OldAddressesUntil.Before(s.Status().Started.Add(300*time.Second)) {
		t.Errorf("old addresses until %v", r.OldAddressesUntil)
	}
}

// Caches lead to the addresses of before for as long as the regional TTL that they were
// answered with: a drain is not safe earlier, and says so over restarts.
func TestDrainWaitsForOldAddresses(t *testing.T) {
	t.Parallel()
	text := addresses("15m", "")
	s := startShifted(t, text)
	s.addresses(t, "myregistry.example.io.", pusher)
	if _, err := s.Drain(t.Context(), west("")); err != nil {
		t.Fatal(err)
	}
	s.move(3 * time.Hour)
	eventually(t, "the drain is safe", func() bool { return s.drained(t).Safe })
	lowered := s.now()
	s.take(t, strings.Replace(text, "regional_ttl: 300s", "regional_ttl: 30s", 1))
	s.move(100 * time.Second)
	plan := s.now()
	s.write(t, strings.NewReplacer("regional_ttl: 300s", "regional_ttl: 30s", replaced[0], replaced[1]).Replace(text))
	report, err := s.Reload(t.Context(), admin.ReloadRequest{})
	if err != nil || len(report.Readdressed) != 1 {
		t.Fatalf("%+v, %v", report, err)
	}
	want := lowered.Add(300*time.Second + kept)
	near := func(got *time.Time) bool {
		return got != nil && !got.Before(want) && got.Before(want.Add(5*time.Second))
	}
	if got := report.Readdressed[0].OldAddressesUntil; !near(&got) {
		t.Errorf("the report says %v, %v from %v, planned at %v", got, got.Sub(want), want, plan)
	}
	for range 2 {
		if d := s.drained(t); d.Safe || !near(d.SafeAt) || !near(d.OldAddressesUntil) || d.Bound.Before(want) {
			t.Errorf("%+v, want safe at %v", d, want)
		}
		if r := s.replica(t, "westus"); !near(r.OldAddressesUntil) {
			t.Errorf("%+v, want %v", r, want)
		}
		s.restart(t)
	}
	s.move(210 * time.Second)
	if d := s.drained(t); !d.Safe || d.OldAddressesUntil != nil {
		t.Errorf("%+v", d)
	}
}
