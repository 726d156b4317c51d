package ledger

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"time"
)

func TestEventsRange(t *testing.T) {
	f := mustOpen(t, tempPath(t), Options{})
	mustAppend(t, f, make5()...)
	for _, tc := range []struct {
		from        uint64
		limit       int
		first, last uint64
	}{{0, 0, 1, 5}, {1, 2, 1, 2}, {3, 9, 3, 5}, {5, 1, 5, 5}, {6, 1, 0, 0}, {1 << 63, 1, 0, 0}, {2, -1, 2, 5}} {
		events, err := f.Events(t.Context(), tc.from, tc.limit)
		if err != nil {
			t.Fatal(err)
		}
		if tc.first == 0 {
			if len(events) != 0 {
				t.Errorf("from %d: %v", tc.from, events)
			}
			continue
		}
		if len(events) == 0 || events[0].Seq != tc.first || events[len(events)-1].Seq != tc.last {
			t.Errorf("from %d limit %d: %v", tc.from, tc.limit, events)
		}
	}
}

// bbolt shows a transaction when it is written, before it is synced: what is not
// published yet may still be lost, and is not shown.
func TestReadEndsAtWhatIsDurable(t *testing.T) {
	f := mustOpen(t, tempPath(t), Options{})
	mustAppend(t, f, make5()...)
	if events, err := f.read(2, 3, 100); err != nil || len(events) != 2 {
		t.Errorf("%v %v", events, err)
	}
}

func make5() []Event {
	events := make([]Event, 5)
	for i := range events {
		events[i].Kind = Start
	}
	return events
}

// receive takes the next event, which must be number want.
func receive(t *testing.T, events <-chan Event, want uint64) {
	t.Helper()
	select {
	case e, ok := <-events:
		if !ok || e.Seq != want {
			t.Fatalf("got event %d (open: %v), want %d", e.Seq, ok, want)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("event %d does not come", want)
	}
}

// ended demands that a watch is over.
func ended(t *testing.T, events <-chan Event) {
	t.Helper()
	select {
	case e, ok := <-events:
		if ok {
			t.Fatalf("got event %d, want the end", e.Seq)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the channel is not closed")
	}
}

func TestWatch(t *testing.T) {
	f := mustOpen(t, tempPath(t), Options{})
	empty := f.Watch(t.Context(), 0)
	mustAppend(t, f, make5()...)
	ctx, cancel := context.WithCancel(t.Context())
	all, fromThree, ahead := f.Watch(ctx, 1), f.Watch(ctx, 3), f.Watch(ctx, 7)
	for seq := uint64(1); seq <= 5; seq++ {
		receive(t, empty, seq)
		receive(t, all, seq)
		if seq >= 3 {
			receive(t, fromThree, seq)
		}
	}
	mustAppend(t, f, make5()[:2]...)
	for _, w := range []<-chan Event{empty, all, fromThree} {
		receive(t, w, 6)
		receive(t, w, 7)
	}
	receive(t, ahead, 7)
	cancel()
	ended(t, all)
	ended(t, ahead)
	mustAppend(t, f, Event{Kind: Start})
	receive(t, empty, 8)
	mustClose(t, f)
	ended(t, empty)
}

// Who does not receive holds up nobody, and still gets everything.
func TestWatchSlowReceiver(t *testing.T) {
	f := mustOpen(t, tempPath(t), Options{})
	slow := f.Watch(t.Context(), 1)
	const total = 3 * watchBatch
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for range watchBatch {
				if _, err := f.Append(context.Background(), 0, Event{Kind: Start}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	quick := f.Watch(t.Context(), 1)
	for seq := range uint64(total) {
		receive(t, quick, seq+1)
	}
	wg.Wait()
	for seq := range uint64(total) {
		receive(t, slow, seq+1)
	}
}

// A watch that has fallen behind what is kept ends: a gap is never passed over.
func TestWatchEndsWhereTheLogIsGone(t *testing.T) {
	f := mustOpen(t, tempPath(t), Options{MaxEvents: 10})
	behind := f.Watch(t.Context(), 1)
	mustAppend(t, f, Event{Kind: Start})
	receive(t, behind, 1)
	for range 2 * compactEvery / 64 {
		batch := make([]Event, 64)
		for i := range batch {
			batch[i] = Event{Kind: Start, Why: strconv.Itoa(i)}
		}
		mustAppend(t, f, batch...)
	}
	if s := settled(t, f); s.First < 1000 {
		t.Fatalf("nothing deleted: %+v", s)
	}
	next := uint64(2) // what it had read already still comes, without a gap
	for e := range behind {
		if e.Seq != next {
			t.Fatalf("event %d after %d", e.Seq, next-1)
		}
		next++
	}
	ended(t, f.Watch(t.Context(), 5))
	first := settled(t, f).First
	receive(t, f.Watch(t.Context(), 0), first)
	receive(t, f.Watch(t.Context(), first+1), first+1)
}
