package decide

import (
	"sync"
	"testing"
)

// world is one registry of three replicas as a test moves it.
type world struct {
	t       *testing.T
	h       *Holds
	s       Situation
	history History
	key     Key
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, h: NewHolds(1000), key: NewKey(1, 7, 0xcb0071, 1)}
	var identity [MaxRegions]uint8
	for i := range identity {
		identity[i] = uint8(i)
	}
	w.s = Situation{
		Rank: []uint8{0, 1, 2}, Masks: Masks{Routed: 0b111, Up: 0b111}, Configured: 0b111,
		Policy: Policy{Idle: 300, Hold: 900, Renewals: 4}, History: &w.history, Stable: &identity, Local: &identity,
	}
	return w
}

// change publishes new masks at a moment.
func (w *world) change(at uint32, m Masks) {
	w.history.Note(Change{At: at, Masks: m}, w.s.Masks.Up&^m.Up != 0)
	w.s.Masks = m
}

// ask serves the unit and checks the answer.
func (w *world) ask(now uint32, want uint8) {
	w.t.Helper()
	base, _ := Choose(w.s.Rank, w.s.Masks, w.s.AllDown)
	if got, _ := w.h.Serve(w.key, base, now, &w.s); got != want {
		w.t.Errorf("at %d: region %d, want %d (base %d)", now, got, want, base)
	}
}

func TestAnActiveUnitIsHeldThroughADrain(t *testing.T) {
	w := newWorld(t)
	w.ask(1000, 0)
	w.change(1100, Masks{Routed: 0b110, Up: 0b111}) // 0 is drained
	w.ask(1101, 0)
	w.ask(1999, 0) // held until 1100+900; the next period begins, for it was active
	for now := uint32(2000); now < 1100+4*900; now += 200 {
		w.ask(now, 0)
	}
	w.ask(1100+4*900, 1) // four periods are all there are
	w.ask(1100+4*900+1, 1)
}

func TestAnIdleUnitMoves(t *testing.T) {
	w := newWorld(t)
	w.ask(1000, 0)
	w.change(1301, Masks{Routed: 0b110, Up: 0b111})
	w.ask(1302, 1)
}

func TestAHoldEndsWithSilence(t *testing.T) {
	w := newWorld(t)
	w.ask(1000, 0)
	w.change(1100, Masks{Routed: 0b110, Up: 0b111})
	w.ask(1200, 0)
	w.ask(2000, 1) // due at 2000, and silent for longer than the idle time before
}

func TestADeadReplicaIsLeftAtOnce(t *testing.T) {
	w := newWorld(t)
	w.ask(1000, 0)
	w.change(1010, Masks{Routed: 0b111, Up: 0b110})
	w.ask(1011, 1)
	w.change(1700, Masks{Routed: 0b111, Up: 0b111}) // back, after its recovery hold
	w.ask(1701, 0)                                  // silent for 690 s: not held
	w.ask(1702, 0)
}

func TestNobodyGoesBackByAHold(t *testing.T) {
	w := newWorld(t)
	w.ask(1000, 0)
	w.change(1100, Masks{Routed: 0b110, Up: 0b111}) // drained: held on 0
	w.ask(1150, 0)
	w.change(1200, Masks{Routed: 0b110, Up: 0b110}) // and dead
	w.change(1230, Masks{Routed: 0b110, Up: 0b111}) // and well again, all between two queries
	w.ask(1250, 1)
	w.ask(1260, 1)
}

func TestARecoveryDoesNotPullActiveUnitsBack(t *testing.T) {
	w := newWorld(t)
	w.change(900, Masks{Routed: 0b111, Up: 0b110})
	w.ask(1000, 1)
	w.change(1200, Masks{Routed: 0b111, Up: 0b111})
	w.ask(1201, 1)
	w.ask(1400, 1)
	w.ask(1400+901, 0)
}

// A unit that never falls silent goes back to the recovered replica after twice the
// periods, one that does after the periods, with its first silence.
func TestOvertimeEndsWithSilence(t *testing.T) {
	const event, period = 1200, 900
	w := newWorld(t)
	w.change(900, Masks{Routed: 0b111, Up: 0b110})
	w.ask(1150, 1)
	w.change(event, Masks{Routed: 0b111, Up: 0b111})
	at := uint32(event)
	for ; at < event+8*period; at += 60 {
		w.ask(at, 1)
	}
	w.ask(at, 0)

	w = newWorld(t)
	w.change(900, Masks{Routed: 0b111, Up: 0b110})
	w.ask(1150, 1)
	w.change(event, Masks{Routed: 0b111, Up: 0b111})
	for at = event; at <= event+4*period; at += 60 {
		w.ask(at, 1)
	}
	w.ask(at+200, 1)
	w.ask(at+501, 0)
}

// There is no overtime on a replica that is to be emptied.
func TestADrainHasNoOvertime(t *testing.T) {
	w := newWorld(t)
	w.ask(1000, 0)
	w.change(1010, Masks{Routed: 0b110, Up: 0b111})
	for at := uint32(1020); at < 1010+4*900; at += 60 {
		w.ask(at, 0)
	}
	w.ask(1010+4*900, 1)
}

// A drain that comes in the overtime ends it with the period.
func TestADrainEndsOvertime(t *testing.T) {
	w := newWorld(t)
	w.change(900, Masks{Routed: 0b111, Up: 0b110})
	w.ask(1150, 1)
	w.change(1200, Masks{Routed: 0b111, Up: 0b111})
	at := uint32(1200)
	for ; at < 1200+5*900; at += 60 {
		w.ask(at, 1)
	}
	w.ask(at, 1)
	w.change(at+1, Masks{Routed: 0b101, Up: 0b111})
	for ; at < 1200+6*900; at += 60 {
		w.ask(at, 1)
	}
	w.ask(1200+6*900, 0)
}

func TestADeadlineCutsAHold(t *testing.T) {
	w := newWorld(t)
	w.ask(1000, 0)
	w.change(1010, Masks{Routed: 0b110, Up: 0b111})
	w.ask(1011, 0)
	w.s.Deadlines = &Deadlines{0: 1100}
	w.ask(1099, 0)
	w.ask(1100, 1)
}

func TestAReplacedConfigurationIsAChangeToo(t *testing.T) {
	w := newWorld(t)
	w.ask(1000, 0)
	w.s.Rank, w.s.Swaps = []uint8{1, 0, 2}, []uint32{500, 1100}
	w.ask(1101, 0)
	w.ask(1101+900+300, 1)
}

func TestARemovedReplicaIsLeftAtOnce(t *testing.T) {
	w := newWorld(t)
	w.ask(1000, 0)
	w.s.Configured, w.s.Swaps = 0b110, []uint32{1100}
	w.change(1100, Masks{Routed: 0b110, Up: 0b110})
	w.ask(1101, 1)
}

// More changes than the history remembers, all within the idle time: hold.
func TestForgottenChangesHold(t *testing.T) {
	w := newWorld(t)
	w.ask(1000, 0)
	for i := range uint32(20) {
		m := Masks{Routed: 0b110, Up: 0b111}
		if i%2 == 1 {
			m.Routed = 0b010
		}
		w.change(1010+i, m)
	}
	w.ask(1040, 0)
}

func TestServeDoesNotAllocate(t *testing.T) {
	w := newWorld(t)
	w.ask(1000, 0)
	w.change(1010, Masks{Routed: 0b110, Up: 0b111})
	base, _ := Choose(w.s.Rank, w.s.Masks, w.s.AllDown)
	now := uint32(1011)
	if n := testing.AllocsPerRun(100, func() {
		w.h.Serve(w.key, base, now, &w.s)
		now++
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	w.s.History = &History{}
	if n := testing.AllocsPerRun(100, func() { // a new unit each time
		now++
		w.h.Serve(NewKey(1, 7, uint64(now), 2), base, now, &w.s)
	}); n != 0 {
		t.Errorf("%v allocations for new units", n)
	}
}

// A flood of units met once evicts nobody who asks repeatedly.
func TestAFloodEvictsNobody(t *testing.T) {
	w := newWorld(t)
	w.h = NewHolds(10_000)
	var known []Key
	for i := range uint64(2000) {
		known = append(known, NewKey(1, 7, i, 1))
	}
	for now := uint32(1000); now < 1003; now++ {
		for _, k := range known {
			w.h.Serve(k, 0, now, &w.s)
		}
	}
	for i := range uint64(1_000_000) {
		w.h.Serve(NewKey(1, 7, i, 2), 0, 1003+uint32(i/10_000), &w.s)
	}
	lost := 0
	for _, k := range known {
		if _, ok := w.h.Get(k); !ok {
			lost++
		}
	}
	// A bucket that many known units fall into protects all but one of them.
	if lost > len(known)/1000 {
		t.Errorf("%d of %d units that were met repeatedly are forgotten", lost, len(known))
	}
}

func TestEntryPacks(t *testing.T) {
	for _, e := range []Entry{
		{},
		{LastSeen: 1_800_000_000, Region: 63, Renewals: 15, Standing: Qualified, Until: 1_800_000_900},
		{LastSeen: 1, Until: 1 + restMask, Region: 1},
	} {
		if got := unpack(e.pack()); got != e {
			t.Errorf("%+v unpacks as %+v", e, got)
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	w := newWorld(t)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			situation := w.s // Serve writes to it
			for i := range 20_000 {
				region, _ := w.h.Serve(NewKey(1, 7, uint64(i%50), 1), uint8((i+g)%3), uint32(1000+i/100), &situation)
				if region > 2 {
					t.Errorf("region %d", region)
					return
				}
			}
		})
	}
	wg.Go(func() {
		for i := range uint32(1000) {
			w.history.Note(Change{At: 1000 + i/5, Masks: Masks{Routed: 0b111, Up: Mask(i%7) + 1}}, true)
			w.h.Each(func(Key, Entry) {})
		}
	})
	wg.Wait()
}

func BenchmarkServe(b *testing.B) {
	w := newWorld(&testing.T{})
	w.h = NewHolds(200_000)
	b.Run("one-unit", func(b *testing.B) {
		for b.Loop() {
			w.h.Serve(w.key, 0, 1000, &w.s)
		}
	})
	b.Run("one-unit-each-second", func(b *testing.B) {
		now := uint32(1000)
		for b.Loop() {
			now++
			w.h.Serve(w.key, 0, now, &w.s)
		}
	})
	b.Run("newcomers", func(b *testing.B) {
		h := NewHolds(1000) // in the caches, so that the work is seen
		i := uint64(0)
		for b.Loop() {
			i++
			h.Serve(NewKey(1, 7, i, 2), 0, 1000+uint32(i>>10), &w.s)
		}
	})
	keys := make([]Key, 1<<18)
	for i := range keys {
		keys[i] = NewKey(1, 7, uint64(i)*2654435761%200_000, 1)
	}
	b.Run("200k-units", func(b *testing.B) {
		i := 0
		for b.Loop() {
			w.h.Serve(keys[i&(1<<18-1)], 0, 1000, &w.s)
			i++
		}
	})
	b.Run("held", func(b *testing.B) {
		w.s.Masks = Masks{Routed: 0b110, Up: 0b111}
		w.history.Note(Change{At: 1001, Masks: w.s.Masks}, false)
		for b.Loop() {
			w.h.Serve(w.key, 1, 1002, &w.s)
		}
	})
}

// A common outage is over, and the nearest replica comes back later than another: its
// clients are not held on that other one.
func TestTheEndOfAnOutageHoldsNobody(t *testing.T) {
	w := newWorld(t)
	w.ask(1000, 0)
	w.change(1010, Masks{Routed: 0b111})
	w.ask(1015, 0)
	free := func(at uint32, m Masks) {
		w.history.Note(Change{At: at, Masks: m, Free: true}, false)
		w.s.Masks = m
	}
	free(1030, Masks{Routed: 0b111, Up: 0b010})
	w.ask(1031, 1)
	free(1040, Masks{Routed: 0b111, Up: 0b111})
	w.ask(1041, 0)
}

// Deaths that turn out to be a common outage end no hold: the replica that a client
// was held on comes back, and so does the client.
func TestAHoldOutlivesACommonOutage(t *testing.T) {
	w := newWorld(t)
	w.change(900, Masks{Routed: 0b111, Up: 0b110})
	w.ask(1000, 1)
	w.change(1100, Masks{Routed: 0b111, Up: 0b111}) // 0 is back: held on 1
	w.ask(1110, 1)
	w.change(1120, Masks{Routed: 0b111, Up: 0b101})
	w.change(1122, Masks{Routed: 0b111})
	for r := range uint8(3) {
		w.history.SetDown(r, 0)
	}
	w.ask(1125, 1)
	w.history.Note(Change{At: 1140, Masks: Masks{Routed: 0b111, Up: 0b111}, Free: true}, false)
	w.s.Masks = Masks{Routed: 0b111, Up: 0b111}
	w.ask(1145, 1)
	w.history.SetDown(1, 1146) // it did die after all
	w.ask(1147, 0)
}

// A unit that is met twice in the second of a change is held, and has the standing of one
// that is, although it was met in one second only.
func TestHeldInItsFirstSecond(t *testing.T) {
	w := newWorld(t)
	w.ask(1000, 0)
	w.change(1000, Masks{Routed: 0b110, Up: 0b111})
	w.ask(1000, 0)
	if e, _ := w.h.Get(w.key); e.Standing != Returned {
		t.Errorf("%+v", e)
	}
}

// A hold that is longer than units are kept is that of a unit that keeps its standing.
func TestALongHoldKeepsItsStanding(t *testing.T) {
	w := newWorld(t)
	w.change(900, Masks{Routed: 0b110, Up: 0b111})
	w.h.Put(w.key, Entry{LastSeen: 1000, Until: 9000, Region: 0, Renewals: 1, Standing: Qualified})
	w.ask(1000+2*Keep-1000, 0)
	if e, _ := w.h.Get(w.key); e.Standing != Qualified {
		t.Errorf("%+v", e)
	}
}

// A client that was held on a drained replica is so still when an outage, in which that
// was the last resort, is over: for it nothing happened.
func TestAHoldOutlivesALastResort(t *testing.T) {
	w := newWorld(t)
	w.ask(1000, 0)
	w.change(1010, Masks{Routed: 0b110, Up: 0b111}) // drained
	w.change(1020, Masks{Routed: 0b110, Up: 0b001, Resort: 0b001})
	w.ask(1030, 0)
	back := Masks{Routed: 0b110, Up: 0b111}
	w.history.Note(Change{At: 1040, Masks: back, Free: true}, false)
	w.s.Masks = back
	w.ask(1050, 0)
	w.ask(1300, 0)
	// Who came in between was given it for want of a better one.
	w.key = NewKey(1, 7, 0xcb0072, 1)
	w.s.Masks = Masks{Routed: 0b110, Up: 0b001, Resort: 0b001}
	w.ask(1035, 0)
	w.s.Masks = back
	w.ask(1050, 1)
}
