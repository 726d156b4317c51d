package availability

import (
	"runtime"
	"slices"
	"sync"
	"time"

	"portolan.dev/resolver/compile"
)

// flipAtOnce is how many replicas are worth a goroutine: what a thousandth of a second
// is enough for.
const flipAtOnce = 1 << 14

// flipped is what a flip of some replicas has left to do.
type flipped struct {
	zones []uint32 // whose serials rise, few of them twice
	rest  []compile.Member
}

// flipAll publishes the health of an endpoint to all replicas it decides for. v.mu is
// held.
func (v *Availability) flipAll(members []compile.Member, up bool, zones map[uint32]bool) {
	// What operators and resolvers say of replicas is asked only where they have said
	// anything.
	left := []flipped{{rest: members}}
	if len(v.overrides) == 0 && len(v.unresolved) == 0 {
		left = v.flip(members, up, v.o.Now())
	}
	last := -1
	for _, f := range left {
		for _, zone := range f.zones {
			zones[zone] = true
		}
		for _, m := range f.rest {
			if m.Registry != last {
				v.publish(m.Registry, zones)
			}
			last = m.Registry
		}
	}
}

// flip publishes the health of replicas that neither operators nor resolvers have said
// anything of, on as many processors as there are: a front end may be that of all
// registries. It gives back what it must not publish by itself: registries that are in
// an outage, or would be. v.mu is held.
func (v *Availability) flip(members []compile.Member, up bool, at time.Time) (left []flipped) {
	runs := runsOf(members)
	left = make([]flipped, len(runs))
	var all sync.WaitGroup
	for i, run := range runs[1:] {
		all.Go(func() { left[i+1] = v.flipRun(run, up, at) })
	}
	left[0] = v.flipRun(runs[0], up, at)
	all.Wait()
	return left
}

// runsOf divides replicas, which are in the order of their registries, so that no
// registry is in two parts: one that has several of the replicas has one writer.
func runsOf(members []compile.Member) [][]compile.Member {
	size := max(flipAtOnce, (len(members)+runtime.GOMAXPROCS(0)-1)/runtime.GOMAXPROCS(0))
	var runs [][]compile.Member
	for len(members) > size {
		end := size
		for end < len(members) && members[end].Registry == members[end-1].Registry {
			end++
		}
		runs, members = append(runs, members[:end]), members[end:]
	}
	return append(runs, members)
}

func (v *Availability) flipRun(members []compile.Member, up bool, at time.Time) (f flipped) {
	s := v.current.Compiled.Snapshot
	for _, m := range members {
		masks := s.Live[m.Registry].Masks()
		if !up {
			masks.Up = masks.Up.With(m.Region, false)
		}
		if masks.Routed&masks.Up == 0 || len(v.outages) > 0 && v.outages[m.Registry] != nil {
			f.rest = append(f.rest, m)
			continue
		}
		if !s.SetUp(m.Registry, m.Region, up, at) {
			continue
		}
		if zone := s.Registries[m.Registry].Zone; len(f.zones) == 0 || f.zones[len(f.zones)-1] != zone {
			if f.zones = append(f.zones, zone); len(f.zones) > len(s.Serials) {
				slices.Sort(f.zones)
				f.zones = slices.Compact(f.zones)
			}
		}
	}
	return f
}
