package main

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
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

// has reports whether at lies in it.
func (s span) has(at moment) bool { return s.from <= at && at < s.to }

// faults is what happens to the replicas: when each is really down, ascending and
// apart, and when each is drained.
type faults struct {
	down, drained [replicas][]span
	// common are the times from the first failure of a common outage, of which those of
	// each replica are in down, to its last recovery. blips are the times in which no
	// probe passes although nothing is the matter with the replicas.
	common, blips []span
	count         int // events: each of the spans begins and ends
}

// newFaults draws the faults of some days: those of single replicas from one source,
// and from another those that take all at once.
func newFaults(rng, all *rand.Rand, days int) *faults {
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
			back := at + 20*second + between(rng, 0, 70*second)
			f.down[r] = append(f.down[r], span{at, back})
			at = back + 30*second + between(rng, 0, 150*second)
		}
	}
	for range times(20) {
		r, at := anywhere()
		f.drained[r] = append(f.drained[r], span{at, at + 30*minute + between(rng, 0, hour)})
	}
	f.addOutages(all, times(6), times(6), end)
	for r := range replicas {
		f.down[r], f.drained[r] = apart(f.down[r]), apart(f.drained[r])
		f.count += 2*len(f.down[r]) + 2*len(f.drained[r])
	}
	f.blips = apart(f.blips)
	f.count += 2 * len(f.blips)
	return f
}

// between draws a moment from the first to before the second.
func between(rng *rand.Rand, from, to moment) moment {
	return from + moment(rng.Int64N(int64(to-from)))
}

// addOutages draws what takes all replicas at once: common outages, in which each
// really goes down, and blips of the prober. Half of them find a replica that is down
// or recovering, or one that is drained, and some blips come while the replicas of a
// common outage are still on trial.
func (f *faults) addOutages(rng *rand.Rand, common, blips int, end moment) {
	down, drained := slices.Concat(f.down[:]...), slices.Concat(f.drained[:]...)
	soonAfter := func(spans []span, patience moment) moment {
		return spans[rng.IntN(len(spans))].from + between(rng, 0, patience)
	}
	when := func(i int) moment {
		switch i % 4 {
		case 1:
			return soonAfter(down, 20*minute)
		case 2:
			return soonAfter(drained, 30*minute)
		}
		return between(rng, 0, end)
	}
	for i := range common {
		f.addCommon(rng, when(i))
	}
	for i := range blips {
		at := when(i)
		if i%4 == 3 {
			at = soonAfter(f.common, 15*minute)
		}
		f.blips = append(f.blips, span{at, at + between(rng, 20*second, minute)})
	}
}

// addCommon lets all replicas fail within 40 seconds, for 22 seconds to five minutes
// each. In one outage of three, one of them stays down for much longer than its
// recovery hold.
func (f *faults) addCommon(rng *rand.Rand, at moment) {
	late := rng.IntN(3 * replicas)
	all := span{at, at}
	for r := range replicas {
		s := span{from: at + between(rng, 0, 40*second)}
		s.to = s.from + between(rng, 22*second, 5*minute)
		if r == late {
			s.to = s.from + between(rng, 15*minute, hour)
		}
		f.down[r] = append(f.down[r], s)
		all.to = max(all.to, s.to)
	}
	f.common = append(f.common, all)
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
