package app

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"portolan.dev/geo"
	"portolan.dev/resolver"
	"portolan.dev/resolver/decide"
)

// savedPartition is how the keys of a saved activity table tell units apart, or did: by
// what a [resolver.Partition] is made from.
type savedPartition struct {
	ECS      bool           `json:"ecs"`
	ByName   bool           `json:"by_name,omitempty"`
	Networks []savedNetwork `json:"networks,omitempty"`
	// Until is when another one took its place, in Unix seconds; 0 for the last.
	Until uint32 `json:"until,omitempty"`
}

// savedNetwork is a [geo.Site] without its place. The name counts where units go by it.
type savedNetwork struct {
	Name     string         `json:"name,omitempty"`
	Prefixes []netip.Prefix `json:"prefixes"`
	Plain    bool           `json:"plain,omitempty"`
}

// savedPartitions are those of a snapshot: the earlier ones, then its own.
func savedPartitions(s *resolver.Snapshot) []savedPartition {
	all := append(s.Earlier(), resolver.Earlier{Partition: s.Partition()})
	out := make([]savedPartition, 0, len(all))
	for _, e := range all {
		id := savedPartition{ECS: e.ECS, ByName: e.ByName, Until: e.Until}
		for _, site := range e.Units.Sites() {
			n := savedNetwork{Prefixes: site.Prefixes, Plain: site.Plain}
			if e.ByName {
				n.Name = site.Name
			}
			id.Networks = append(id.Networks, n)
		}
		out = append(out, id)
	}
	return out
}

// restore makes the partition.
func (id *savedPartition) restore() (e resolver.Earlier, err error) {
	sites := make([]geo.Site, len(id.Networks))
	for i, n := range id.Networks {
		sites[i] = geo.Site{Name: n.Name, Prefixes: n.Prefixes, Plain: n.Plain}
	}
	e = resolver.Earlier{Partition: resolver.Partition{ECS: id.ECS, ByName: id.ByName}, Until: id.Until}
	if id.ByName {
		e.Units, err = geo.NewUnitsByName(sites)
	} else {
		e.Units, err = geo.NewUnits(sites)
	}
	return e, err
}

// recallPartitions gives a first snapshot the partitions by which the table of units was
// kept before, and reports whether those that are saved are not all that count now.
func (a *App) recallPartitions(ctx context.Context, s *resolver.Snapshot, saved *savedHolds) (stale bool) {
	if saved == nil {
		return true
	}
	partitions := saved.Partitions
	if len(partitions) == 0 {
		partitions = []savedPartition{byName(s)}
		stale = true
	}
	var earlier []resolver.Earlier
	for i := range partitions {
		e, err := partitions[i].restore()
		if err != nil {
			a.log.WarnContext(ctx, "the networks of an earlier configuration are not usable; active clients of changed ones may move", "error", err)
			continue
		}
		if e.Until == 0 {
			if is := s.Partition(); e.Equal(&is) {
				continue
			}
			e.Until, stale = uint32(a.started.Unix()), true
		}
		earlier = append(earlier, e)
	}
	a.followed(s.SetEarlier(earlier, uint32(a.o.Now().Unix())))
	return stale
}

// followed warns if the oldest change of networks is lost: clients are no longer followed
// through it.
func (a *App) followed(lost bool) {
	if lost {
		a.log.Warn("clients are followed through the last changes of networks only; an active client of a network that was changed before may move",
			"changes", resolver.MaxEarlier, "within", decide.Keep*time.Second)
	}
}

// byName is the partition of versions that saved none. What their configuration was is
// not known; the one of now with the meaning it had then is the best guess: every
// network was a site, by its name.
func byName(s *resolver.Snapshot) savedPartition {
	id := savedPartition{ECS: s.ECS, ByName: true}
	for _, site := range s.Units.Sites() {
		id.Networks = append(id.Networks, savedNetwork{Name: site.Name, Prefixes: site.Prefixes})
	}
	return id
}

// restamp moves the end of the partition that the process before answered by: it did
// until now.
func restamp(s *resolver.Snapshot, started, now uint32) {
	earlier := s.Earlier()
	if i := len(earlier) - 1; i >= 0 && earlier[i].Until == started {
		earlier[i].Until = now
		s.SetEarlier(slices.Clip(earlier), now)
	}
}
