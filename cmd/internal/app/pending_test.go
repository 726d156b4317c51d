package app_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"portolan.dev/cmd/internal/admin"
)

// again stops s and starts it anew, with a clock that is ahead.
func (s *server) again(tb testing.TB, ahead time.Duration) *server {
	tb.Helper()
	s.stop(tb)
	next := &server{dir: s.dir, path: s.path, logs: new(logs), seen: s.seen}
	later := func() time.Time { return time.Now().Add(ahead) }
	next.goOn(tb, later)
	return next
}

func (s *server) replica(tb testing.TB, region string) admin.ReplicaStatus {
	tb.Helper()
	for _, r := range s.Status().Registries[0].Replicas {
		if r.Region == region {
			return r
		}
	}
	tb.Fatalf("no replica in %s", region)
	return admin.ReplicaStatus{}
}

// What has been decided takes effect in its time, whatever restarts come before.
func TestAnOrderWaitsThroughARestart(t *testing.T) {
	t.Parallel()
	for _, d := range decisions(t) {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, strings.Replace(sticky("", d.extra), "grace: 0s", "grace: 5m", 1))
			if d.name == "undrain" {
				now := west("kernel")
				now.Now = true
				if _, err := s.Drain(t.Context(), now); err != nil {
					t.Fatal(err)
				}
			}
			s.newcomers(t, d.from)
			if err := d.decide(s); err != nil {
				t.Fatal(err)
			}
			s = s.again(t, time.Minute)
			s.newcomers(t, d.from)
			switch r := s.replica(t, "westus"); {
			case d.name == "undrain" && (r.Drain == nil || r.Drain.UndrainAt == nil || r.Drain.Drained):
				t.Errorf("after a restart: %+v", r.Drain)
			case strings.HasPrefix(d.name, "routing") && (r.Pending == nil || r.Pending.Routed != (d.name == "routing on") || r.Routed == r.Pending.Routed):
				t.Errorf("after a restart: %+v", r)
			}
			s = s.again(t, 6*time.Minute)
			s.newcomers(t, d.to)
		})
	}
}

// A switch that waits replaces one that was in force, which is what holds until then.
func TestASwitchWaitsBehindAnotherOne(t *testing.T) {
	t.Parallel()
	s := start(t, strings.Replace(sticky("", ""), "grace: 0s", "grace: 1m", 1))
	set := func(s *server, on *bool) admin.ReplicaStatus {
		t.Helper()
		r, err := s.SetRouting(t.Context(), admin.RoutingRequest{Registry: "myregistry", Region: "westus", On: on, By: "test"})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	off := false
	if r := set(s, &off); r.Pending == nil || r.Pending.Routed || time.Until(r.Pending.EffectiveAt) < 30*time.Second {
		t.Errorf("the reply: %+v", r.Pending)
	}
	s = s.again(t, 2*time.Minute)
	s.newcomers(t, "192.0.2.2")
	if r := set(s, nil); r.Routed || r.Pending == nil || !r.Pending.Routed {
		t.Errorf("the reply: %+v, pending %+v", r, r.Pending)
	}
	s = s.again(t, 2*time.Minute)
	s.newcomers(t, "192.0.2.2")
	if r := s.replica(t, "westus"); r.Routed || r.RoutingBy == "" {
		t.Errorf("after a restart: %+v", r)
	}
	s = s.again(t, 4*time.Minute)
	s.newcomers(t, "192.0.2.1")
	if r := s.replica(t, "westus"); !r.Routed || r.Pending != nil || r.RoutingBy != "" {
		t.Errorf("in the end: %+v", r)
	}
}

// Draining again what is about to be put back keeps it out all along.
func TestADrainTakesBackAnUndrain(t *testing.T) {
	t.Parallel()
	s := start(t, strings.Replace(sticky("", ""), "grace: 0s", "grace: 5m", 1))
	now := west("kernel")
	now.Now = true
	if _, err := s.Drain(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	s.newcomers(t, "192.0.2.2")
	d, err := s.Undrain(t.Context(), admin.Selector{Region: "westus"}, "test", "")
	if err != nil || len(d) != 1 || d[0].Drained || d[0].UndrainAt == nil || time.Until(*d[0].UndrainAt) < time.Minute {
		t.Errorf("the undrain: %+v, %v", d, err)
	}
	if _, err := s.Drain(t.Context(), west("after all")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		s.newcomers(t, "192.0.2.2")
		if r := s.replica(t, "westus"); r.Drain == nil || !r.Drain.Drained || r.Drain.EffectiveAt.After(time.Now()) || r.Drain.Reason != "after all" {
			t.Errorf("drained again: %+v", r.Drain)
		}
		s = s.again(t, time.Second)
	}
}

// The moves of a client are known after a restart too.
func TestHistoryOutlivesARestart(t *testing.T) {
	t.Parallel()
	s := start(t, sticky("", ""))
	s.expect(t, pusher, "192.0.2.1")
	now := west("kernel")
	now.Now = true
	if _, err := s.Drain(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	s.newcomers(t, "192.0.2.2")
	s.expect(t, pusher, "192.0.2.2")
	history := func(s *server) []admin.Given {
		t.Helper()
		e, err := s.Explain("myregistry", mustAddr("192.0.2.77"), mustPrefix(pusher))
		if err != nil {
			t.Fatal(err)
		}
		return e.History
	}
	var before []admin.Given
	eventually(t, "the move is noted", func() bool {
		before = history(s)
		return len(before) == 1
	})
	s = s.again(t, 0)
	if after := history(s); len(after) != 1 || after[0] != before[0] {
		t.Errorf("before %+v, after %+v", before, after)
	}
	s = s.again(t, 2*time.Hour)
	if after := history(s); len(after) != 0 {
		t.Errorf("two hours later: %+v", after)
	}
}

// The newest events are found without reading the others, whatever is asked.
func TestTheNewestEvents(t *testing.T) {
	t.Parallel()
	const registries = 30 // each order is an event of each, all in one write
	var text strings.Builder
	// Nothing takes effect meanwhile, which would be an event, too.
	text.WriteString(strings.Replace(sticky("", ""), "grace: 0s", "grace: 5m", 1))
	for i := range registries - 1 {
		fmt.Fprintf(&text, "  r%d: {replicas: {westus: {addresses: [192.0.2.1]}, eastus: {addresses: [192.0.2.2]}}}\n", i)
	}
	s := start(t, text.String())
	for range 10 { // more than are read at a time
		for _, change := range []func() error{
			func() error { _, err := s.Drain(t.Context(), west("again")); return err },
			func() error {
				_, err := s.Undrain(t.Context(), admin.Selector{Region: "westus"}, "test", "")
				return err
			},
		} {
			if err := change(); err != nil {
				t.Fatal(err)
			}
		}
	}
	all, err := s.Events(t.Context(), admin.EventQuery{Limit: 100_000})
	if err != nil || len(all) < 600 || all[0].Seq != 1 || all[len(all)-1].Seq != uint64(len(all)) {
		t.Fatalf("%d events, %v", len(all), err)
	}
	var last uint64 // undrain
	for i := range all {
		if all[i].Kind == "undrain" {
			last = all[i].Seq
		}
	}
	for name, q := range map[string]struct {
		query       admin.EventQuery
		first, last uint64
		n           int
	}{
		"one":       {admin.EventQuery{Limit: 1}, uint64(len(all)), uint64(len(all)), 1},
		"of a kind": {admin.EventQuery{Limit: 2, Kind: "undrain"}, last - 1, last, 2},
		"from":      {admin.EventQuery{From: 5}, 5, uint64(len(all)), len(all) - 4},
		"since":     {admin.EventQuery{Since: new(all[1+registries].DecidedAt)}, all[1+registries].Seq, uint64(len(all)), len(all) - 1 - registries},
	} {
		got, err := s.Events(t.Context(), q.query)
		if err != nil || len(got) != q.n || got[0].Seq != q.first || got[len(got)-1].Seq != q.last {
			t.Errorf("%s: %d events, %v: %+v", name, len(got), err, got[:min(len(got), 2)])
		}
	}
	if none, err := s.Events(t.Context(), admin.EventQuery{Kind: "geodata"}); err != nil || len(none) != 0 {
		t.Errorf("a kind that never was: %v, %v", none, err)
	}
}
