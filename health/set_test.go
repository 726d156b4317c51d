package health

import (
	"math/rand/v2"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

func TestSharedCheckIsProbedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, other := passing(), passing()
		slower := checkOf("a", other)
		slower.Interval = time.Minute
		r := start(t, Options{},
			Endpoint{Key: "one", Checks: []Check{checkOf("a", p), checkOf("a", p)}},
			Endpoint{Key: "two", Checks: []Check{checkOf("a", p)}, RecoveryHold: time.Hour},
			Endpoint{Key: "three", Checks: []Check{slower}})
		time.Sleep(10 * time.Minute)
		if n := p.calls.Load(); n < 60 || n > 62 {
			t.Errorf("%d probes in 60 intervals", n)
		}
		if n := other.calls.Load(); n < 10 || n > 11 {
			t.Errorf("the slower probe of the target ran %d times in 10 minutes", n)
		}
		p.set(Fail)
		time.Sleep(time.Minute)
		p.set(Pass)
		time.Sleep(time.Minute)
		wantSaid(t, r, "one down: 3 of 3 failed: said fail", "two down: 3 of 3 failed: said fail", "one up: healthy for 20s")
		wantState(t, r, "three", Up)
	})
}

func TestSetKeepsWhatIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad, good := &target{}, passing()
		hold := 5 * time.Minute
		r := start(t, Options{},
			Endpoint{Key: "bad", Checks: []Check{checkOf("bad", bad)}, RecoveryHold: hold},
			Endpoint{Key: "good", Checks: []Check{checkOf("good", good)}},
			Endpoint{Key: "gone", Checks: []Check{checkOf("bad", bad)}})
		time.Sleep(time.Minute)
		down := "bad down: 3 of 3 failed: said fail"
		wantSaid(t, r, down, "gone down: 3 of 3 failed: said fail")
		was := wantState(t, r, "bad", Down)

		faster := checkOf("good", good)
		faster.Interval = 5 * time.Second
		r.Set([]Endpoint{
			{Key: "bad", Checks: []Check{checkOf("another", bad)}, RecoveryHold: hold},
			{Key: "good", Checks: []Check{faster}},
			{Key: "new", Checks: []Check{checkOf("fresh", good)}},
		})
		if got := wantState(t, r, "bad", Down); !got.DownAt.Equal(was.DownAt) || !got.Since.Equal(was.Since) {
			t.Errorf("a reload changed %+v to %+v", was, got)
		}
		if got := wantState(t, r, "good", Up); got.Checks[0].State != Up || got.LastAt.IsZero() {
			t.Errorf("a new cadence lost what was known: %+v", got)
		}
		wantState(t, r, "new", Unknown)
		if _, ok := r.Status("gone"); ok {
			t.Error("gone is still there")
		}
		if n := len(r.Statuses()); n != 3 {
			t.Errorf("%d statuses, want 3", n)
		}
		bad.set(Pass)
		time.Sleep(2 * time.Minute)
		wantState(t, r, "bad", Recovering)
		r.Set([]Endpoint{{Key: "bad"}, {Key: "bad", Checks: []Check{checkOf("x", good)}}})
		wantState(t, r, "bad", Up)
		wantSaid(t, r, down, "gone down: 3 of 3 failed: said fail", "bad up: it is not probed any more")
	})
}

func TestSetCanTakeAnEndpointDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad, good := checkOf("bad", &target{}), checkOf("good", passing())
		r := start(t, Options{}, Endpoint{Key: "e", Checks: []Check{bad, good}})
		time.Sleep(time.Minute)
		wantSaid(t, r)
		r.Set([]Endpoint{{Key: "e", Checks: []Check{bad}}, {Key: "f", Checks: []Check{bad}}})
		wantSaid(t, r, "e down: 3 of 3 failed: said fail", "f down: 3 of 3 failed: said fail")
	})
}

func TestResumeHoldsAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, Options{}, Endpoint{
			Key: "e", Checks: []Check{checkOf("a", passing())}, RecoveryHold: 10 * time.Minute,
			Resume: Resume{DownAt: time.Now().Add(-time.Hour), Flaps: 1},
		})
		time.Sleep(15 * time.Minute)
		wantState(t, r, "e", Recovering)
		time.Sleep(6 * time.Minute)
		wantSaid(t, r, "e up: healthy for 20m0s")
	})
}

// TestSetUnderFire calls Set and the readers while probes run, for the race detector
// and for the sums that must come out even.
func TestSetUnderFire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(5, 6))
		targets := make([]*target, 40)
		for i := range targets {
			targets[i] = passing()
			targets[i].set(Verdict(rng.IntN(3)))
			targets[i].takes.Store(rng.Int64N(int64(3 * time.Second)))
			targets[i].deaf.Store(i%5 == 0)
		}
		r := start(t, Options{Concurrency: 9})
		for range 300 {
			var endpoints []Endpoint
			for e := range rng.IntN(20) {
				var checks []Check
				for range rng.IntN(4) {
					i := rng.IntN(len(targets))
					c := checkOf(strconv.Itoa(i), targets[i])
					c.Fall = 1 + rng.IntN(2)
					checks = append(checks, c)
				}
				endpoints = append(endpoints, Endpoint{Key: strconv.Itoa(e), Checks: checks})
			}
			r.Set(endpoints)
			time.Sleep(time.Duration(rng.Int64N(int64(4 * time.Second))))
			r.Statuses()
		}
		r.Set(nil)
		time.Sleep(time.Minute)
		if s := r.Stats(); s != (Stats{Probes: s.Probes, Late: s.Late}) || s.Probes == 0 {
			t.Errorf("left over: %+v", s)
		}
	})
}
