package ledger

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Whatever the wall clock is set to between events, what the writer measured comes
// back: of each event, and of the state that they come to.
func TestSteadyIsWhatWasMeasured(t *testing.T) {
	r, at := rand.New(rand.NewPCG(5, 6)), newClock().now()
	var measured, stored State
	ahead := time.Duration(0)
	for seq := range uint64(2000) {
		if r.IntN(10) == 0 {
			ahead = time.Duration(r.Int64N(int64(4*time.Hour))) - 2*time.Hour
		}
		at = at.Add(time.Duration(r.IntN(60)) * time.Second)
		e := randomEvent(r, at)
		e.Seq, e.Ahead = seq+1, 0
		wall := e.Wall(ahead)
		if !wall.DecidedAt.Equal(at.Add(ahead)) || wall.Ahead != ahead {
			t.Fatalf("stored as %+v, want %v later", wall, ahead)
		}
		if d := cmp.Diff(e, wall.Steady()); d != "" {
			t.Fatal(d)
		}
		measured.Apply(e)
		stored.Apply(wall)
		if d := diffState(measured, stored.Steady()); d != "" {
			t.Fatalf("what was measured (-) and what was stored (+) differ:\n%s", d)
		}
	}
}

// Moments that are not given stay so, and what is converted is a copy.
func TestSteadyLeavesTheRest(t *testing.T) {
	if e := (Event{Kind: Drain, DecidedAt: newClock().now()}).Wall(time.Hour).Steady(); !e.Deadline.IsZero() || !e.Until.IsZero() || !e.EffectiveAt.IsZero() {
		t.Errorf("%+v", e)
	}
	var s State
	s.Apply(Event{Seq: 1, Kind: Drain, Registry: "r", Region: "x", DecidedAt: newClock().now(), Ahead: time.Hour})
	before := s.Clone()
	_ = s.Steady()
	if d := diffState(before, s); d != "" {
		t.Errorf("the state itself was changed: %s", d)
	}
}
