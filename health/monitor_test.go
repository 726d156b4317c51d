package health

import (
	"context"
	"math/rand/v2"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

func TestLifeOfAnEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := passing()
		r := start(t, Options{}, Endpoint{Key: "eastus", Checks: []Check{checkOf("a", p)}, RecoveryHold: 10 * time.Minute}, Endpoint{Key: "static"})
		wantState(t, r, "eastus", Unknown)
		wantState(t, r, "static", Up)
		time.Sleep(time.Minute)
		wantState(t, r, "eastus", Up)
		wantSaid(t, r)

		p.set(Fail)
		time.Sleep(time.Minute)
		s := wantState(t, r, "eastus", Down)
		wantSaid(t, r, "eastus down: 3 of 3 failed: said fail")
		if s.Last.Detail != "said fail" || s.DownAt.IsZero() || s.Checks[0].Fails < 3 || s.Checks[0].Passes != 0 {
			t.Errorf("status %+v", s)
		}

		p.set(Pass)
		time.Sleep(time.Minute)
		s = wantState(t, r, "eastus", Recovering)
		if wait := time.Until(s.EligibleAt); wait < 8*time.Minute || wait > 10*time.Minute {
			t.Errorf("eligible in %v, want about 9 minutes", wait)
		}
		time.Sleep(10 * time.Minute)
		s = wantState(t, r, "eastus", Up)
		if s.UpAt.IsZero() || !s.EligibleAt.IsZero() {
			t.Errorf("status %+v", s)
		}
		wantSaid(t, r, "eastus down: 3 of 3 failed: said fail", "eastus up: healthy for 10m0s")
	})
}

func TestEndpointIsUpWhileOneCheckIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v4, v6 := passing(), passing()
		r := start(t, Options{}, Endpoint{Key: "e", Checks: []Check{checkOf("v4", v4), checkOf("v6", v6)}})
		time.Sleep(time.Minute)
		v6.set(Fail)
		time.Sleep(time.Minute)
		wantSaid(t, r)
		if s := wantState(t, r, "e", Up); s.Checks[1].State != Down {
			t.Errorf("v6 is %v, want down", s.Checks[1].State)
		}
		v4.set(Neutral)
		time.Sleep(time.Minute)
		wantSaid(t, r)
		v4.set(Fail)
		time.Sleep(time.Minute)
		wantSaid(t, r, "e down: all 2 checks are down, the last is test v4: 3 of 3 failed: said fail")
	})
}

func TestRunEndsCleanly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := passing()
		p.takes.Store(int64(time.Hour))
		var endpoints []Endpoint
		for i := range 50 {
			key := strconv.Itoa(i)
			c := checkOf(key, p)
			c.Fall = 1
			endpoints = append(endpoints, Endpoint{Key: key, Checks: []Check{c}})
		}
		r := start(t, Options{Concurrency: 5}, endpoints...)
		time.Sleep(1500 * time.Millisecond)
		if r.Stats().Probing == 0 {
			t.Fatal("no probe is under way")
		}
		r.stop()
		wantSaid(t, r) // a probe cut short by the end says nothing of its target
		if s := r.Stats(); s.Probing != 0 || r.results != 0 {
			t.Errorf("after Run: %+v, %d results", s, r.results)
		}
		r.Set(endpoints[:3])
		if len(r.Statuses()) != 3 {
			t.Error("Set after Run has no effect")
		}
	})
}

func TestPanicInAProber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, Options{}, Endpoint{Key: "e", Checks: []Check{checkOf("a", panics{})}})
		time.Sleep(time.Minute)
		wantSaid(t, r, "e down: 3 of 3 failed: defect in the probe, please report it: boom")
	})
}

type panics struct{}

func (panics) Probe(context.Context) Result { panic("boom") }

// TestSlowListenerDoesNotDelayProbes blocks OnChange for an hour.
func TestSlowListenerDoesNotDelayProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &target{}
		var got []Change
		m := NewMonitor(Options{
			Now: time.Now, Rand: rand.New(rand.NewPCG(1, 2)),
			OnChange: func(c []Change) { time.Sleep(time.Hour); got = append(got, c...) },
		})
		c := checkOf("a", p)
		c.Fall, c.Rise = 1, 1
		m.Set([]Endpoint{{Key: "e", Checks: []Check{c}}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { m.Run(ctx); close(done) }()
		for i := range 60 {
			p.set(Verdict(i % 2))
			time.Sleep(10 * time.Second)
		}
		if n := p.calls.Load(); n < 59 {
			t.Errorf("%d probes in 60 intervals", n)
		}
		cancel()
		<-done
		if len(got) < 20 {
			t.Errorf("%d changes were delivered", len(got))
		}
		for i := 1; i < len(got); i++ {
			if got[i].Was != got[i-1].State || got[i].At.Before(got[i-1].At) {
				t.Fatalf("change %d is out of order: %+v after %+v", i, got[i], got[i-1])
			}
		}
	})
}
