package app

import (
	"bytes"
	"context"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"portolan.dev/config/ledger"
	"portolan.dev/resolver/activity"
	"portolan.dev/resolver/decide"
)

// fakeClock is both sides of a clock, moved by hand.
type fakeClock struct {
	*clock

	passed, set time.Duration
	start       time.Time
	log         bytes.Buffer
	told        []time.Duration
}

func newFakeClock(start time.Time) *fakeClock {
	f := &fakeClock{start: start}
	f.clock = newClock(f.says, func() time.Duration { return f.passed }, slog.New(slog.NewTextHandler(&f.log, nil)))
	f.stepped = func(ahead time.Duration) { f.told = append(f.told, ahead) }
	return f
}

func (f *fakeClock) says() time.Time { return f.start.Add(f.passed + f.set) }

func noon() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

// However the clock of the system is set, a second is a second for those who wait, and
// what is shown is what the system says. Each step is logged once.
func TestClockSurvivesSteps(t *testing.T) {
	f := newFakeClock(noon())
	if !f.now().Equal(noon()) || f.look() != 0 {
		t.Fatalf("begins at %v, %v behind", f.now(), f.look())
	}
	steps := 0
	for _, step := range []time.Duration{10 * time.Minute, -10 * time.Minute, -time.Hour, 24 * time.Hour, -10 * 365 * 24 * time.Hour} {
		f.set += step
		steps++
		before := f.now()
		for range 3 {
			f.passed += time.Second
			if got := f.now(); !got.Equal(before.Add(time.Second)) {
				t.Errorf("a second after %v it is %v", before, got)
			}
			before = f.now()
			shown := f.now()
			if f.show(&shown); !shown.Equal(f.says()) {
				t.Errorf("shows %v, and the system says %v", shown, f.says())
			}
		}
		if n := strings.Count(f.log.String(), "was set"); n != steps || len(f.told) != steps || f.told[steps-1] != f.set {
			t.Errorf("after %v: %d lines, told %v:\n%s", step, n, f.told, f.log.String())
		}
	}
}

// The two clocks are not read at one instant, and a leap second is no step to speak of.
func TestClockSlack(t *testing.T) {
	for _, tt := range []struct {
		off    time.Duration
		ahead  time.Duration
		logged bool
	}{
		{50 * time.Millisecond, 0, false},
		{-50 * time.Millisecond, 0, false},
		{time.Second, time.Second, false},
		{-time.Second, -time.Second, false},
		{2 * time.Second, 2 * time.Second, true},
		{-2 * time.Second, -2 * time.Second, true},
	} {
		f := newFakeClock(noon())
		f.set = tt.off
		if got := f.look(); got != tt.ahead || (f.log.Len() > 0) != tt.logged {
			t.Errorf("%v off: %v ahead, want %v: %s", tt.off, got, tt.ahead, f.log.String())
		}
	}
}

// A clock without a battery says 1970; seconds are unsigned.
func TestClockOfTheEpoch(t *testing.T) {
	f := newFakeClock(time.Unix(3, 0))
	if oldest := f.now().Add(-decide.Keep * time.Second).Unix(); oldest < 0 {
		t.Errorf("holds reach back to %d", oldest)
	}
	shown := f.now()
	if f.show(&shown); !shown.Equal(f.says()) {
		t.Errorf("shows %v, want %v", shown, f.says())
	}
}

// A time of the system carries what its monotonic clock says, and that is what counts.
func TestClockOfTheSystem(t *testing.T) {
	c := newClock(time.Now, nil, slog.New(slog.DiscardHandler))
	before := time.Now()
	first := c.now()
	if d := first.Sub(before); d < -time.Minute || d > time.Minute {
		t.Errorf("%v away from the clock of the system", d)
	}
	if s := first.String(); strings.Contains(s, "m=") {
		t.Errorf("%s has a monotonic reading, of another clock", s)
	}
	if c.now().Before(first) {
		t.Error("ran backwards")
	}
}

// What was waited for goes on where it was: a server that is started again, however the
// clock was set before it ended or while it was down, does not go back, and knows how
// much time has passed unless the clock was set while it was down.
func TestClockGoesOn(t *testing.T) {
	const down = time.Minute
	for _, before := range []time.Duration{0, time.Hour, -time.Hour, 10 * time.Minute} {
		for _, during := range []time.Duration{0, time.Hour, -time.Hour, -10 * time.Minute, -2 * down} {
			f := newFakeClock(noon())
			f.passed, f.set = time.Hour, before
			mark := f.mark()
			next := newFakeClock(f.says().Add(down + during))
			next.goOn(mark)
			want := mark.Steady.Add(max(down+during, 0))
			if got := next.now(); !got.Equal(want) {
				t.Errorf("set by %v, and by %v while down: goes on %v after, want %v", before, during, got.Sub(mark.Steady), want.Sub(mark.Steady))
			}
			shown := next.now()
			if next.show(&shown); !shown.Equal(next.says()) {
				t.Errorf("set by %v, and by %v while down: shows %v, want %v", before, during, shown, next.says())
			}
			if logged := strings.Contains(next.log.String(), "set back"); logged != (down+during < 0) {
				t.Errorf("set by %v while down: %s", during, next.log.String())
			}
		}
	}
}

// Whatever is done to the clock of the system, and however often servers are started
// again, the ledger gives back the order and the distances of events, and holds what the
// system said when each was decided.
func TestRecordKeepsOrder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	rng := rand.New(rand.NewPCG(8, 9))
	f := newFakeClock(noon())
	var r *record
	open := func() {
		store, err := ledger.Open(path, ledger.Options{Now: noon}) // which it reads by itself, too
		if err != nil {
			t.Fatal(err)
		}
		r = &record{store: &gate{store: store}, clock: f.clock, log: slog.New(slog.DiscardHandler)}
	}
	open()
	var want, wall []time.Time
	for range 300 {
		f.passed += time.Duration(rng.Int64N(int64(time.Minute)))
		switch rng.IntN(10) {
		case 0, 1:
			f.set += time.Duration(rng.Int64N(int64(2*time.Hour))) - time.Hour
		case 2: // upgraded, or stopped and started at once
			mark := f.mark()
			if err := r.store.Close(); err != nil {
				t.Fatal(err)
			}
			f = newFakeClock(f.says())
			f.goOn(mark)
			open()
		}
		at := f.now()
		stored, err := r.Append(t.Context(), ledger.Event{Kind: ledger.Drain, Registry: "r", Region: "x", DecidedAt: at, EffectiveAt: at.Add(time.Minute)})
		if err != nil {
			t.Fatal(err)
		}
		if !stored[0].DecidedAt.Equal(at) || !stored[0].EffectiveAt.Equal(at.Add(time.Minute)) {
			t.Fatalf("appended at %v, and comes back as %+v", at, stored[0])
		}
		want, wall = append(want, at), append(wall, f.says())
	}
	i := len(want)
	if err := r.Back(t.Context(), uint64(i), func(e *ledger.Event) bool {
		i--
		if !e.DecidedAt.Equal(want[i]) || i > 0 && e.DecidedAt.Before(want[i-1]) {
			t.Errorf("event %d is of %v, want %v", i, e.DecidedAt, want[i])
		}
		return true
	}); err != nil || i != 0 {
		t.Fatalf("%d events left, %v", i, err)
	}
	i = len(wall)
	if err := r.back(t.Context(), uint64(i), func(e *ledger.Event) bool {
		i--
		if d := e.DecidedAt.Sub(wall[i]); d > clockSlack || d < -clockSlack {
			t.Errorf("event %d says %v, and the system said %v", i, e.DecidedAt, wall[i])
		}
		return true
	}); err != nil {
		t.Fatal(err)
	}
	state, err := r.state(context.Background())
	if err != nil || !state.Replicas[ledger.Subject{Registry: "r", Region: "x"}].Drain.DecidedAt.Equal(want[len(want)-1]) {
		t.Errorf("the state is of another time: %+v, %v", state, err)
	}
	if err := r.store.Close(); err != nil {
		t.Fatal(err)
	}
}

// A process that was killed has written its table to the end, after it saved for the
// last time. One entry that cannot be true leads nowhere.
func TestClockGoesOnFromATable(t *testing.T) {
	const back = time.Hour // by which the clock was set while nothing ran
	for _, tt := range []struct {
		name string
		seen []time.Duration // after what was saved
		want time.Duration
	}{
		{"nothing newer", []time.Duration{-time.Minute}, 0},
		{"met since", []time.Duration{-time.Minute, 20 * time.Second, 5 * time.Second}, 20 * time.Second},
		{"an entry of the far future", []time.Duration{20 * time.Second, 20 * 365 * 24 * time.Hour}, 20 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFakeClock(noon())
			store, err := ledger.Open(filepath.Join(t.TempDir(), "ledger.db"), ledger.Options{Now: f.says})
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			saved := &savedHolds{savedHead: savedHead{Clock: clockMark{Steady: noon().Add(back)}}}
			left := &activity.Left{Holds: decide.NewHolds(1000)}
			for i, after := range tt.seen {
				left.Holds.Put(decide.NewKey(7, 1, uint64(i), 0), decide.Entry{LastSeen: uint32(saved.Clock.Steady.Add(after).Unix())})
			}
			a := &App{clock: f.clock, record: &record{store: &gate{store: store}, clock: f.clock}}
			a.goOn(t.Context(), saved, left)
			if got := f.now().Sub(saved.Clock.Steady); got != tt.want {
				t.Errorf("goes on %v after what was saved, want %v", got, tt.want)
			}
		})
	}
}
