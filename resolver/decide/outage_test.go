package decide

import (
	"math/rand/v2"
	"testing"
)

// downs are the facts of a test: when replicas went down.
type downs struct {
	since           map[uint8]uint32
	probe, recovery uint32
}

func (d *downs) Since(region uint8) uint32   { return d.since[region] }
func (d *downs) Times(Mask) (uint32, uint32) { return d.probe, d.recovery }

// outageWorld is one registry of three replicas with an outage.
type outageWorld struct {
	t       *testing.T
	o       Outage
	st      Condition
	masks   Masks
	facts   downs
	history History
	free    bool // of the last change
}

func newOutageWorld(t *testing.T) *outageWorld {
	t.Helper()
	return &outageWorld{
		t: t, st: Condition{Routed: 0b111, Up: 0b111}, masks: Masks{Routed: 0b111, Up: 0b111},
		facts: downs{since: make(map[uint8]uint32), probe: 7, recovery: 600},
	}
}

// at lets change happen and publishes what follows.
func (w *outageWorld) at(now uint32, change func()) {
	change()
	w.publish(now)
}

func (w *outageWorld) publish(now uint32) {
	was := w.masks
	if !w.o.Active() && w.st.Routed&w.st.Up != 0 {
		w.masks, w.free = Masks{Routed: w.st.Routed, Up: w.st.Up}, false
	} else {
		w.masks, w.free = w.o.Step(w.st, was, now, &w.facts)
	}
	if w.masks != was {
		w.history.Note(Change{At: now, Masks: w.masks, Free: w.free}, was.Up&^w.masks.Up != 0)
	}
	w.o.Tell(&w.history, 300)
}

func (w *outageWorld) down(now uint32, region uint8) {
	w.at(now, func() {
		w.st.Up, w.st.Passing = w.st.Up.With(region, false), w.st.Passing.With(region, false)
		w.facts.since[region] = now
	})
}

func (w *outageWorld) passes(now uint32, region uint8, ok bool) {
	w.at(now, func() { w.st.Passing = w.st.Passing.With(region, ok) })
}

func (w *outageWorld) up(now uint32, region uint8) {
	w.at(now, func() { w.st.Up, w.st.Passing = w.st.Up.With(region, true), w.st.Passing.With(region, false) })
}

// want checks what a client gets whose rank is 0, 1, 2.
func (w *outageWorld) want(region uint8, o Outcome) {
	w.t.Helper()
	if got, outcome := Choose([]uint8{0, 1, 2}, w.masks, ServeNearest); got != region || outcome != o {
		w.t.Errorf("%d, %v, want %d, %v (%+v)", got, outcome, region, o, w.masks)
	}
}

func TestACommonOutageEndsForAllAtOnce(t *testing.T) {
	w := newOutageWorld(t)
	w.down(1000, 1)
	w.want(0, Nearest)
	w.down(1003, 2)
	w.down(1005, 0)
	w.want(0, AllDown)
	w.passes(1022, 1, true)
	w.want(0, AllDown) // the others can have been probed last before that
	if next := w.o.Next(1022); next != 1029 {
		t.Errorf("goes on at %d", next)
	}
	w.passes(1024, 0, true)
	w.passes(1025, 2, true)
	w.publish(1029)
	w.want(0, Nearest)
	if !w.free || w.masks.Up != 0b111 {
		t.Errorf("free %v, %+v", w.free, w.masks)
	}
	for region := range uint8(3) {
		w.up(1630+uint32(region), region)
		w.want(0, Nearest)
	}
	if w.o.Active() {
		t.Errorf("not over: %+v", w.o)
	}
}

func TestWhatComesBackLaterBringsItsClientsBack(t *testing.T) {
	w := newOutageWorld(t)
	w.down(1000, 1)
	w.down(1003, 2)
	w.down(1005, 0)
	w.passes(1022, 1, true)
	w.publish(1029)
	w.want(1, Nearest)
	w.passes(1200, 0, true)
	w.want(0, Nearest)
	if !w.free {
		t.Error("clients are held on what came back first")
	}
}

func TestWhatStaysDownHasTroubleOfItsOwn(t *testing.T) {
	w := newOutageWorld(t)
	w.down(1000, 1)
	w.down(1005, 0)
	w.down(1005, 2)
	if w.history.Down(0) > 1005-300 {
		t.Errorf("a member died at %d", w.history.Down(0))
	}
	w.passes(1022, 1, true)
	w.publish(1029)
	w.publish(1629)
	if w.history.Down(0) != 1629 || w.history.Down(1) == 1000 { // whoever was held there meanwhile is not any more
		t.Errorf("died at %d and %d", w.history.Down(0), w.history.Down(1))
	}
	w.passes(1700, 0, true)
	w.want(1, Nearest)
	w.up(2300, 0)
	w.want(0, Nearest)
	if w.free {
		t.Error("a recovery like any other holds nobody")
	}
}

func TestWhatDiedLongBeforeIsNoMember(t *testing.T) {
	w := newOutageWorld(t)
	w.down(900, 0)
	w.down(1000, 1)
	w.down(1001, 2)
	w.passes(1022, 0, true)
	w.passes(1023, 1, true)
	w.publish(1029)
	w.want(1, Nearest) // 0 has its recovery hold
	if w.masks.Up != 0b010 {
		t.Errorf("%+v", w.masks)
	}
}

func TestALastResortThatWorkedAllAlong(t *testing.T) {
	for name, c := range map[string]struct {
		before func(w *outageWorld)
		want   uint8
		resort Mask
	}{
		"recovering": {func(w *outageWorld) { w.down(100, 2); w.passes(200, 2, true) }, 2, 0b100},
		"drained":    {func(w *outageWorld) { w.st.Routed, w.st.Drained = 0b011, 0b100; w.publish(200) }, 2, 0b100},
		"drained and recovering": {func(w *outageWorld) {
			w.st.Routed, w.st.Drained = 0b011, 0b100
			w.down(100, 2)
			w.passes(200, 2, true)
		}, 2, 0b100},
		"recovering before drained": {func(w *outageWorld) {
			w.st.Routed, w.st.Drained = 0b011, 0b100
			w.down(100, 1)
			w.passes(200, 1, true)
		}, 1, 0b010},
	} {
		t.Run(name, func(t *testing.T) {
			w := newOutageWorld(t)
			c.before(w)
			w.down(1000, 0)
			w.down(1001, 1)
			if w.st.Passing.Has(1) || c.resort == 0b010 {
				w.passes(1001, 1, c.resort == 0b010)
			}
			w.want(c.want, LastResort)
			if w.masks.Resort != c.resort {
				t.Errorf("%+v", w.masks)
			}
		})
	}
}

func TestOutOfRoutingIsNeverAnswered(t *testing.T) {
	w := newOutageWorld(t)
	w.at(900, func() { w.st.Routed = 0b011 }) // 2 is switched off, and well
	w.down(1000, 0)
	w.down(1001, 1)
	w.want(0, AllDown)
	w.at(1002, func() { w.st.Routed, w.st.Drained = 0, 0b011 })
	if _, o := Choose([]uint8{0, 1, 2}, w.masks, ServeNearest); o != NoneRouted {
		t.Errorf("all are out by order: %v", o)
	}
}

func TestAnOrderInAnOutageIsVoluntary(t *testing.T) {
	w := newOutageWorld(t)
	w.at(900, func() { w.st.Routed, w.st.Drained = 0b011, 0b100 })
	w.down(1000, 0)
	w.down(1001, 1)
	w.want(2, LastResort)
	w.at(1100, func() { w.st.Routed, w.st.Drained = 0b111, 0 }) // undrained
	w.want(2, Nearest)
	if w.free {
		t.Error("it holds nobody")
	}
}

func TestManualFailbackWaitsForTheOperator(t *testing.T) {
	w := newOutageWorld(t)
	w.st.Manual = true
	for region := range uint8(3) {
		w.down(1000, region)
	}
	for region := range uint8(3) {
		w.passes(1020, region, true)
	}
	w.publish(1027)
	w.want(0, LastResort)
	w.publish(5000)
	w.want(0, LastResort)
}

func TestASecondOutageIsOneToo(t *testing.T) {
	w := newOutageWorld(t)
	for round := range uint32(3) {
		begin := 1000 + 100*round
		for region := range uint8(3) {
			if round == 0 {
				w.down(begin+uint32(region), region)
			} else {
				w.passes(begin+uint32(region), region, false)
			}
		}
		w.want(0, AllDown)
		w.passes(begin+20, 2, true)
		w.passes(begin+22, 0, true)
		w.passes(begin+22, 1, true)
		w.publish(begin + 27)
		w.want(0, Nearest)
	}
	w.passes(1300, 0, false) // one alone has died
	w.want(1, Nearest)
	if w.history.Down(0) != 1300 {
		t.Errorf("died at %d", w.history.Down(0))
	}
	w.passes(1310, 0, true)
	w.want(1, Nearest)
}

// Who moved while they went down is not held there: the deaths of members that moved it
// are no reason to.
func TestGoingDownHoldsNobody(t *testing.T) {
	w := newOutageWorld(t)
	var stable [MaxRegions]uint8
	for i := range stable {
		stable[i] = uint8(i)
	}
	s := &Situation{
		Rank: []uint8{0, 1, 2}, Policy: Policy{Idle: 300, Hold: 900, Renewals: 4}, Configured: 0b111,
		History: &w.history, Stable: &stable, Local: &stable,
	}
	holds := NewHolds(100)
	give := func(now uint32, want uint8) {
		t.Helper()
		s.Masks = w.masks
		base, _ := Choose(s.Rank, w.masks, ServeNearest)
		if region, _ := holds.Serve(NewKey(1, 0, 7, 7), base, now, s); region != want {
			t.Errorf("%d at %d, want %d", region, now, want)
		}
	}
	give(990, 0)
	w.down(1000, 0)
	give(1002, 1)
	w.down(1002, 2) // in the same second
	w.down(1004, 1)
	for region := range uint8(3) {
		w.passes(1030, region, true)
	}
	w.publish(1037)
	give(1040, 0)
}

// A unit that is held is back on its replica when that is, in whatever order the replicas
// return and whether the unit asks meanwhile or not: the outage ends no hold. One whose
// replica stays down is moved for good.
func TestAnOutageEndsNoHold(t *testing.T) {
	var stable [MaxRegions]uint8
	for i := range stable {
		stable[i] = uint8(i)
	}
	for seed := range uint64(2000) {
		rng := rand.New(rand.NewPCG(seed, 3))
		w := newOutageWorld(t)
		s := &Situation{
			Rank: []uint8{0, 1, 2}, Policy: Policy{Idle: 300, Hold: 900, Renewals: 4}, Configured: 0b111,
			History: &w.history, Stable: &stable, Local: &stable,
		}
		holds := NewHolds(100)
		give := func(now uint32) uint8 {
			s.Masks, s.Missing = w.masks, w.o.Missing()
			base, _ := Choose(s.Rank, w.masks, ServeNearest)
			region, _ := holds.Serve(NewKey(1, 0, 7, 7), base, now, s)
			return region
		}
		now := uint32(10_000)
		tick := func(most int) uint32 { now += 1 + rng.Uint32N(uint32(most)); return now }
		w.at(now, func() { w.st.Routed = 0b110 })
		if got := give(tick(5)); got != 1 {
			t.Fatalf("seed %d: %d while the nearest is drained", seed, got)
		}
		w.at(tick(20), func() { w.st.Routed = 0b111 })
		if rng.IntN(2) == 0 && give(tick(20)) != 1 {
			t.Fatalf("seed %d: not held", seed)
		}
		for _, region := range rng.Perm(3) {
			w.down(tick(10), uint8(region))
		}
		stays := rng.IntN(4) // 3: none stays down
		for _, region := range rng.Perm(3) {
			for range rng.IntN(3) {
				if got := give(tick(20)); w.masks.Routed&w.masks.Up != 0 && !w.masks.Up.Has(got) {
					t.Fatalf("seed %d: given %d, which is down: %+v", seed, got, w.masks)
				}
			}
			if region != stays {
				w.passes(tick(15), uint8(region), true)
				if next := w.o.Next(now); next > now && next-now <= longestSettle && rng.IntN(2) == 0 {
					now = max(now, next)
				}
				w.publish(now)
			}
		}
		now += 20
		w.publish(now)
		if got, want := give(tick(5)), uint8(1); stays != 1 && got != want {
			t.Fatalf("seed %d: given %d after the outage, want %d; %d stays down", seed, got, want, stays)
		}
		now += 620 // longer than the members may take
		w.publish(now)
		if asks := rng.IntN(2) == 0; asks && give(tick(5)) != 0 && stays == 1 {
			t.Fatalf("seed %d: not given the nearest", seed)
		}
		if stays == 1 {
			w.up(tick(100), 1)
			if got := give(tick(100)); got != 0 {
				t.Fatalf("seed %d: given %d, which died and is back", seed, got)
			}
		}
	}
}

// A drained replica that worked, and then does not, leaves the members the time to come
// back together.
func TestALastResortThatFailsToo(t *testing.T) {
	w := newOutageWorld(t)
	w.at(900, func() { w.st.Routed, w.st.Drained = 0b011, 0b100 })
	w.down(1000, 0)
	w.down(1001, 1)
	w.want(2, LastResort)
	w.down(1003, 2)
	w.want(0, AllDown)
	w.passes(1030, 1, true)
	w.want(0, AllDown)
	w.passes(1033, 0, true)
	w.publish(1037)
	w.want(0, Nearest)
}

// Replicas that had returned, and go down again as the first ones of another outage, are
// members although others were up by themselves meanwhile.
func TestWhatHadReturnedIsAMemberAgain(t *testing.T) {
	w := newOutageWorld(t)
	for region := range uint8(3) {
		w.down(1000, region)
	}
	for region := range uint8(3) {
		w.passes(1030, region, true)
	}
	w.publish(1037)
	w.up(1630, 2)
	w.passes(1700, 0, false)
	w.passes(1701, 1, false)
	if !w.o.Active() { // who keeps it would drop it, and when they left with it
		t.Error("over, although replicas that had returned are down")
	}
	w.down(1703, 2)
	for region := range uint8(3) {
		w.passes(1730, region, true)
	}
	w.publish(1737)
	w.want(0, Nearest)
	if w.masks.Up != 0b111 {
		t.Errorf("%+v", w.masks)
	}
}

// Whatever happens, in any order: some routed replica is answered as long as there is
// one; none that is out of routing is, unless drained and nothing else works; one that
// works goes before all that do not, once that can be known; and an outage ends.
func TestOutageProperties(t *testing.T) {
	outages := 0
	for seed := range uint64(2000) {
		rng := rand.New(rand.NewPCG(seed, 3))
		w := newOutageWorld(t)
		now := uint32(10_000)
		for range 200 {
			step := uint32(rng.IntN([]int{3, 20, 400}[rng.IntN(3)]))
			for next := w.o.Next(now); next != 0 && next <= now+step; next = w.o.Next(next) {
				w.publish(next)
			}
			now += step
			region := uint8(rng.IntN(3))
			switch rng.IntN(8) {
			case 0, 1:
				if w.st.Up.Has(region) {
					w.down(now, region)
				}
			case 2, 3, 4:
				if !w.st.Up.Has(region) {
					w.passes(now, region, rng.IntN(3) > 0)
				}
			case 5:
				if w.st.Passing.Has(region) {
					w.up(now, region)
				}
			case 6:
				w.at(now, func() {
					w.st.Drained = w.st.Drained.With(region, w.st.Routed.Has(region))
					w.st.Routed = w.st.Routed.With(region, false)
				})
			case 7:
				w.at(now, func() {
					w.st.Routed, w.st.Drained = w.st.Routed.With(region, rng.IntN(4) > 0), w.st.Drained.With(region, false)
				})
			}
			w.check(seed, now)
			if w.o.Active() {
				outages++
			}
		}
		w.at(now+1, func() { w.st = Condition{Routed: 0b111, Up: 0b111} })
		if w.o.Active() {
			t.Fatalf("seed %d: all are well, and the outage goes on", seed)
		}
	}
	if outages < 10_000 {
		t.Errorf("%d steps in an outage: too few", outages)
	}
}

func (w *outageWorld) check(seed uint64, now uint32) {
	w.t.Helper()
	candidates := w.masks.Candidates()
	settled := w.o.settles != 0 && now >= w.o.settles
	switch {
	case w.st.Routed == 0:
		if candidates != 0 {
			w.t.Fatalf("seed %d at %d: all are out by order and %b is answered: %+v", seed, now, candidates, w.st)
		}
	case candidates == 0:
		w.t.Fatalf("seed %d at %d: nothing is answered: %+v", seed, now, w.st)
	case w.st.Routed&w.st.Up != 0:
		if candidates&^(w.st.Routed&(w.st.Up|w.st.Passing)) != 0 {
			w.t.Fatalf("seed %d at %d: %b is answered: %+v", seed, now, candidates, w.st)
		}
	case settled && w.st.Routed&w.st.Passing != 0:
		if candidates&^(w.st.Routed&w.st.Passing) != 0 {
			w.t.Fatalf("seed %d at %d: %b is answered where others work: %+v", seed, now, candidates, w.st)
		}
	case candidates&^(w.st.Routed|w.st.Drained) != 0:
		w.t.Fatalf("seed %d at %d: %b is answered: %+v", seed, now, candidates, w.st)
	}
}
