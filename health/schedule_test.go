package health

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

// TestDetectionBound kills a target at every part of the interval, silently and
// with an answer, and wants the change within interval x fall + timeout + 100 ms.
func TestDetectionBound(t *testing.T) {
	const bound = 3*10*time.Second + 2*time.Second + 100*time.Millisecond
	for _, way := range []string{"fails", "hangs", "hangs and ignores its context"} {
		t.Run(way, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var targets []*target
				var endpoints []Endpoint
				for i := range 200 {
					targets = append(targets, passing())
					key := strconv.Itoa(i)
					endpoints = append(endpoints, Endpoint{Key: key, Checks: []Check{checkOf(key, targets[i])}})
				}
				r := start(t, Options{}, endpoints...)
				time.Sleep(5 * time.Minute)
				died := time.Now()
				for _, p := range targets {
					p.set(Fail)
					if way != "fails" {
						p.takes.Store(int64(24 * time.Hour))
					}
					p.deaf.Store(way == "hangs and ignores its context")
				}
				time.Sleep(bound)
				if got := len(r.said()); got != len(targets) {
					t.Errorf("%d of %d were found dead in %v", got, len(targets), bound)
				}
				for _, c := range r.changes {
					if after := c.At.Sub(died); after > bound || after < 20*time.Second-10*time.Second/jitterPart*3 {
						t.Errorf("%s found dead after %v", c.Endpoint, after)
					}
				}
				for _, p := range targets {
					if p.hi.Load() > 1 {
						t.Error("two probes of one check at once")
					}
				}
			})
		})
	}
}

// TestCadence wants probes spread at first, and then never more than an interval and
// a batch apart nor much less, without drift, whatever others do.
func TestCadence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var targets []*target
		var checks []Check
		for i := range 100 {
			targets = append(targets, passing())
			checks = append(checks, checkOf(strconv.Itoa(i), targets[i]))
			if i%2 == 1 {
				targets[i].takes.Store(int64(time.Hour)) // until the timeout
			}
		}
		began := time.Now()
		r := start(t, Options{}, Endpoint{Key: "e", Checks: checks})
		time.Sleep(1000 * time.Second)
		r.stop()
		buckets := map[time.Duration]int{}
		for i, p := range targets {
			buckets[p.starts[0].Sub(began)/time.Second]++
			for n := 1; n < len(p.starts); n++ {
				gap := p.starts[n].Sub(p.starts[n-1])
				if gap > 10*time.Second+batch || gap < 10*time.Second-10*time.Second/jitterPart-batch {
					t.Fatalf("check %d: %v between starts", i, gap)
				}
			}
			if len(p.starts) < 100 || len(p.starts) > 102 {
				t.Errorf("check %d was probed %d times in 1000 s", i, len(p.starts))
			}
		}
		for second := range time.Duration(10) {
			if n := buckets[second]; n == 0 || n > 25 {
				t.Errorf("%d of 100 first probes in second %d", n, second)
			}
		}
		if late := r.Stats().Late; late != 0 {
			t.Errorf("late by %v", late)
		}
	})
}

func TestTimeoutAsLongAsTheInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := passing()
		c := checkOf("a", p)
		c.Timeout = 0 // as long as the interval
		r := start(t, Options{}, Endpoint{Key: "e", Checks: []Check{c}})
		time.Sleep(time.Minute)
		starts := p.began()
		for n := 1; n < len(starts); n++ {
			if gap := starts[n].Sub(starts[n-1]); gap > c.Interval+batch {
				t.Errorf("%v between starts", gap)
			}
		}
		p.takes.Store(int64(time.Hour))
		time.Sleep(40*time.Second + 100*time.Millisecond)
		wantSaid(t, r, "e down: 3 of 3 failed: gave up")
		if p.hi.Load() > 1 {
			t.Error("two probes at once")
		}
		if late := r.Stats().Late; late != 0 {
			t.Errorf("late by %v: the probe before is no reason", late)
		}
	})
}

// TestOneOverrunIsOneFailure has a deaf prober run over the time of the next probe.
func TestOneOverrunIsOneFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := passing()
		c := checkOf("a", p)
		c.Timeout, c.Fall = c.Interval, 2
		r := start(t, Options{}, Endpoint{Key: "e", Checks: []Check{c}})
		time.Sleep(time.Minute)
		p.deaf.Store(true)
		p.takes.Store(int64(12 * time.Second))
		for p.now.Load() == 0 {
			time.Sleep(time.Second)
		}
		p.takes.Store(0)
		time.Sleep(time.Minute)
		wantSaid(t, r)
	})
}

func TestNextDue(t *testing.T) {
	for now, want := range map[int]int{
		0: 10, 9: 10, 10: 20, 11: 20, 19: 20, 20: 30, 12345: 12350,
	} {
		at := func(seconds int) time.Time { return epoch().Add(time.Duration(seconds) * time.Second) }
		if got := nextDue(at(0), at(now), 10*time.Second); !got.Equal(at(want)) {
			t.Errorf("at %d the next is due at %v, want %d", now, got.Sub(at(0)), want)
		}
	}
}

func TestDeafProberIsCountedAndNotCalledAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := passing()
		p.deaf.Store(true)
		p.takes.Store(int64(95 * time.Second))
		r := start(t, Options{Concurrency: 1}, Endpoint{Key: "e", Checks: []Check{checkOf("a", p)}}, Endpoint{Key: "f", Checks: []Check{checkOf("b", passing())}})
		time.Sleep(50 * time.Second)
		wantSaid(t, r, "e down: 3 of 3 failed: the probe before this one has not ended")
		if p.calls.Load() != 1 || r.Stats().Overdue != 1 {
			t.Errorf("%d calls, %+v", p.calls.Load(), r.Stats())
		}
		if s := wantState(t, r, "f", Up); s.Checks[0].Passes < 3 {
			t.Errorf("the one slot stayed taken: %+v", s)
		}
		p.takes.Store(0)
		time.Sleep(2 * time.Minute)
		wantState(t, r, "e", Up)
		if s := r.Stats(); s.Overdue != 0 || s.Probing != 0 {
			t.Errorf("left over: %+v", s)
		}
	})
}

func TestLateResultIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := passing()
		p.deaf.Store(true)
		p.takes.Store(int64(3 * time.Second)) // passes, after its timeout
		r := start(t, Options{}, Endpoint{Key: "e", Checks: []Check{checkOf("a", p)}})
		time.Sleep(time.Minute)
		wantSaid(t, r, "e down: 3 of 3 failed: no answer in 2s")
		if r.results != int(p.calls.Load()) {
			t.Errorf("%d results of %d calls", r.results, p.calls.Load())
		}
	})
}

func TestConcurrencyIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := passing() // held by all checks, so that it sees them together
		p.takes.Store(int64(time.Second))
		var checks []Check
		for i := range 100 {
			checks = append(checks, checkOf(strconv.Itoa(i), p))
		}
		r := start(t, Options{Concurrency: 7}, Endpoint{Key: "e", Checks: checks})
		time.Sleep(time.Minute)
		if got := p.hi.Load(); got != 7 {
			t.Errorf("%d probes at once, want 7", got)
		}
		if s := r.Stats(); s.Waiting == 0 || s.Late < time.Second || s.Probing != 7 {
			t.Errorf("stats hide that seven are too few: %+v", s)
		}
		r.Set(nil)
		synctest.Wait()
		if s := r.Stats(); s.Waiting != 0 || s.Probing != 0 || s.Checks != 0 {
			t.Errorf("left over after Set(nil): %+v", s)
		}
	})
}

func TestLatenessForgets(t *testing.T) {
	var l lateness
	l.add(time.Second, epoch())
	l.add(2*time.Second, epoch().Add(time.Second))
	for after, want := range map[time.Duration]time.Duration{
		0: 2 * time.Second, 61 * time.Second: 2 * time.Second, 3 * time.Minute: 0,
	} {
		now := l
		if got := now.worst(epoch().Add(after)); got != want {
			t.Errorf("worst after %v = %v, want %v", after, got, want)
		}
	}
}
