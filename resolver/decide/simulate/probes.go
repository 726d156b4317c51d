package main

import (
	"cmp"
	"math/rand/v2"
	"slices"
)

// How health is judged: three probes, five seconds apart, and the recovery hold of
// the design.
const (
	interval   = 5 * second
	timeout    = 2 * second
	detection  = 15 * second // the longest: three intervals
	recovery   = 600 * second
	maxHold    = hour
	flapWindow = hour
)

// failure is a time in which the probes of a replica fail.
type failure struct {
	span

	first moment // how long from its start until the first probe, less than an interval
}

// noticed returns when the third probe in a row fails: the replica is down then.
func (f failure) noticed() moment { return f.from + f.first + detection - interval }

// over returns when the first probe passes again.
func (f failure) over() moment {
	probes := max(f.to-f.from-f.first+interval-1, 0) / interval
	return f.from + f.first + probes*interval
}

// failures returns when the probes of each replica fail: while it is down, and in the
// prober's blips.
func (f *faults) failures(rng *rand.Rand) (all [replicas][]failure) {
	for r := range all {
		for _, s := range apart(slices.Concat(f.down[r], f.blips)) {
			all[r] = append(all[r], failure{s, between(rng, 0, interval)})
		}
	}
	return all
}

// news is what a name server can hear of a replica.
type news uint8

const (
	drains news = iota
	undrains
	wentDown
	passes // it is down, and works
	fails  // it is down, and does not work any more
	cameUp
)

// flip is the news of one replica.
type flip struct {
	at      moment
	replica uint8
	news    news
}

// flips returns what name servers hear, ascending, with or without a recovery
// hold.
func (f *faults) flips(failures *[replicas][]failure, hold bool) []flip {
	var all []flip
	for r := range replicas {
		for _, s := range f.drained[r] {
			all = append(all, flip{s.from, uint8(r), drains}, flip{s.to, uint8(r), undrains})
		}
		all = append(all, healthFlips(failures[r], uint8(r), hold)...)
	}
	slices.SortStableFunc(all, func(a, b flip) int { return cmp.Compare(a.at, b.at) })
	return all
}

// healthFlips is what probes make of one replica. A recovery takes as long as the
// hold, or as three probes; one failed probe meanwhile begins it anew, but it takes
// three until the replica is no longer said to work.
func healthFlips(failures []failure, r uint8, hold bool) (flips []flip) {
	down, works, upAgain, lastUp, wait := false, false, moment(0), -day, detection-interval
	for _, f := range failures {
		if f.over() <= f.from+f.first {
			continue // between two probes
		}
		if down && f.from+f.first >= upAgain {
			flips = append(flips, flip{upAgain, r, cameUp})
			down, lastUp = false, upAgain
		}
		seen := f.noticed() < f.over()
		switch {
		case !down && !seen:
			continue
		case !down:
			down, works = true, false
			flips = append(flips, flip{f.noticed(), r, wentDown})
			switch {
			case !hold:
			case f.noticed()-lastUp < flapWindow:
				wait = min(2*wait, maxHold)
			default:
				wait = recovery
			}
		case seen && works:
			works = false
			flips = append(flips, flip{f.noticed(), r, fails})
		}
		if !works {
			works = true
			flips = append(flips, flip{f.over(), r, passes})
		}
		upAgain = f.over() + wait
	}
	if down {
		flips = append(flips, flip{upAgain, r, cameUp})
	}
	return flips
}

// heard turns news into what one name server hears, which is of health up to some
// lag late when rng is not nil, as in a fleet; all else takes effect at a moment that
// was agreed on before.
func heard(flips []flip, rng *rand.Rand) []flip {
	out := slices.Clone(flips)
	for i := range out {
		if n := out[i].news; rng != nil && (n == wentDown || n == passes || n == fails) {
			out[i].at += between(rng, 0, longestLag)
		}
	}
	slices.SortStableFunc(out, func(a, b flip) int { return cmp.Compare(a.at, b.at) })
	return out
}

// longestLag is how late a name server of a fleet hears of health.
const longestLag = 2 * second
