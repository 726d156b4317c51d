package health

import (
	"testing"
	"testing/synctest"
	"time"
)

// passingChanges returns for each change whether the endpoint passes then.
func (r *rig) passingChanges() (out []bool) {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.changes {
		if !c.State.Eligible() {
			out = append(out, c.Passing)
		}
	}
	return out
}

func TestAnEndpointThatIsOutSaysWhetherItWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := passing()
		r := start(t, Options{}, Endpoint{Key: "eastus", RecoveryHold: time.Hour, Checks: []Check{checkOf("eastus", p)}})
		time.Sleep(time.Minute)
		p.set(Fail)
		time.Sleep(time.Minute)
		p.set(Pass)
		time.Sleep(10 * time.Second)
		if s := wantState(t, r, "eastus", Recovering); !s.Passing {
			t.Error("one pass is not enough")
		}
		p.set(Fail)
		time.Sleep(20 * time.Second)
		if s := wantState(t, r, "eastus", Down); !s.Passing {
			t.Error("two failures are too many")
		}
		time.Sleep(10 * time.Second)
		if s := wantState(t, r, "eastus", Down); s.Passing {
			t.Error("three failures are too few")
		}
		// Down, recovering, down but working, down.
		if got := r.passingChanges(); len(got) != 4 || got[0] || !got[1] || !got[2] || got[3] {
			t.Errorf("changes: passing %v", got)
		}
	})
}

func TestAnOperatorLetsAnEndpointBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := passing()
		r := start(t, Options{}, Endpoint{Key: "eastus", RecoveryHold: 10 * time.Minute, Checks: []Check{checkOf("eastus", p)}})
		time.Sleep(time.Minute)
		p.set(Fail)
		time.Sleep(time.Minute)
		if r.LetBack("eastus") || r.LetBack("nowhere") {
			t.Error("what does not work is let back")
		}
		p.set(Pass)
		time.Sleep(20 * time.Second)
		if !r.LetBack("eastus") {
			t.Error("what works is not let back")
		}
		s := wantState(t, r, "eastus", Up)
		if s.UpAt.IsZero() || s.Passing {
			t.Errorf("%+v", s)
		}
		p.set(Fail)
		time.Sleep(time.Minute)
		if s := wantState(t, r, "eastus", Down); s.Flaps != 1 {
			t.Errorf("%d flaps", s.Flaps)
		}
	})
}

func TestAnEndpointIsTakenDownByAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := passing()
		r := start(t, Options{}, Endpoint{Key: "eastus", RecoveryHold: 10 * time.Minute, Checks: []Check{checkOf("eastus", p)}})
		time.Sleep(time.Minute)
		at := time.Now().Add(-10 * time.Second)
		r.TakeDown("eastus", at, 2)
		if s := wantState(t, r, "eastus", Down); !s.DownAt.Equal(at) || s.Flaps != 2 {
			t.Errorf("%+v", s)
		}
		time.Sleep(10 * time.Second)
		wantState(t, r, "eastus", Recovering)
		wantSaid(t, r)

		r.TakeDown("eastus", time.Now(), 3) // the other one saw it fail again
		if s := wantState(t, r, "eastus", Down); s.Passing || s.Flaps != 2 || !s.DownAt.Equal(at) {
			t.Errorf("%+v", s)
		}
		p.set(Pass)
		time.Sleep(10 * time.Second)
		if s := wantState(t, r, "eastus", Recovering); !s.Passing {
			t.Errorf("%+v", s)
		}
	})
}
