package ledger

import (
	"fmt"
	"testing"
	"time"
)

func TestRetain(t *testing.T) {
	path, clk := tempPath(t), newClock()
	o := Options{Now: clk.now, Retain: time.Hour}
	f := mustOpen(t, path, o)
	mustAppend(t, f, Event{Kind: Drain, Registry: "r", Region: "x", Why: "repair"}, Event{Kind: Down, Endpoint: "gone"}, Event{Kind: Down, Endpoint: "back"})
	clk.move(30 * time.Minute)
	mustAppend(t, f, Event{Kind: Up, Endpoint: "back"})
	reopen := func(after time.Duration) Stats {
		clk.move(after)
		mustClose(t, f)
		f = mustOpen(t, path, o)
		s := settled(t, f)
		if d := diffState(refold(t, f), mustState(t, f)); d != "" {
			t.Fatal(d)
		}
		return s
	}
	if s := reopen(30 * time.Minute); s.First != 1 {
		t.Errorf("after an hour and no more, the log begins at %d", s.First)
	}
	if s := reopen(time.Nanosecond); s.First != 4 || s.Last != 4 {
		t.Errorf("after an hour and more, the log is %d to %d", s.First, s.Last)
	}
	if h, ok := mustState(t, f).Health["back"]; !ok || h.UpAt.IsZero() {
		t.Errorf("the recovery is forgotten while it is in the log: %+v", h)
	}
	if s := reopen(time.Hour); s.First != 5 || s.Last != 4 {
		t.Errorf("after two hours, the log is %d to %d", s.First, s.Last)
	}
	state := mustState(t, f)
	if state.Replicas[Subject{"r", "x"}].Drain.Why != "repair" || state.Health["gone"].Down == nil {
		t.Errorf("what is in force is forgotten: %+v", state)
	}
	if _, ok := state.Health["back"]; ok {
		t.Error("what has long recovered is kept")
	}
	if stored := mustAppend(t, f, Event{Kind: Start}); stored[0].Seq != 5 {
		t.Errorf("numbers start over: %d", stored[0].Seq)
	}
}

// What the log still has an event of is not forgotten, however old that says it is:
// base and log would not fold to the state.
func TestOldEventBehindYoungOne(t *testing.T) {
	path, clk := tempPath(t), newClock()
	o := Options{Now: clk.now, Retain: time.Hour}
	f := mustOpen(t, path, o)
	mustAppend(t, f, Event{Kind: Start}, Event{Kind: Up, Endpoint: "back", DecidedAt: clk.now().Add(-24 * time.Hour)})
	mustClose(t, f)
	f = mustOpen(t, path, o)
	settled(t, f)
	if d := diffState(refold(t, f), mustState(t, f)); d != "" {
		t.Error(d)
	}
}

// However much is appended, file and log stay within bounds.
func TestFileStopsGrowing(t *testing.T) {
	clk := newClock()
	f := mustOpen(t, tempPath(t), Options{Now: clk.now, MaxEvents: 2000})
	var half Stats
	for i := range 120 {
		batch := make([]Event, 256)
		for k := range batch {
			kind := []Kind{Down, Up}[k%2]
			// Endpoints come and go, as when addresses change.
			batch[k] = Event{Kind: kind, Endpoint: fmt.Sprintf("%d-%d", i, k/2), Why: "3 of 3 failed: connection refused"}
		}
		clk.move(24 * time.Hour)
		mustAppend(t, f, batch...)
		if i == 59 {
			half = settled(t, f)
		}
	}
	s := settled(t, f)
	if kept := s.Last - s.First + 1; kept > 2000+compactEvery || s.Last != 120*256 {
		t.Errorf("%d events are kept of %d", kept, s.Last)
	}
	if s.Size > half.Size*5/4 {
		t.Errorf("the file grew from %d to %d bytes in the second half", half.Size, s.Size)
	}
	// A day has 128, and the last days may not have been looked at again.
	if n := len(mustState(t, f).Health); n > 31*128+compactEvery/2 {
		t.Errorf("%d endpoints are known, of 35 days at most", n)
	}
}
