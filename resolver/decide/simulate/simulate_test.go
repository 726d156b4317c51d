package main

import (
	"bytes"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// A small run keeps all promises, and shows what they are worth.
func TestASmallRun(t *testing.T) {
	var out bytes.Buffer
	if err := run([]string{"-pushes", "12000", "-seeds", "2", "-days", "4"}, &out); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
	if !strings.Contains(out.String(), "holds keep what is promised") {
		t.Error(out.String())
	}
}

// The same seed gives the same table.
func TestRunsRepeat(t *testing.T) {
	o := options{pushes: 2000, seeds: 1, days: 3, rate: 4}
	if a, b := simulate(o, 3), simulate(o, 3); *a != *b {
		t.Errorf("%+v\n%+v", a, b)
	}
}

// Two servers with holds of their own tear hosts that one server protects: why
// holds are off by default where a zone has several name servers.
func TestHoldsThatAreNotSharedTear(t *testing.T) {
	if testing.Short() {
		t.Skip("needs many pushes to show")
	}
	o := options{pushes: 30_000, seeds: 1, days: 3, rate: 20}
	total := newTally(o)
	total.add(simulate(o, 1))
	total.add(simulate(o, 2))
	if total.voluntaryOfAll(holdsTwo) <= 2*total.voluntaryOfAll(holdsOne) {
		t.Errorf("%d broken pushes with two servers, %d with one", total.voluntaryOfAll(holdsTwo), total.voluntaryOfAll(holdsOne))
	}
}

func TestCheckFails(t *testing.T) {
	good := func() *tally {
		total := newTally(options{})
		for k := range kindCount {
			total.pushes[k] = 10_000
			for _, a := range []int{pureOne, recoveringOne} {
				total.broken[a][k][voluntary] = 40
			}
		}
		total.broken[holdsOne][oneSite][death] = 100
		total.broken[holdsOne][unrelated][voluntary] = 10
		return total
	}
	if err := good().check(io.Discard); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(*tally){
		"one resolver: voluntary":  func(a *tally) { a.broken[holdsOne][oneResolver][voluntary] = 1 },
		"one site: voluntary":      func(a *tally) { a.broken[holdsOne][oneSite][split] = 1 },
		"client subnet: voluntary": func(a *tally) { a.broken[holdsOne][clientSubnet][spent] = 1 },
		"unrelated: voluntary":     func(a *tally) { a.broken[holdsOne][unrelated][voluntary] = 11 },
		"after its drain":          func(a *tally) { a.lag[holdsOne] = longestDrain() + 1 },
		"too few":                  func(a *tally) { a.broken[pureOne] = [kindCount][breakageCount]int{} },
	} {
		total := good()
		spoil(total)
		if err := total.check(io.Discard); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFlagsAreChecked(t *testing.T) {
	for _, args := range [][]string{{"-pushes", "0"}, {"-seeds", "x"}, {"-days", "-1"}, {"-rate", "0"}, {"more"}} {
		if err := run(args, io.Discard); err == nil {
			t.Errorf("%v is accepted", args)
		}
	}
}

// What probes make of outages: an outage shorter than detection is not seen, a
// recovery takes the hold, a failure meanwhile begins it anew, a flap doubles it.
func TestHealthFlips(t *testing.T) {
	at := func(s moment, in bool) flip { return flip{s * second, 2, true, in} }
	for _, tt := range []struct {
		name    string
		outages []span
		hold    bool
		want    []flip
	}{
		{"unnoticed", []span{{100, 110}}, true, nil},
		{"plain", []span{{100, 200}}, false, []flip{at(115, false), at(215, true)}},
		{"held", []span{{100, 200}}, true, []flip{at(115, false), at(800, true)}},
		{"begun anew", []span{{100, 200}, {700, 705}}, true, []flip{at(115, false), at(1305, true)}},
		{"flap", []span{{100, 200}, {900, 1000}}, true, []flip{at(115, false), at(800, true), at(915, false), at(2200, true)}},
		{
			"no flap after an hour",
			[]span{{100, 200}, {5000, 5100}},
			true,
			[]flip{at(115, false), at(800, true), at(5015, false), at(5700, true)},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for i := range tt.outages {
				tt.outages[i].from *= second
				tt.outages[i].to *= second
			}
			if got := healthFlips(tt.outages, 2, tt.hold); !slices.Equal(got, tt.want) {
				t.Errorf("got  %v\nwant %v", got, tt.want)
			}
		})
	}
}

func TestFaultsAreAsMany(t *testing.T) {
	for seed := range uint64(20) {
		f := newFaults(rand.New(rand.NewPCG(seed, 1)), 21)
		if n := f.count(); n < 140 || n > 200 {
			t.Errorf("seed %d: %d events in 21 days, not about 170", seed, n)
		}
	}
}

// pushOf is a push of a new host with some resolvers, in a simulation where nothing
// is down.
func pushOf(resolvers int) (*simulation, *push) {
	s := &simulation{rng: rand.New(rand.NewPCG(1, 1)), tally: newTally(options{})}
	for r := range s.sick {
		s.sick[r] = -day
	}
	return s, &push{host: &host{resolvers: make([]resolver, resolvers)}}
}

// The cause of a break.
func TestBreakage(t *testing.T) {
	to := func(replica uint8, given moment, done bool) *answer {
		a := &answer{given: given}
		for i := range a.replica {
			a.replica[i], a.spent[i] = replica, done
		}
		return a
	}
	for _, tt := range []struct {
		name string
		sick moment // when replica 1 was last down
		play func(s *simulation, p *push)
		want breakage
	}{
		{"the same", -day, func(s *simulation, p *push) { s.use(p, to(1, 0, false), false); s.use(p, to(1, 0, false), true) }, whole},
		{"the first moves nobody", -day, func(s *simulation, p *push) { s.use(p, to(1, 0, true), false) }, whole},
		{"split", -day, func(s *simulation, p *push) { s.use(p, to(1, 0, false), false); s.use(p, to(2, 0, false), true) }, split},
		{"moved", -day, moveOn(to(1, 0, false), to(2, 20*second, false)), voluntary},
		{"spent", -day, moveOn(to(1, 0, false), to(2, 20*second, true)), spent},
		{"died between", 15 * second, moveOn(to(1, 0, false), to(2, 20*second, false)), death},
		{"died before", 5 * second, moveOn(to(1, 7*second, false), to(2, 20*second, false)), voluntary},
		{"died and named from a cache", 5 * second, moveOn(to(2, 8*second, false), to(1, 0, false)), death},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, p := pushOf(1)
			s.sick[1] = tt.sick
			tt.play(s, p)
			if p.broken[holdsOne] != tt.want {
				t.Errorf("breakage %d, want %d", p.broken[holdsOne], tt.want)
			}
		})
	}
}

// moveOn uses one answer at 10 s and another at 20 s.
func moveOn(first, then *answer) func(*simulation, *push) {
	return func(s *simulation, p *push) {
		s.now = 10 * second
		s.use(p, first, false)
		p.begun, p.last = true, s.now
		s.now = 20 * second
		s.use(p, then, false)
	}
}
