package health

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// handedOver starts a Monitor with what another one knew, through JSON as between
// processes.
func handedOver(t *testing.T, before *rig, resume Resume, endpoint Endpoint) *rig {
	t.Helper()
	before.stop()
	text, err := json.Marshal(before.Records())
	if err != nil {
		t.Fatal(err)
	}
	var records []CheckRecord
	if err := json.Unmarshal(text, &records); err != nil {
		t.Fatal(err)
	}
	endpoint.Resume = resume
	return startKnowing(t, records, endpoint)
}

// A row of failures goes on counting in the next process, and one that is long enough
// already counts at once.
func TestFailuresCarryOn(t *testing.T) {
	for _, failures := range []int{1, 2, 3} {
		synctest.Test(t, func(t *testing.T) {
			p := passing()
			e := Endpoint{Key: "eastus", Checks: []Check{checkOf("a", p)}}
			r := start(t, Options{}, e)
			time.Sleep(45 * time.Second)
			p.set(Fail)
			for n := 0; n < failures; {
				time.Sleep(time.Second)
				if recs := r.Records(); len(recs) == 1 {
					n = recs[0].Fails
				}
			}
			// The verdict of the first process, if there was one, has not reached the ledger.
			next := handedOver(t, r, Resume{}, e)
			begin := time.Now()
			for len(next.said()) == 0 {
				time.Sleep(time.Second)
			}
			if took, most := time.Since(begin), time.Duration(3-failures)*10*time.Second+time.Second; took > most {
				t.Errorf("%d failures before: down after %v, want at most %v", failures, took, most)
			}
		})
	}
}

// A recovery that is under way goes on, too: neither its row of passes nor its hold
// begins again.
func TestRecoveriesCarryOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := passing()
		e := Endpoint{Key: "eastus", Checks: []Check{checkOf("a", p)}, RecoveryHold: 10 * time.Minute}
		r := start(t, Options{}, e)
		time.Sleep(45 * time.Second)
		p.set(Fail)
		time.Sleep(45 * time.Second)
		down, ok := r.Status("eastus")
		if !ok || down.State != Down {
			t.Fatalf("%+v", down)
		}
		p.set(Pass)
		time.Sleep(9 * time.Minute)
		next := handedOver(t, r, Resume{DownAt: down.DownAt}, e)
		if said := next.said(); len(said) != 0 {
			t.Fatalf("before its hold is over: %v", said)
		}
		time.Sleep(90 * time.Second)
		if said := next.said(); len(said) != 1 {
			t.Errorf("after its hold: %v", said)
		}
	})
}

// What is well needs no memory: a hundred thousand of them would be a long message.
func TestRecordsLeaveOutWhatIsWell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good, bad := passing(), passing()
		r := start(t, Options{}, Endpoint{Key: "a", Checks: []Check{checkOf("a", good)}}, Endpoint{Key: "b", Checks: []Check{checkOf("b", bad)}})
		if got := r.Records(); len(got) != 0 {
			t.Errorf("never probed: %+v", got)
		}
		time.Sleep(45 * time.Second)
		bad.set(Fail)
		time.Sleep(15 * time.Second)
		got := r.Records()
		if keys := slices.Collect(func(yield func(string) bool) {
			for _, c := range got {
				if !yield(c.Key) {
					return
				}
			}
		}); !slices.Equal(keys, []string{"b"}) {
			t.Errorf("%v", keys)
		}
	})
}

// Of two records of one target, as two cadences leave them, the later counts.
func TestRecallTakesTheLater(t *testing.T) {
	m := NewMonitor(Options{Now: time.Now, Rand: rand.New(rand.NewPCG(1, 2))})
	at := time.Unix(1000, 0)
	m.Recall([]CheckRecord{{Key: "a", Fails: 2, LastAt: at.Add(time.Second)}, {Key: "a", Fails: 1, LastAt: at}})
	m.Set([]Endpoint{{Key: "e", Checks: []Check{checkOf("a", passing())}}})
	if got := m.Records(); len(got) != 1 || got[0].Fails != 2 {
		t.Errorf("%+v", got)
	}
	m.Set([]Endpoint{{Key: "e", Checks: []Check{checkOf("b", passing())}}})
	m.Set([]Endpoint{{Key: "e", Checks: []Check{checkOf("a", passing())}}})
	if got := m.Records(); len(got) != 0 {
		t.Errorf("recalled once more: %+v", got)
	}
}

// TestRecordsKeepTheFault, so that the next process does not take it for an answer.
func TestRecordsKeepTheFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := passing()
		p.blame(Neutral, Local)
		r := start(t, Options{}, Endpoint{Key: "e", Checks: []Check{checkOf("a", p)}})
		time.Sleep(time.Minute)
		next := startKnowing(t, r.Records(), Endpoint{Key: "e", Checks: []Check{checkOf("a", p)}})
		if s := next.SelfCheck(); s.LocalShare != 1 {
			t.Errorf("%+v", s)
		}
	})
}
