package ledger

import (
	"errors"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.etcd.io/bbolt"
)

// refold folds the log that is left onto the base: what the state must be.
func refold(t *testing.T, f *File) State {
	t.Helper()
	var s State
	err := f.view(func(tx *bbolt.Tx) (err error) {
		if s, err = loadState(tx, bucketBase); err != nil {
			return err
		}
		return forEach(tx, bucketEvents, func(_, payload []byte) error {
			e, err := decodeEvent(payload)
			if e.Seq != s.Seq+1 {
				t.Errorf("event %d follows %d", e.Seq, s.Seq)
			}
			s.Apply(e)
			return err
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// settled waits for the end of compaction.
func settled(t *testing.T, f *File) Stats {
	t.Helper()
	var s Stats
	poll(t, "compaction", func() (ok bool) {
		var err error
		s, err = f.Stats()
		return err == nil && !s.Compacting
	})
	if s.CompactErr != nil {
		t.Fatal(s.CompactErr)
	}
	return s
}

func diffState(a, b State) string { return cmp.Diff(a, b, cmpopts.EquateEmpty()) }

// After every append, with and without a restart and compaction in between, the
// state in memory, the state in the file, the fold of the log onto the base, and
// the fold of everything a caller was ever told are the same.
func TestStateIsTheFoldOfTheLog(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name      string
		maxEvents int
		steps     int
		forgets   bool
	}{
		{"nothing deleted", 1 << 20, 200, false},
		{"forty events kept", 40, 200, true},
		{"one event kept", 1, 200, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r, clk, path := rand.New(rand.NewPCG(7, uint64(tc.maxEvents))), newClock(), tempPath(t)
			o := Options{Now: clk.now, MaxEvents: tc.maxEvents, Retain: 2 * time.Hour}
			f := mustOpen(t, path, o)
			var told State
			steps := tc.steps
			if long() {
				steps *= 10
			}
			for range steps {
				clk.move(time.Duration(r.IntN(60)) * time.Second)
				events := make([]Event, 1+r.IntN(4))
				for i := range events {
					events[i] = randomEvent(r, clk.now())
				}
				for _, e := range mustAppend(t, f, events...) {
					told.Apply(e)
				}
				if r.IntN(10) == 0 { // compaction starts with Open
					mustClose(t, f)
					f = mustOpen(t, path, o)
					if s := settled(t, f); s.Last-s.First >= uint64(o.MaxEvents) {
						t.Fatalf("events %d to %d are kept, want %d", s.First, s.Last, o.MaxEvents)
					}
				}
				state := mustState(t, f)
				if d := diffState(refold(t, f), state); d != "" {
					t.Fatalf("base and log (-) and state (+) differ:\n%s", d)
				}
				if tc.forgets { // what is long up may be forgotten
					maps.DeleteFunc(told.Health, func(k string, _ HealthState) bool { _, ok := state.Health[k]; return !ok })
				}
				if d := diffState(told, state); d != "" {
					t.Fatalf("what was told (-) and state (+) differ:\n%s", d)
				}
				var stored State
				if err := f.view(func(tx *bbolt.Tx) (err error) { stored, _, err = load(tx); return err }); err != nil {
					t.Fatal(err)
				}
				if d := diffState(stored, state); d != "" {
					t.Fatalf("state in the file (-) and in memory (+) differ:\n%s", d)
				}
			}
		})
	}
}

// What Append returns is to the last bit what Events reads and a Watch sends.
func TestEventsReadBackAsTold(t *testing.T) {
	r, clk := rand.New(rand.NewPCG(1, 2)), newClock()
	f := mustOpen(t, tempPath(t), Options{Now: clk.now})
	var told []Event
	for range 200 {
		clk.move(time.Duration(r.Int64N(int64(time.Minute))))
		told = append(told, mustAppend(t, f, randomEvent(r, clk.now()))...)
	}
	read, err := f.Events(t.Context(), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(told, read); d != "" {
		t.Error(d)
	}
	for i, e := range told {
		if e.Routing == nil && e != read[i] {
			t.Errorf("event %d differs by ==: a time with a zone or a monotonic reading", e.Seq)
		}
	}
}

// Applying a stream twice, or with an overlap, is applying it once.
func TestApplyIsDeterministic(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		var a, b State
		var events []Event
		for i := range r.IntN(60) {
			e := randomEvent(r, newClock().now())
			e.Seq = uint64(i + 1)
			events = append(events, e)
			a.Apply(e)
			b.Apply(e)
			for _, old := range events[r.IntN(len(events)):] {
				b.Apply(old)
			}
		}
		if d := diffState(a, b); d != "" {
			t.Fatal(d)
		}
		if d := diffState(a, a.Clone()); d != "" {
			t.Fatal(d)
		}
	}
}

func TestConflict(t *testing.T) {
	f := mustOpen(t, tempPath(t), Options{})
	mustAppend(t, f, Event{Kind: Start}, Event{Kind: Start})
	if _, err := f.Append(t.Context(), 1, Event{Kind: Start}); !errors.Is(err, ErrConflict) {
		t.Fatalf("after 1 of 2: %v", err)
	}
	if _, err := f.Append(t.Context(), 3, Event{Kind: Start}); !errors.Is(err, ErrConflict) {
		t.Fatalf("after 3 of 2: %v", err)
	}
	stored, err := f.Append(t.Context(), 2, Event{Kind: Start}, Event{Kind: Start})
	if err != nil || stored[0].Seq != 3 || stored[1].Seq != 4 {
		t.Fatalf("after 2 of 2: %v %v", stored, err)
	}
	if _, err := f.Append(t.Context(), 2); !errors.Is(err, ErrConflict) {
		t.Fatalf("no events after 2 of 4: %v", err)
	}
}
