package compile

import (
	"slices"
	"sync"

	"portolan.dev/resolver/decide"
)

// Numbering gives regions and registries numbers that stay theirs over reloads, so
// that what is remembered of clients outlives a snapshot. Safe for concurrent use.
type Numbering struct {
	mu         sync.Mutex
	regions    [decide.MaxRegions]string // name by number; "" is free
	registries map[string]uint32
	names      []string // global name of a registry by number
}

// NewNumbering returns a Numbering that has given out nothing.
func NewNumbering() *Numbering { return &Numbering{registries: make(map[string]uint32)} }

// Region returns the number of a region that has one.
func (n *Numbering) Region(name string) (uint8, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i, have := range n.regions {
		if have == name {
			return uint8(i), true
		}
	}
	return 0, false
}

// assign numbers the regions of a configuration. Numbers of regions that are no
// longer configured are taken only when no other is free.
func (n *Numbering) assign(names []string) (stable, local [decide.MaxRegions]uint8) {
	n.mu.Lock()
	defer n.mu.Unlock()
	inUse := make(map[string]bool, len(names))
	for _, name := range names {
		inUse[name] = true
	}
	for i := range local {
		local[i] = 255
	}
	for i, name := range names {
		number := n.place(name, inUse)
		n.regions[number] = name
		stable[i], local[number] = number, uint8(i)
	}
	return stable, local
}

// place finds the number of a region: its own, a free one, or one whose region is
// gone.
func (n *Numbering) place(name string, inUse map[string]bool) uint8 {
	free, gone := -1, -1
	for i, have := range n.regions {
		switch {
		case have == name:
			return uint8(i)
		case have == "" && free < 0:
			free = i
		case have != "" && !inUse[have] && gone < 0:
			gone = i
		}
	}
	if free >= 0 {
		return uint8(free)
	}
	return uint8(max(gone, 0)) // 64 numbers for at most 64 regions: one is free or gone
}

// RegionNames returns the region of each number; "" for a free one.
func (n *Numbering) RegionNames() [decide.MaxRegions]string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.regions
}

// Registry returns the number of the registry that is served under a global name, a new
// one if need be.
func (n *Numbering) Registry(name string) uint32 {
	n.mu.Lock()
	defer n.mu.Unlock()
	number, ok := n.registries[name]
	if !ok {
		number = uint32(len(n.names))
		n.registries[name] = number
		n.names = append(n.names, name)
	}
	return number
}

// RegistryName returns the global name of a registry's number; "" for one not given
// out.
func (n *Numbering) RegistryName(number uint32) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if int(number) >= len(n.names) {
		return ""
	}
	return n.names[number]
}

// Registries returns the global names of the registries that have a number, by number, from
// one on.
func (n *Numbering) Registries(from int) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.names[min(from, len(n.names)):])
}
