package health

import (
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// One of the checks of an endpoint is out when it has failed often enough in a row, however
// well the others are, and until it has passed for as long as the recovery hold.
func TestParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := passing(), passing()
		var mu sync.Mutex
		var told []Parts
		o := Options{
			Now: time.Now, Rand: rand.New(rand.NewPCG(1, 2)),
			OnParts:  func(p []Parts) { mu.Lock(); defer mu.Unlock(); told = append(told, p...) },
			OnChange: func(c []Change) { t.Errorf("changes: %+v", c) },
		}
		m := NewMonitor(o)
		ca, cb := checkOf("a", a), checkOf("b", b)
		m.Set([]Endpoint{{Key: "e", Checks: []Check{ca, cb}, RecoveryHold: time.Minute}, {Key: "alone", Checks: []Check{cb}, RecoveryHold: time.Hour}})
		var running sync.WaitGroup
		running.Go(func() { m.Run(t.Context()) })
		last := func() Parts {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			for _, p := range told {
				if p.Endpoint != "e" {
					t.Errorf("told of %+v, which has one check", p)
				}
			}
			if len(told) == 0 {
				return Parts{}
			}
			return told[len(told)-1]
		}
		time.Sleep(time.Minute)
		if p := last(); p.Out != 0 {
			t.Errorf("all is well: %+v", p)
		}
		a.set(Fail)
		time.Sleep(15 * time.Second)
		if p := last(); p.Out != 0 {
			t.Errorf("after one or two failures: %+v", p)
		}
		time.Sleep(20 * time.Second)
		if p := last(); p.Out != 1 || p.Passing != 0 || p.Reason != "said fail" {
			t.Errorf("a is dead: %+v", p)
		}
		st, _ := m.Status("e")
		if !st.Checks[0].Out || st.Checks[1].Out || st.Last.Verdict != Fail || st.State != Up {
			t.Errorf("%+v", st)
		}
		a.set(Neutral)
		time.Sleep(30 * time.Second)
		if p := last(); p.Out != 1 {
			t.Errorf("what says nothing lets it back: %+v", p)
		}
		a.set(Pass)
		time.Sleep(35 * time.Second)
		if p := last(); p.Out != 1 || p.Passing != 1 {
			t.Errorf("a works, not for long: %+v", p)
		}
		a.set(Fail) // begins anew
		time.Sleep(10 * time.Second)
		a.set(Pass)
		time.Sleep(55 * time.Second)
		if p := last(); p.Out != 1 {
			t.Errorf("a has failed in between: %+v", p)
		}
		time.Sleep(30 * time.Second)
		if p := last(); p.Out != 0 || p.Passing != 0 {
			t.Errorf("a has worked for a minute: %+v", p)
		}
		if st, _ = m.Status("e"); st.Checks[0].Out || st.Last.Verdict != Pass {
			t.Errorf("%+v", st)
		}
	})
}
