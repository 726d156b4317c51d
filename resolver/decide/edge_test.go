package decide

import (
	"runtime"
	"testing"
)

// A unit whose replica is gone from the configuration is moved, and so is one whose
// region has no number any more.
func TestAReplicaThatIsGone(t *testing.T) {
	w := newWorld(t)
	w.ask(1000, 0)
	w.s.Configured, w.s.Masks, w.s.Rank = 0b110, Masks{0b110, 0b110}, []uint8{1, 2}
	w.ask(1001, 1)

	w = newWorld(t)
	w.ask(1000, 0)
	local := *w.s.Local
	local[0] = None
	w.s.Local, w.s.Rank, w.s.Configured, w.s.Masks = &local, []uint8{1, 2}, 0b110, Masks{0b110, 0b110}
	if region, e, held := w.h.Peek(w.key, 1, 1001, &w.s); region != 1 || held || e.Until != 0 {
		t.Errorf("region %d, held %v, %+v", region, held, e)
	}
	w.ask(1001, 1)
}

// A unit that is ranked otherwise now, for no reason that the registry knows of, moves.
func TestAUnitThatIsRankedOtherwise(t *testing.T) {
	w := newWorld(t)
	w.ask(1000, 0)
	w.s.Rank = []uint8{1, 0, 2}
	w.ask(1001, 1)
}

func TestOutcomesHaveNames(t *testing.T) {
	for o, want := range map[Outcome]string{Nearest: "nearest", AllDown: "all-down", Held: "held", NoneUp: "none-up", NoneRouted: "none-routed"} {
		if got := o.String(); got != want {
			t.Errorf("%d is %q, want %q", o, got, want)
		}
	}
}

// A unit that another worker has put into the table meanwhile keeps its entry.
func TestInsertOfWhatIsThere(t *testing.T) {
	h := NewHolds(ways)
	k := NewKey(1, 7, 1, 1)
	h.Put(k, Entry{LastSeen: 1000, Region: 3})
	h.Put(k, Entry{LastSeen: 1001, Region: 4})
	if e, ok := h.Get(k); !ok || e.Region != 3 {
		t.Errorf("%+v, %v, want what was there", e, ok)
	}
	n := 0
	h.Each(func(Key, Entry) { n++ })
	if n != 1 {
		t.Errorf("the unit is there %d times", n)
	}
}

// A bucket whose ways are all of units that qualified and may matter, which only a race
// can make, takes in nobody, loses nobody, and says so.
func TestAFullBucket(t *testing.T) {
	w := newWorld(t)
	w.h = HoldsIn(make([]Bucket, 1))
	for i := range ways {
		w.h.buckets[0].ways[i].give(NewKey(1, 7, uint64(i), 1), Entry{LastSeen: 1000, Standing: Qualified})
	}
	stranger := NewKey(1, 7, ways, 1)
	for _, now := range []uint32{1000, 1001, 1000 + Keep} {
		w.h.Serve(stranger, 0, now, &w.s)
		if _, ok := w.h.Get(stranger); ok {
			t.Errorf("at %d a unit that may matter was evicted", now)
		}
	}
	if l := w.h.Losses(); l != (Losses{Full: 3}) {
		t.Errorf("%+v, want 3 newcomers without a way", l)
	}
	w.h.Serve(stranger, 0, 1001+Keep, &w.s)
	if _, ok := w.h.Get(stranger); !ok {
		t.Error("a unit that does not matter any more was kept")
	}
	if l := w.h.Losses(); l != (Losses{Full: 3}) {
		t.Errorf("%+v, though nobody lost anything", l)
	}
}

// Who finds a bucket locked lets its holder go on, and has the lock after it.
func TestALockedBucketIsWaitedFor(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // spinning and yielding then are the only ways on
	var b Bucket
	version := b.acquire()
	got := make(chan uint32)
	waiting := make(chan struct{})
	go func() {
		close(waiting)
		got <- b.acquire()
	}()
	<-waiting
	for range 10 {
		runtime.Gosched() // the other spins until it yields
	}
	b.release(version)
	if next := <-got; next != version+2 {
		t.Errorf("version %d after %d", next, version)
	}
}

// A reader of the history waits for a write that is under way.
func TestHistoryIsReadWhole(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var h History
	h.Note(Change{At: 1, Masks: Masks{1, 1}}, false)
	h.version.Add(1) // as Note begins
	got := make(chan uint32)
	reading := make(chan struct{})
	go func() {
		close(reading)
		_, _, total := h.read()
		got <- total
	}()
	<-reading
	runtime.Gosched() // the reader goes on until it is preempted
	h.count.Store(2)
	h.version.Add(1)
	if total := <-got; total != 2 {
		t.Errorf("%d changes were read in the middle of a write, want 2 after it", total)
	}
}
