package app

import (
	"slices"

	"portolan.dev/geo"
	"portolan.dev/resolver"
	"portolan.dev/resolver/compile"
	"portolan.dev/resolver/decide"
)

// moves is which located addresses prefer another region in one world than in the
// one before, while all replicas are well and nothing is drained. Registries whose
// replicas stand in the same regions, before and after, move alike and are counted
// once.
type moves struct {
	// cells is the share that moves for at least one registry.
	cells    float64
	all      float64
	plans    []plan
	registry map[string]int // plan by registry key
}

// plan is the regions that a registry may answer before and after.
type plan struct {
	before, after decide.Mask
	moved         float64                    // weight of the addresses that move
	total, left   [decide.MaxRegions]float64 // by region before: all addresses, and those that leave it
}

// maxPlans bounds the work of a comparison; further plans are not looked at.
const maxPlans = 256

func newMoves(old, next *World) *moves {
	m := &moves{registry: make(map[string]int)}
	known := make(map[[2]decide.Mask]int)
	unmoved := slices.Equal(old.Compiled.Snapshot.Regions, next.Compiled.Snapshot.Regions)
	for was, is := range compile.Pairs(old.Compiled, next.Compiled) {
		masks := [2]decide.Mask{old.Compiled.Routed[was], next.Compiled.Routed[is]}
		if unmoved && masks[0] == masks[1] {
			continue // nobody moves
		}
		n, ok := known[masks]
		if !ok {
			if len(m.plans) == maxPlans {
				continue
			}
			n = len(m.plans)
			known[masks] = n
			m.plans = append(m.plans, plan{before: masks[0], after: masks[1]})
		}
		m.registry[next.Compiled.Snapshot.Registries[is].Key] = n
	}
	if len(m.plans) == 0 {
		return m
	}
	m.count(old.Compiled.Snapshot, next.Compiled.Snapshot, next.Table.Cells())
	return m
}

// count goes through all places of the location data.
func (m *moves) count(before, after *resolver.Snapshot, cells []geo.Cell) {
	was, is := make([]float64, len(before.Regions)), make([]float64, len(after.Regions))
	moved := 0.0
	for _, cell := range cells {
		if cell.Kind != geo.Located {
			continue
		}
		costs(was, before.Regions, cell.Point)
		costs(is, after.Regions, cell.Point)
		weight, leaves := float64(cell.Weight), false
		m.all += weight
		for i := range m.plans {
			p := &m.plans[i]
			from, to := least(was, p.before), least(is, p.after)
			if from < 0 || to < 0 {
				continue
			}
			p.total[from] += weight
			if before.Regions[from].Name != after.Regions[to].Name {
				p.left[from] += weight
				p.moved += weight
				leaves = true
			}
		}
		if leaves {
			moved += weight
		}
	}
	if m.all > 0 {
		m.cells = moved / m.all
	}
}

func costs(out []float64, regions []geo.Region, p geo.Point) {
	for i, r := range regions {
		out[i] = r.Kilometres(p) + r.Bias
	}
}

// least returns the region of a mask with the least cost; -1 for an empty one.
func least(costs []float64, of decide.Mask) int {
	best := -1
	for i, c := range costs {
		if of.Has(uint8(i)) && (best < 0 || c < costs[best]) {
			best = i
		}
	}
	return best
}

// share is the part of the located addresses that moves for a registry.
func (m *moves) share(registry string) float64 {
	n, ok := m.registry[registry]
	if !ok || m.all == 0 {
		return 0
	}
	return m.plans[n].moved / m.all
}

// movedQueries estimates which share of recent queries is answered otherwise: of each
// replica's part of the recent answers, the part of its addresses that leave it.
func (a *App) movedQueries(old *World, m *moves) float64 {
	s, counts := old.Compiled.Snapshot, a.shares.latest().ten
	var all, moved float64
	for i := range s.Registries {
		n, planned := m.registry[s.Registries[i].Key]
		for region := range uint8(len(s.Regions)) {
			if !s.Registries[i].Configured.Has(region) {
				continue
			}
			slot := s.Replicas[s.ReplicaNumber(i, region)].Slot
			if int(slot) >= len(counts) {
				continue
			}
			answered := float64(counts[slot])
			all += answered
			if planned && m.plans[n].total[region] > 0 {
				moved += answered * m.plans[n].left[region] / m.plans[n].total[region]
			}
		}
	}
	if all == 0 {
		return 0
	}
	return moved / all
}
