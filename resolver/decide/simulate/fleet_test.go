package main

import (
	"cmp"
	"slices"
	"testing"
)

func TestTurned(t *testing.T) {
	f := &fleet{turns: []turn{{100, common, false}, {200, blip, true}}}
	for _, tt := range []struct {
		one, other, slack, want moment // 0: none
	}{
		{0, 99, 0, 0},
		{0, 100, 0, 100},
		{100, 0, 0, 100},
		{100, 199, 0, 0}, // the first answer is of the turn already
		{100, 200, 0, 200},
		{50, 250, 0, 100},
		{200, 900, 0, 0},
		{300, 900, 100, 0},
		{300, 900, 101, 200},
		{50, 60, 40, 100},
	} {
		f.slack = tt.slack
		got := f.turned(tt.one, tt.other)
		if got == nil && tt.want != 0 || got != nil && got.at != tt.want {
			t.Errorf("%+v: %v", tt, got)
		}
	}
}

// Where a host is after an outage, as against before.
func TestCompare(t *testing.T) {
	was := place{base: 1, replica: 1, until: never}
	held := place{base: 1, replica: 2, until: 500}
	for _, tt := range []struct {
		name          string
		before, after place
		want          returns
	}{
		{"the same", was, place{base: 1, replica: 1}, returns{outages: 1}},
		{"another", was, place{base: 1, replica: 3}, returns{outages: 1, elsewhere: 1}},
		{"its replica stays down", was, place{base: 3, replica: 3}, returns{outages: 1}},
		{"held as before", held, place{base: 1, replica: 2}, returns{outages: 1}},
		{"held elsewhere", held, place{base: 1, replica: 3}, returns{outages: 1, elsewhere: 1}},
		{"held no more", held, place{base: 1, replica: 1}, returns{outages: 1, lost: 1}},
		{"the hold is over", place{base: 1, replica: 2, until: 400}, place{base: 1, replica: 1}, returns{outages: 1}},
		{"it had fallen silent", place{base: 1, replica: 2, until: 500, silent: true}, place{base: 1, replica: 1}, returns{outages: 1}},
		{"silent, and elsewhere", place{base: 1, replica: 1, silent: true}, place{base: 1, replica: 3}, returns{outages: 1, elsewhere: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			hosts := []host{{resolvers: make([]resolver, 2)}, {resolvers: make([]resolver, 1)}}
			var got returns
			got.compare(hosts, []place{was, tt.before, was}, []place{was, tt.after, was}, 400)
			if got != tt.want {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
		})
	}
}

// A name server finds out where hosts are just before and just after an outage, with
// all that it publishes meanwhile: a host that asked during it is held on what came
// back first without the rule for outages, and is back with it.
func TestHostsAreBack(t *testing.T) {
	for name, tt := range map[string]struct {
		outages bool
		more    []flip
		want    returns
	}{
		"rule":             {true, nil, returns{outages: 1}},
		"no rule":          {false, nil, returns{outages: 1, elsewhere: 1}},
		"something else":   {true, []flip{{50 * second, 1, drains}}, returns{}},
		"something before": {true, []flip{{0, 1, drains}}, returns{outages: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			h := host{rank: []uint8{0, 3, 2, 1}, resolvers: []resolver{{unit: 7}}}
			flips := append(commonFlips(), tt.more...)
			slices.SortStableFunc(flips, func(a, b flip) int { return cmp.Compare(a.at, b.at) })
			n := &nameserver{view: newView(flips, tt.outages)}
			n.chooser = newHolds(n.view)
			n.episodes = new(faults).episodes(publications(newView(flips, tt.outages)))
			var got returns
			for _, at := range []moment{0, 30 * second, 110 * second, 620500, hour} {
				n.advance(at, []host{h}, &got)
				a := &h.resolvers[0].cache[0]
				a.given = at
				n.choose(7, h.rank, at)
			}
			if got != tt.want {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
		})
	}
}

// To look at what a unit would be given is as good as to give it, and changes nothing.
func TestPeek(t *testing.T) {
	for _, a := range algorithms() {
		v := newView([]flip{{minute, 1, drains}, {2 * minute, 2, wentDown}, {3 * minute, 2, passes}, {4 * minute, 2, cameUp}, {5 * minute, 1, undrains}}, a.outages)
		c := a.make(v)
		moved := false
		for at := moment(0); at < 6*minute; at += 7 * second {
			for v.next() <= at {
				v.step()
			}
			for unit, rank := range [][]uint8{{0, 1, 2, 3}, {1, 2, 3, 0}, {2, 1, 0, 3}} {
				want, _ := c.peek(uint32(unit), rank, at)
				again, _ := c.peek(uint32(unit), rank, at)
				if got, _ := c.choose(uint32(unit), rank, at); got != want || again != want {
					t.Errorf("%s: unit %d at %d: %d and %d, then %d", a.name, unit, at, want, again, got)
				}
				moved = moved || want != rank[0]
			}
		}
		if !moved {
			t.Errorf("%s: nothing moves", a.name)
		}
	}
}
