package main

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// What probes make of failures: one shorter than three probes is not seen, a recovery
// takes the hold, a failed probe meanwhile begins it anew, a flap doubles it.
func TestHealthFlips(t *testing.T) {
	at := func(s moment, n news) flip { return flip{s * second, 2, n} }
	for _, tt := range []struct {
		name     string
		failures []span
		hold     bool
		want     []flip
	}{
		{"unnoticed", []span{{100, 112}}, true, nil},
		{"just noticed", []span{{100, 113}}, false, []flip{at(112, wentDown), at(117, passes), at(127, cameUp)}},
		{"plain", []span{{100, 200}}, false, []flip{at(112, wentDown), at(202, passes), at(212, cameUp)}},
		{"held", []span{{100, 200}}, true, []flip{at(112, wentDown), at(202, passes), at(802, cameUp)}},
		{"between two probes", []span{{100, 200}, {700, 702}}, true, []flip{at(112, wentDown), at(202, passes), at(802, cameUp)}},
		{"begun anew", []span{{100, 200}, {700, 705}}, true, []flip{at(112, wentDown), at(202, passes), at(1307, cameUp)}},
		{
			"no longer works",
			[]span{{100, 200}, {700, 720}},
			true,
			[]flip{at(112, wentDown), at(202, passes), at(712, fails), at(722, passes), at(1322, cameUp)},
		},
		{
			"flap",
			[]span{{100, 200}, {900, 1000}},
			true,
			[]flip{at(112, wentDown), at(202, passes), at(802, cameUp), at(912, wentDown), at(1002, passes), at(2202, cameUp)},
		},
		{
			"no flap after an hour",
			[]span{{100, 200}, {5000, 5100}},
			true,
			[]flip{at(112, wentDown), at(202, passes), at(802, cameUp), at(5012, wentDown), at(5102, passes), at(5702, cameUp)},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var failures []failure
			for _, s := range tt.failures {
				failures = append(failures, failure{span{s.from * second, s.to * second}, 2 * second})
			}
			if got := healthFlips(failures, 2, tt.hold); !slices.Equal(got, tt.want) {
				t.Errorf("got  %v\nwant %v", got, tt.want)
			}
		})
	}
}

// A replica is noticed 10 to 15 seconds after it fails, and works 0 to 5 seconds after
// the failure, for the prober; a blip is a failure of all.
func TestFailures(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	f := &faults{blips: []span{{5 * minute, 5*minute + 20*second}}}
	f.down[1] = []span{{minute, 2 * minute}, {5*minute + 10*second, 6 * minute}}
	firsts := make(map[moment]bool)
	for range 100 {
		for r, all := range f.failures(rng) {
			if want := len(f.down[r]); len(all) != max(want, 1) { // of replica 1 one and the blip are one
				t.Fatalf("replica %d fails %d times", r, len(all))
			}
			for _, one := range all {
				if d := one.noticed() - one.from; d < 10*second || d >= detection {
					t.Fatalf("noticed after %d ms", d)
				}
				if d := one.over() - one.to; d < 0 || d >= interval {
					t.Fatalf("over after %d ms", d)
				}
				firsts[one.first] = true
			}
		}
	}
	if len(firsts) < 100 {
		t.Errorf("%d moments of a first probe", len(firsts))
	}
}

// Only the news of health is late in a fleet, and that of one replica stays in order.
func TestHeard(t *testing.T) {
	var flips []flip
	for i := range moment(200) {
		flips = append(flips, flip{i * interval, 1, news(i % 6)})
	}
	if got := heard(flips, nil); !slices.Equal(got, flips) {
		t.Error("a server that hears at once does not")
	}
	late := 0
	for i, f := range heard(flips, rand.New(rand.NewPCG(1, 1))) {
		switch d := f.at - flips[i].at; {
		case f.news != flips[i].news, d < 0, d >= longestLag:
			t.Fatalf("%v became %v", flips[i], f)
		case d > 0 && (f.news == drains || f.news == undrains || f.news == cameUp):
			t.Fatalf("what was agreed on is late: %v", f)
		case d > 0:
			late++
		}
	}
	if late < 90 {
		t.Errorf("%d of 100 are late", late)
	}
}
