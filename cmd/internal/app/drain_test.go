package app_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"portolan.dev/cmd/internal/admin"
)

// sticky is a server whose holds are short enough to wait for. GRACE and EXTRA are
// filled in by the tests.
const stickyServer = `
server: {listen: ["127.0.0.1:0"], workers: 2}
admin: {socket: DIR/admin.sock}
state: {dir: DIR/state, grace: 0s}
geo: {database: DIR/city.mmdb}
zones: {example.io: {nameservers: {ns1: [192.0.2.53]}}}
probes: {registry: {type: registry, tls: false, interval: 500ms, timeout: 500ms, fall: 3, rise: 1}}
registries:
  myregistry:
    sticky: {ttl: 1s, idle: 2s, hold: 2s, renewals: 2}
    recovery_hold: 100ms
    EXTRA
    replicas:
      westus: {addresses: [192.0.2.1]WESTUS}
      eastus: {addresses: [192.0.2.2]}
      westeurope: {addresses: [192.0.2.3]}
`

// Clients near the replica westus: one that is there before a change, and others
// that come after it.
const (
	pusher    = "128.95.1.0/24"
	newcomer  = "128.95.2.0/24"
	latecomer = "128.95.3.0/24"
)

func sticky(extra, westus string) string {
	return strings.NewReplacer("    EXTRA\n", extra, "WESTUS", westus).Replace(stickyServer)
}

func (s *server) expect(tb testing.TB, client, want string) {
	tb.Helper()
	if got := s.addresses(tb, "myregistry.example.io.", client); len(got) != 1 || got[0] != want {
		tb.Errorf("%s gets %v, want %s", client, got, want)
	}
}

// newcomers waits until clients that were never seen get want: one that asks a
// moment too early would itself be held on what it was given.
func (s *server) newcomers(tb testing.TB, want string) {
	tb.Helper()
	eventually(tb, "newcomers get "+want, func() bool {
		s.seen++
		client := netip.PrefixFrom(netip.AddrFrom4([4]byte{128, byte(96 + s.seen>>8%32), byte(s.seen), 0}), 24)
		return s.addresses(tb, "myregistry.example.io.", client.String())[0] == want
	})
}

func west(reason string) admin.DrainRequest {
	return admin.DrainRequest{Selector: admin.Selector{Region: "westus"}, By: "test", Reason: reason}
}

func (s *server) drained(tb testing.TB) admin.DrainStatus {
	tb.Helper()
	all, err := s.Drains(tb.Context(), admin.Selector{Region: "westus"})
	if err != nil || len(all) != 1 {
		tb.Fatalf("drains: %+v, %v", all, err)
	}
	return all[0]
}

func TestDrainHoldsWhoIsActiveAndSaysWhenItIsSafe(t *testing.T) {
	t.Parallel()
	const hold = 4 * time.Second // in which a slow machine comes to look
	s := start(t, strings.Replace(sticky("", ""), "idle: 2s, hold: 2s", "idle: 4s, hold: 4s", 1))
	s.expect(t, pusher, "192.0.2.1")
	if _, err := s.Drain(t.Context(), west("kernel")); err != nil {
		t.Fatal(err)
	}
	s.newcomers(t, "192.0.2.2")
	s.expect(t, pusher, "192.0.2.1")
	d := s.drained(t)
	if d.Held < 1 || d.Safe || d.SafeAt != nil || d.By != "test" || d.Reason != "kernel" {
		t.Errorf("while a client is held: %+v", d)
	}
	if bound := d.EffectiveAt.Add(2*hold + time.Second); d.Bound.Before(bound) {
		t.Errorf("the bound %v is before the last moment of a hold and its TTL, %v", d.Bound, bound)
	}
	// When it was asked, and not when the answer came: that may be later than it was given.
	last, asked := time.Time{}, time.Now()
	for s.addresses(t, "myregistry.example.io.", pusher)[0] == "192.0.2.1" { // a push that goes on
		last = asked
		if last.After(d.Bound) {
			t.Fatal("held beyond the bound")
		}
		time.Sleep(20 * time.Millisecond)
		asked = time.Now()
	}
	eventually(t, "the drain is safe", func() bool { return s.drained(t).Safe })
	if d = s.drained(t); d.SafeAt.Before(last.Add(time.Second)) || d.SafeAt.After(d.Bound) {
		t.Errorf("safe at %v, but the last answer was given at %v with a TTL of 1 s; bound %v", d.SafeAt, last, d.Bound)
	}
}

func TestDrainOfTheLastEligibleReplica(t *testing.T) {
	s := start(t, sticky("", ""))
	for _, region := range []string{"westeurope", "eastus"} {
		if _, err := s.Drain(t.Context(), admin.DrainRequest{Selector: admin.Selector{Region: region}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Drain(t.Context(), west("")); !errors.Is(err, admin.ErrRefused) {
		t.Errorf("the last one: %v", err)
	}
	off := false
	if _, err := s.SetRouting(t.Context(), admin.RoutingRequest{Registry: "myregistry", Region: "westus", On: &off}); !errors.Is(err, admin.ErrRefused) {
		t.Errorf("routing of the last one: %v", err)
	}
	forced := west("")
	forced.Force = true
	if _, err := s.Drain(t.Context(), forced); err != nil {
		t.Errorf("forced: %v", err)
	}
	if _, err := s.Drain(t.Context(), admin.DrainRequest{Selector: admin.Selector{Region: "nowhere"}}); !errors.Is(err, admin.ErrNotFound) {
		t.Errorf("unknown region: %v", err)
	}
	if _, err := s.Drain(t.Context(), admin.DrainRequest{Selector: admin.Selector{Region: "["}}); !errors.Is(err, admin.ErrInvalid) {
		t.Errorf("bad pattern: %v", err)
	}
}

// Of drains that would together take every replica, one is refused, however they
// race.
func TestConcurrentDrainsLeaveOne(t *testing.T) {
	s := start(t, sticky("", ""))
	var wg sync.WaitGroup
	refused := make(chan error, 3)
	for _, region := range []string{"westus", "eastus", "westeurope"} {
		wg.Go(func() {
			if _, err := s.Drain(t.Context(), admin.DrainRequest{Selector: admin.Selector{Region: region}}); err != nil {
				refused <- err
			}
		})
	}
	wg.Wait()
	if len(refused) != 1 || !errors.Is(<-refused, admin.ErrRefused) {
		t.Errorf("%d refused", len(refused)+1)
	}
}

func TestDrainingAgainChangesNothing(t *testing.T) {
	s := start(t, sticky("", ""))
	first, err := s.Drain(t.Context(), west("kernel"))
	if err != nil {
		t.Fatal(err)
	}
	again, err := s.Drain(t.Context(), west("kernel"))
	if err != nil || !again[0].EffectiveAt.Equal(first[0].EffectiveAt) {
		t.Errorf("%v, %+v, %v", first, again, err)
	}
	events, err := s.Events(t.Context(), admin.EventQuery{Kind: "drain"})
	if err != nil || len(events) != 1 {
		t.Errorf("%+v, %v", events, err)
	}
}

func TestDrainEndsByItself(t *testing.T) {
	t.Parallel()
	s := start(t, sticky("", ""))
	r := west("")
	r.For = admin.Duration(3 * time.Second) // in which a slow machine sees it
	if _, err := s.Drain(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	s.newcomers(t, "192.0.2.2")
	s.newcomers(t, "192.0.2.1")
	var events []admin.Event
	eventually(t, "the end is recorded", func() (ok bool) {
		var err error
		events, err = s.Events(t.Context(), admin.EventQuery{Kind: "undrain"})
		return err == nil && len(events) > 0
	})
	if len(events) != 1 || events[0].By != "portolan" {
		t.Errorf("%+v", events)
	}
}

func TestDrainNowMovesEverybody(t *testing.T) {
	s := start(t, sticky("", ""))
	s.expect(t, pusher, "192.0.2.1")
	r := west("")
	r.Now = true
	if _, err := s.Drain(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the client has moved", func() bool { return s.addresses(t, "myregistry.example.io.", pusher)[0] == "192.0.2.2" })
	if d := s.drained(t); d.Held != 0 {
		t.Errorf("%+v", d)
	}
}

// A restart, and a crash as far as a test in the process can have one, forgets no
// drain and moves no client.
func TestRestartForgetsNothing(t *testing.T) {
	// Long holds: a restart takes its time under the race detector.
	s := start(t, strings.Replace(sticky("", ""), "idle: 2s, hold: 2s", "idle: 60s, hold: 60s", 1))
	s.expect(t, pusher, "192.0.2.1")
	if _, err := s.Drain(t.Context(), west("kernel")); err != nil {
		t.Fatal(err)
	}
	s.newcomers(t, "192.0.2.2")
	s.expect(t, pusher, "192.0.2.1")
	before, serial := s.drained(t), s.serial(t, "example.io.")
	s.restart(t)
	s.expect(t, pusher, "192.0.2.1")
	s.expect(t, latecomer, "192.0.2.2")
	after := s.drained(t)
	if !after.EffectiveAt.Equal(before.EffectiveAt) || after.Reason != "kernel" || !after.Bound.Equal(before.Bound) {
		t.Errorf("before %+v\nafter %+v", before, after)
	}
	if now := s.serial(t, "example.io."); now <= serial {
		t.Errorf("serial %d after %d", now, serial)
	}
}

func TestRoutingSwitchOutlivesReloads(t *testing.T) {
	s := start(t, sticky("", ""))
	set := func(on *bool) {
		t.Helper()
		if _, err := s.SetRouting(t.Context(), admin.RoutingRequest{Registry: "myregistry", Region: "westus", On: on, By: "test"}); err != nil {
			t.Fatal(err)
		}
	}
	on, off := true, false
	set(&off)
	s.newcomers(t, "192.0.2.2")
	s.reload(t)
	s.expect(t, latecomer, "192.0.2.2")
	set(&on)
	s.newcomers(t, "192.0.2.1")
	s.write(t, sticky("", ", global_endpoint_routing: false"))
	s.reload(t)
	s.expect(t, "128.95.5.0/24", "192.0.2.1") // the operator's word stands
	set(nil)
	s.newcomers(t, "192.0.2.2")
}

// A reload that makes another replica nearer moves nobody who is active.
func TestReloadHoldsWhoIsActive(t *testing.T) {
	long := strings.Replace(sticky("", ""), "idle: 2s, hold: 2s", "idle: 60s, hold: 60s", 1)
	s := start(t, long)
	s.expect(t, pusher, "192.0.2.1")
	s.write(t, long+"regions: {westus: {bias: 9000}}\n")
	s.reload(t)
	s.expect(t, pusher, "192.0.2.1")
	s.expect(t, newcomer, "192.0.2.2")
	e, err := s.Explain("myregistry", mustAddr("192.0.2.99"), mustPrefix(pusher))
	if err != nil || e.Outcome != "held" || e.HeldFrom != "eastus" || e.HeldUntil == nil {
		t.Errorf("%+v, %v", e, err)
	}
}

// A drained replica that is answered because no other works says so, and promises
// nothing: how long it is needed nobody knows.
func TestADrainedLastResortPromisesNothing(t *testing.T) {
	t.Parallel()
	stand := newStandIn(t)
	probed := `, probe: registry, probe_target: "` + stand.addr() + `"}`
	text := strings.NewReplacer("192.0.2.2]}", "192.0.2.2]"+probed, "192.0.2.3]}", "192.0.2.3]"+probed).Replace(sticky("", ""))
	s := start(t, text)
	if _, err := s.Drain(t.Context(), west("")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the drain is safe", func() bool { return s.drained(t).Safe })
	stand.broken.Store(true)
	eventually(t, "it is the last resort", func() bool { return s.drained(t).LastResort })
	s.newcomers(t, "192.0.2.1")
	if d := s.drained(t); d.Safe || d.SafeAt != nil || !d.Bound.IsZero() {
		t.Errorf("%+v", d)
	}
	stand.broken.Store(false)
	eventually(t, "another one works", func() bool { return !s.drained(t).LastResort })
	if d := s.drained(t); d.Safe || d.SafeAt == nil && d.Held == 0 || d.Bound.IsZero() {
		t.Errorf("just after the last answer: %+v", d)
	}
	eventually(t, "the drain is safe again", func() bool { return s.drained(t).Safe })
}

func TestManualFailback(t *testing.T) {
	stand := newStandIn(t)
	s := start(t, sticky("    failback: manual\n", `, probe: registry, probe_target: "`+stand.addr()+`"`))
	up := func() bool { return s.Status().Registries[0].Replicas[0].Up }
	stand.broken.Store(true)
	eventually(t, "the replica is down", func() bool { return !up() })
	if _, err := s.Failback(t.Context(), admin.Selector{}, "test", ""); !errors.Is(err, admin.ErrRefused) {
		t.Errorf("a replica that is still down is let back: %v", err)
	}
	stand.broken.Store(false)
	eventually(t, "it has recovered", func() bool { return s.Status().Registries[0].Replicas[0].State == "up" })
	s.expect(t, newcomer, "192.0.2.2")
	if _, err := s.Failback(context.Background(), admin.Selector{Region: "west*"}, "test", "checked"); err != nil {
		t.Fatal(err)
	}
	if !up() {
		t.Error("not let back")
	}
	s.expect(t, latecomer, "192.0.2.1")
	events, err := s.Events(t.Context(), admin.EventQuery{Selector: admin.Selector{Region: "westus"}})
	var kinds []string
	for _, e := range events {
		kinds = append(kinds, e.Kind)
	}
	if err != nil || strings.Join(kinds, " ") != "down failback up" {
		t.Errorf("%v, %v", kinds, err)
	}
}

// What a client was given, and why that changed, is told for an hour.
func TestHistoryOfAClient(t *testing.T) {
	s := start(t, sticky("", ""))
	s.expect(t, pusher, "192.0.2.1")
	r := west("disk")
	r.Now = true
	if _, err := s.Drain(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the client has moved", func() bool { return s.addresses(t, "myregistry.example.io.", pusher)[0] == "192.0.2.2" })
	var history []admin.Given
	eventually(t, "the move is noted", func() bool {
		e, err := s.Explain("myregistry", mustAddr("192.0.2.99"), mustPrefix(pusher))
		history = e.History
		return err == nil && len(history) == 1
	})
	if h := history[0]; h.From != "westus" || h.To != "eastus" || !strings.Contains(h.Reason, "drained") || !strings.Contains(h.Reason, "disk") {
		t.Errorf("%+v", h)
	}
}

// Who asks for the same switch again and again gets it at the moment that was said
// first.
func TestSwitchingAgainPutsNothingOff(t *testing.T) {
	s := start(t, strings.Replace(sticky("", ""), "grace: 0s", "grace: 5m", 1))
	off := false
	for range 3 {
		if _, err := s.SetRouting(t.Context(), admin.RoutingRequest{Registry: "myregistry", Region: "westus", On: &off}); err != nil {
			t.Fatal(err)
		}
	}
	if events, err := s.Events(t.Context(), admin.EventQuery{Kind: "routing"}); err != nil || len(events) != 1 {
		t.Errorf("%+v, %v", events, err)
	}
}
