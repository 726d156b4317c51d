package decide

import (
	"net/netip"
	"runtime"
	"testing"
)

// A unit whose replica is gone from the configuration is moved, and so is one whose
// region has no number any more.
func TestAReplicaThatIsGone(t *testing.T) {
	w := newWorld(t)
	w.ask(1000, 0)
	w.s.Configured, w.s.Masks, w.s.Rank = 0b110, Masks{Routed: 0b110, Up: 0b110}, []uint8{1, 2}
	w.ask(1001, 1)

	w = newWorld(t)
	w.ask(1000, 0)
	local := *w.s.Local
	local[0] = None
	w.s.Local, w.s.Rank, w.s.Configured, w.s.Masks = &local, []uint8{1, 2}, 0b110, Masks{Routed: 0b110, Up: 0b110}
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

// A newcomer that gets no way costs its source nothing.
func TestARefusedNewcomerIsNotCharged(t *testing.T) {
	w := newWorld(t)
	w.h = HoldsIn(make([]Bucket, 1))
	w.s.Asker = netip.MustParseAddr("192.0.2.1")
	for i := range ways {
		w.h.buckets[0].ways[i].give(NewKey(1, 7, uint64(i), 1), Entry{LastSeen: 1000, Standing: Qualified})
	}
	charged := func() (n uint64) {
		for i := range w.h.sources {
			_, current := counted(w.h.sources[i].Load(), 1001)
			n += current
		}
		return n
	}
	w.h.Serve(NewKey(1, 7, ways, 1), 0, 1001, &w.s)
	if n := charged(); n != 0 {
		t.Errorf("%d units are charged to the source of a newcomer without a way", n)
	}
	w.h.buckets[0].ways[0].key.Store(0)
	w.h.Serve(NewKey(1, 7, ways, 1), 0, 1001, &w.s)
	if n := charged(); n != 1 {
		t.Errorf("%d units are charged to the source of one newcomer", n)
	}
}

// Where holds are long, a unit matters for longer than [Keep]: one may begin with a
// change an idle time after it was seen.
func TestAUnitMattersAsLongAsAHoldMay(t *testing.T) {
	w := newWorld(t)
	w.h = HoldsIn(make([]Bucket, 1))
	w.s.Policy.Hold = 24 * 3600
	for range 3 {
		w.ask(1000, 0)
		w.ask(1001, 0)
		w.ask(1002, 0)
	}
	w.change(1100, Masks{Routed: 0b110, Up: 0b111})
	for i := range uint64(100) {
		w.h.Serve(NewKey(1, 7, i, 2), 1, 1002+2*Keep+uint32(i), &w.s)
	}
	w.ask(1002+3*Keep, 0)
}

// A unit that comes back after it has ceased to matter has to show again that it asks.
func TestStandingEndsWithALongSilence(t *testing.T) {
	w := newWorld(t)
	for i, want := range []Standing{Newcomer, Returned, Qualified, Qualified} {
		w.ask(1000+uint32(i), 0)
		if e, _ := w.h.Get(w.key); e.Standing != want {
			t.Errorf("met %d times: standing %d, want %d", i+1, e.Standing, want)
		}
	}
	w.ask(1003+Keep, 0)
	if e, _ := w.h.Get(w.key); e.Standing != Qualified {
		t.Errorf("after an hour: standing %d", e.Standing)
	}
	w.ask(1003+2*Keep+1, 0)
	if e, _ := w.h.Get(w.key); e.Standing != Newcomer {
		t.Errorf("after more than an hour: standing %d", e.Standing)
	}
}

// A unit whose hold begins in the very second in which it was met first is held, and so
// keeps its way; one that was held when it was saved without a standing does, too.
func TestAHoldIsStanding(t *testing.T) {
	w := newWorld(t)
	w.ask(1000, 0)
	w.change(1000, Masks{Routed: 0b110, Up: 0b111})
	w.ask(1000, 0)
	if e, _ := w.h.Get(w.key); e.Standing != Returned || e.Until != 1900 {
		t.Errorf("held: %+v", e)
	}
	loaded := NewHolds(1)
	loaded.Put(w.key, Entry{LastSeen: 1000, Until: 1900, Region: 1})
	if e, _ := loaded.Get(w.key); e.Standing != Returned {
		t.Errorf("loaded: %+v", e)
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
	h.Note(Change{At: 1, Masks: Masks{Routed: 1, Up: 1}}, false)
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
