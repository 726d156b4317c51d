package main

import (
	"bytes"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"portolan.dev/resolver/decide"
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
		total.returns[noRuleOne].elsewhere = 10
		total.broken[noRuleOne][oneSite][blipEntering], total.broken[holdsOne][oneSite][blipLeaving] = 5, 5
		total.broken[holdsOne][oneSite][leaving] = 100
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
		"too few to show":          func(a *tally) { a.broken[pureOne] = [kindCount][breakageCount]int{} },
		"no host was elsewhere":    func(a *tally) { a.returns = [algorithmCount]returns{} },
		"1 hosts were elsewhere":   func(a *tally) { a.returns[holdsOne].elsewhere = 1 },
		"blips broke 6 pushes":     func(a *tally) { a.broken[holdsOne][unrelated][blipEntering] = 1 },
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

// pushOf is a push of a new host with some resolvers, in a simulation where nothing
// is down.
func pushOf(resolvers int) (*simulation, *push) {
	s := &simulation{rng: rand.New(rand.NewPCG(1, 1)), tally: newTally(options{})}
	for r := range s.sick {
		s.sick[r] = -day
	}
	for i := range s.fleets {
		s.fleets[i] = &fleet{}
	}
	return s, &push{host: &host{resolvers: make([]resolver, resolvers)}}
}

// A drained replica may be given as long as nothing else works: that is no hold.
func TestALastResortIsNoHold(t *testing.T) {
	for name, tt := range map[string]struct {
		masks decide.Masks
		want  moment
	}{
		"last resort": {decide.Masks{Routed: 0b0111, Up: 0b1000, Resort: 0b1000}, 0},
		"still given": {decide.Masks{Routed: 0b1111, Up: 0b1000}, hour},
	} {
		s, p := pushOf(1)
		for i := range s.fleets {
			v := &view{masks: tt.masks}
			s.fleets[i].servers = []*nameserver{{chooser: newPure(v), view: v}}
		}
		s.now, s.drained = hour, [replicas]moment{-1, -1, -1, 0}
		p.host.rank = []uint8{0, 1, 2, 3}
		s.query(p.host, 1, &p.host.resolvers[0].cache[0])
		if got := s.tally.lag[holdsOne]; got != tt.want {
			t.Errorf("%s: %d ms after its drain, want %d", name, got, tt.want)
		}
	}
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
		turn *turn
		play func(s *simulation, p *push)
		want breakage
	}{
		{"the same", -day, nil, func(s *simulation, p *push) { s.use(p, to(1, 0, false), false); s.use(p, to(1, 0, false), true) }, whole},
		{"the first moves nobody", -day, nil, func(s *simulation, p *push) { s.use(p, to(1, 0, true), false) }, whole},
		{"split", -day, nil, func(s *simulation, p *push) { s.use(p, to(1, 0, false), false); s.use(p, to(2, 0, false), true) }, split},
		{"moved", -day, nil, moveOn(to(1, 0, false), to(2, 20*second, false)), voluntary},
		{"spent", -day, nil, moveOn(to(1, 0, false), to(2, 20*second, true)), spent},
		{"died between", 15 * second, nil, moveOn(to(1, 0, false), to(2, 20*second, false)), death},
		{"died before", 5 * second, nil, moveOn(to(1, 7*second, false), to(2, 20*second, false)), voluntary},
		{"all go down", -day, &turn{15 * second, common, false}, moveOn(to(1, 0, false), to(2, 20*second, false)), entering},
		{"they come back", -day, &turn{20 * second, chance, true}, moveOn(to(1, 0, false), to(2, 20*second, true)), leaving},
		{"a blip", -day, &turn{20 * second, blip, false}, moveOn(to(1, 0, false), to(2, 20*second, false)), blipEntering},
		{"a blip is over", -day, &turn{20 * second, blip, true}, moveOn(to(2, 20*second, false), to(1, 0, false)), blipLeaving},
		{"a blip of a dead one", 15 * second, &turn{20 * second, blip, true}, moveOn(to(1, 0, false), to(2, 20*second, false)), death},
		{"before it", -day, &turn{21 * second, common, false}, moveOn(to(1, 0, false), to(2, 20*second, false)), voluntary},
		{"after it", -day, &turn{5 * second, common, true}, moveOn(to(1, 5*second, false), to(2, 20*second, true)), spent},
		{"died and named from a cache", 5 * second, nil, moveOn(to(2, 8*second, false), to(1, 0, false)), death},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, p := pushOf(1)
			s.sick[1] = tt.sick
			if tt.turn != nil {
				s.fleets[holdsOne].turns = []turn{*tt.turn}
			}
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
