package main

import (
	"math/rand/v2"
	"testing"
)

func faultsOf(seed uint64) *faults {
	return newFaults(rand.New(rand.NewPCG(seed, 1)), rand.New(rand.NewPCG(seed, 2)), 21)
}

func TestFaultsAreAsMany(t *testing.T) {
	for seed := range uint64(20) {
		f := faultsOf(seed)
		if f.count < 195 || f.count > 265 {
			t.Errorf("seed %d: %d events in 21 days, not about 230", seed, f.count)
		}
		if len(f.common) != 6 || len(f.blips) < 5 || len(f.blips) > 6 {
			t.Errorf("seed %d: %d common outages, %d blips", seed, len(f.common), len(f.blips))
		}
	}
}

// In a common outage each replica is down, by itself for 22 seconds at least; some stay
// down for longer than a recovery hold.
func TestCommonOutages(t *testing.T) {
	late := 0
	for seed := range uint64(20) {
		f := &faults{}
		f.addCommon(rand.New(rand.NewPCG(seed, 1)), minute)
		last := moment(0)
		for r, down := range f.down {
			if len(down) != 1 {
				t.Fatalf("seed %d: %d is down %d times", seed, r, len(down))
			}
			s := down[0]
			if s.from < minute || s.from >= minute+40*second || s.to-s.from < 22*second || s.to-s.from >= hour {
				t.Errorf("seed %d: %d is down %v", seed, r, s)
			}
			last = max(last, s.to)
		}
		if f.common[0] != (span{minute, last}) {
			t.Errorf("seed %d: %v", seed, f.common[0])
		}
		if last > minute+recovery+recovery/2 {
			late++
		}
	}
	if late < 3 || late > 12 {
		t.Errorf("one stays down in %d of 20 common outages", late)
	}
}

// What takes all replicas at once also finds them down or recovering, and drained, and
// blips come upon replicas of a common outage.
func TestOutagesOverlap(t *testing.T) {
	var ill, drained, trial int
	for seed := range uint64(20) {
		f := faultsOf(seed)
		for _, s := range f.blips {
			for r := range replicas {
				for _, d := range f.down[r] {
					ill += count(span{d.from, d.to + recovery}.has(s.from))
				}
				for _, d := range f.drained[r] {
					drained += count(d.has(s.from))
				}
			}
			for _, c := range f.common {
				trial += count(span{c.from, c.from + 15*minute}.has(s.from))
			}
			if d := s.to - s.from; d < 20*second || d > 2*minute {
				t.Errorf("seed %d: a blip of %d ms", seed, d)
			}
		}
	}
	if ill < 110 || drained < 20 || trial < 20 {
		t.Errorf("of about 120 blips %d come upon a replica that is ill, %d upon a drained one, %d after a common outage", ill, drained, trial)
	}
}

func count(is bool) int {
	if is {
		return 1
	}
	return 0
}
