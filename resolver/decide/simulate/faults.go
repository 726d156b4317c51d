package main

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"

	"portolan.dev/resolver/decide"
)

// moment is a time of the simulation in milliseconds from its start.
type moment int64

const (
	second moment = 1000
	minute        = 60 * second
	hour          = 60 * minute
	day           = 24 * hour
)

const replicas = 4

// span is a time from one moment to another.
type span struct{ from, to moment }

// faults is what happens to the replicas: when each is really down, ascending and
// apart, and when each is drained.
type faults struct {
	down, drained [replicas][]span
}

// newFaults draws the faults of some days.
func newFaults(rng *rand.Rand, days int) *faults {
	f := &faults{}
	end := moment(days) * day
	times := func(per21Days int) int { return (per21Days*days + 20) / 21 }
	anywhere := func() (replica int, at moment) { return rng.IntN(replicas), moment(rng.Int64N(int64(end))) }
	for range times(25) {
		r, at := anywhere()
		length := moment(float64(10*minute) * math.Exp(rng.NormFloat64()))
		f.down[r] = append(f.down[r], span{at, at + min(max(length, minute), 2*hour)})
	}
	for range times(12) {
		r, at := anywhere()
		for range 3 + rng.IntN(2) {
			back := at + 20*second + moment(rng.Int64N(int64(70*second)))
			f.down[r] = append(f.down[r], span{at, back})
			at = back + 30*second + moment(rng.Int64N(int64(150*second)))
		}
	}
	for range times(20) {
		r, at := anywhere()
		f.drained[r] = append(f.drained[r], span{at, at + 30*minute + moment(rng.Int64N(int64(hour)))})
	}
	for r := range replicas {
		f.down[r], f.drained[r] = apart(f.down[r]), apart(f.drained[r])
	}
	return f
}

// apart sorts spans and joins those that meet.
func apart(spans []span) []span {
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	var out []span
	for _, s := range spans {
		if n := len(out); n > 0 && s.from <= out[n-1].to {
			out[n-1].to = max(out[n-1].to, s.to)
			continue
		}
		out = append(out, s)
	}
	return out
}

// count returns how many events the faults are: each begins and ends.
func (f *faults) count() (n int) {
	for r := range replicas {
		n += 2*len(f.down[r]) + 2*len(f.drained[r])
	}
	return n
}

// How health is judged: three probes, five seconds apart, and the recovery hold of
// the design.
const (
	detection  = 15 * second
	recovery   = 600 * second
	maxHold    = hour
	flapWindow = hour
)

// flip is one replica that goes in or out, as a name server sees it.
type flip struct {
	at      moment
	replica uint8
	health  bool // of Up, else of Routed
	in      bool
}

// flips returns what name servers see, ascending, with or without a recovery
// hold.
func (f *faults) flips(hold bool) []flip {
	var all []flip
	for r := range replicas {
		for _, s := range f.drained[r] {
			all = append(all, flip{s.from, uint8(r), false, false}, flip{s.to, uint8(r), false, true})
		}
		all = append(all, healthFlips(f.down[r], uint8(r), hold)...)
	}
	slices.SortFunc(all, func(a, b flip) int { return cmp.Compare(a.at, b.at) })
	return all
}

// healthFlips is what probes make of one replica. A recovery takes as long as the
// hold, or as the probes; an outage meanwhile, however short, begins it anew.
func healthFlips(outages []span, r uint8, hold bool) (flips []flip) {
	down, upAgain, lastUp, wait := false, moment(0), -day, detection
	for _, o := range outages {
		if down && o.from >= upAgain {
			flips = append(flips, flip{upAgain, r, true, true})
			down, lastUp = false, upAgain
		}
		if !down {
			if o.to-o.from < detection {
				continue // not noticed
			}
			down = true
			flips = append(flips, flip{o.from + detection, r, true, false})
			switch {
			case !hold:
			case o.from+detection-lastUp < flapWindow:
				wait = min(2*wait, maxHold)
			default:
				wait = recovery
			}
		}
		upAgain = o.to + wait
	}
	if down {
		flips = append(flips, flip{upAgain, r, true, true})
	}
	return flips
}

// publication is a change of masks at one name server.
type publication struct {
	at    moment
	masks decide.Masks
	died  bool
}

// publications turns flips into what one name server publishes. It hears of deaths
// up to two seconds late when lag is not nil, as in a fleet; all else takes effect
// at a moment that was agreed on before.
func publications(flips []flip, lag *rand.Rand) []publication {
	heard := slices.Clone(flips)
	for i := range heard {
		if lag != nil && heard[i].health && !heard[i].in {
			heard[i].at += moment(lag.Int64N(int64(2 * second)))
		}
	}
	slices.SortStableFunc(heard, func(a, b flip) int { return cmp.Compare(a.at, b.at) })
	m := allIn()
	out := make([]publication, 0, len(heard))
	for _, f := range heard {
		if f.health {
			m.Up = m.Up.With(f.replica, f.in)
		} else {
			m.Routed = m.Routed.With(f.replica, f.in)
		}
		out = append(out, publication{f.at, m, f.health && !f.in})
	}
	return out
}

func allIn() decide.Masks { return decide.Masks{Routed: 1<<replicas - 1, Up: 1<<replicas - 1} }
