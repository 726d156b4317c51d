package compile

import (
	"slices"
	"strings"
	"sync"
)

// Slots hands out the places in which answers are counted by replica. A registry
// has the same places whenever it has the same regions, over any number of
// reloads, so that counters never fall and places do not run out. Safe for concurrent use.
type Slots struct {
	mu     sync.Mutex
	blocks []Block
	latest map[string]int      // 1 + index in blocks, by the global name of a registry
	sets   map[string][]string // of labels, by all of them: most registries have the regions of others
	next   uint32
}

// Block is the run of slots of one registry: one per region, in order.
type Block struct {
	Registry string   // its key
	Regions  []string // labels; shared, not to be changed
	First    uint32
	earlier  int // 1 + index of the block the registry had before; 0 for none
}

// NewSlots returns a Slots that has handed out nothing.
func NewSlots() *Slots { return &Slots{latest: make(map[string]int), sets: make(map[string][]string)} }

// block returns the first slot of the registry with a global name and these regions,
// which the configuration calls key now. It does not keep the slice.
func (s *Slots) block(name, key string, regions []string) uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := s.latest[name]; i > 0; i = s.blocks[i-1].earlier {
		s.blocks[i-1].Registry = key
		if slices.Equal(s.blocks[i-1].Regions, regions) {
			return s.blocks[i-1].First
		}
	}
	set := strings.Join(regions, " ")
	if _, known := s.sets[set]; !known {
		s.sets[set] = slices.Clone(regions)
	}
	first := s.next
	s.blocks = append(s.blocks, Block{key, s.sets[set], first, s.latest[name]})
	s.latest[name] = len(s.blocks)
	s.next += uint32(len(regions))
	return first
}

// Of returns all slots that the replica of a region, given by its label, has had in the registry with a global
// name: another one for each set of regions that the registry had.
func (s *Slots) Of(name, region string) (slots []uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := s.latest[name]; i > 0; i = s.blocks[i-1].earlier {
		if at := slices.Index(s.blocks[i-1].Regions, region); at >= 0 {
			slots = append(slots, s.blocks[i-1].First+uint32(at))
		}
	}
	return slots
}

// Len returns how many slots there are.
func (s *Slots) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int(s.next)
}

// Blocks returns every block handed out. A registry whose regions have changed
// has several, whose counts add up.
func (s *Slots) Blocks() []Block {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.blocks)
}
