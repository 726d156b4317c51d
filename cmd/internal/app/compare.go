package app

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"portolan.dev/cmd/internal/admin"
	"portolan.dev/config"
	"portolan.dev/resolver"
	"portolan.dev/resolver/compile"
)

const (
	// maxNamed bounds the names in one line of a report.
	maxNamed = 5
	// maxReported bounds the registries that a report lists.
	maxReported = 100
)

// compare says what the change from one world to the next means.
func (a *App) compare(old, next *World) admin.ReloadReport {
	r := admin.ReloadReport{Changes: []string{}, Restart: []string{}}
	registries := registryChanges(old, next)
	if line := countRegistries(registries); line != "" {
		r.Changes = append(r.Changes, line)
	}
	for _, part := range []struct {
		what          string
		before, after map[string]string
		named         bool
	}{
		{"zones", zonesOf(old), zonesOf(next), true},
		{"networks", networksOf(old), networksOf(next), true},
		{"receivers of notifications", receiversByURL(old), receiversByURL(next), false}, // a URL may hold a secret
	} {
		if text := counted(part.what, part.before, part.after, part.named); text != "" {
			r.Changes = append(r.Changes, text)
		}
	}
	if names := next.kept.changed(old.kept); len(names) > 0 {
		r.Changes = append(r.Changes, "files: "+strings.Join(names[:min(len(names), maxNamed)], "; "))
		if more := len(names) - maxNamed; more > 0 {
			r.Changes[len(r.Changes)-1] += fmt.Sprintf("; and %d more", more)
		}
	}
	if old.tableDigest != next.tableDigest {
		r.Changes = append(r.Changes, "location data: "+next.describeData())
	}
	m := newMoves(old, next)
	r.MovedCells, r.MovedQueries = m.cells, a.movedQueries(old, m)
	for i := range registries {
		registries[i].MovedCells = m.share(registries[i].Registry)
	}
	r.Registries = registries[:min(len(registries), maxReported)]
	r.RegistriesLeftOff = len(registries) - len(r.Registries)
	r.Restart = append(r.Restart, needRestart(old.Config, next.Config)...)
	return r
}

// needRestart lists the sections whose change a reload does not take up.
func needRestart(b, c *config.Config) (sections []string) {
	for _, s := range []struct {
		name    string
		changed bool
	}{
		{"server", socketsOf(&b.Server) != socketsOf(&c.Server)},
		{"admin", b.Admin.Socket != c.Admin.Socket || b.Admin.Metrics != c.Admin.Metrics || b.Admin.TCP.Listen != c.Admin.TCP.Listen},
		{"state.dir", b.State.Dir != c.State.Dir},
		{"state.memory", b.State.Memory != c.State.Memory},
	} {
		if s.changed {
			sections = append(sections, s.name)
		}
	}
	return sections
}

// socketsOf writes what the sockets of a server depend on.
func socketsOf(s *config.Server) string {
	limits := s.TCP
	limits.Transfers = 0 // belongs to the zones
	return fmt.Sprint(s.Listen, s.Workers, limits, s.TLS.Listen, s.ProxyFrom)
}

// registryChanges lists the registries that differ, by key. One with another key under
// the same name is the same.
func registryChanges(old, next *World) (changes []admin.RegistryChange) {
	before, after := old.Compiled.Snapshot.Registries, next.Compiled.Snapshot.Registries
	gone, come := make([]bool, len(before)), make([]bool, len(after))
	for i := range gone {
		gone[i] = true
	}
	for i := range come {
		come[i] = true
	}
	for was, is := range compile.Pairs(old.Compiled, next.Compiled) {
		gone[was], come[is] = false, false
		c := admin.RegistryChange{Registry: after[is].Key, Change: "changed"}
		if before[was].Key != after[is].Key {
			c.RenamedFrom = before[was].Key
		}
		c.Settings = old.said.registries[was].settings != next.said.registries[is].settings
		if differ := !slices.Equal(old.replicasSaid(was), next.replicasSaid(is)); differ {
			c.Added, c.Removed, c.Changed = compareReplicas(old.replicasByLabel(was), next.replicasByLabel(is))
		}
		if c.Settings || c.RenamedFrom != "" || len(c.Added)+len(c.Removed)+len(c.Changed) > 0 {
			changes = append(changes, c)
		}
	}
	changes = append(changes, registriesOf(after, come, "added")...)
	changes = append(changes, registriesOf(before, gone, "removed")...)
	slices.SortFunc(changes, func(a, b admin.RegistryChange) int { return cmp.Compare(a.Registry, b.Registry) })
	return changes
}

func registriesOf(registries []resolver.Registry, which []bool, change string) (changes []admin.RegistryChange) {
	for i, is := range which {
		if is {
			changes = append(changes, admin.RegistryChange{Registry: registries[i].Key, Change: change})
		}
	}
	return changes
}

// replicasSaid returns the digests of the replicas of a registry.
func (w *World) replicasSaid(registry int) []uint32 {
	r := &w.Compiled.Snapshot.Registries[registry]
	return w.said.replicas[r.First : int(r.First)+r.Configured.Count()]
}

func (w *World) replicasByLabel(registry int) map[string]uint32 {
	s, out := w.Compiled.Snapshot, make(map[string]uint32)
	for i := range s.Regions {
		if s.Registries[registry].Configured.Has(uint8(i)) {
			out[s.Regions[i].Label] = w.said.replicas[s.ReplicaNumber(registry, uint8(i))]
		}
	}
	return out
}

func compareReplicas(before, after map[string]uint32) (added, removed, changed []string) {
	for region, is := range after {
		switch was, ok := before[region]; {
		case !ok:
			added = append(added, region)
		case was != is:
			changed = append(changed, region)
		}
	}
	for region := range before {
		if _, ok := after[region]; !ok {
			removed = append(removed, region)
		}
	}
	slices.Sort(added)
	slices.Sort(removed)
	slices.Sort(changed)
	return added, removed, changed
}

func countRegistries(changes []admin.RegistryChange) string {
	if len(changes) == 0 {
		return ""
	}
	n := make(map[string]int)
	for _, c := range changes {
		n[c.Change]++
	}
	return fmt.Sprintf("registries: %d added, %d removed, %d changed", n["added"], n["removed"], n["changed"])
}

// counted says how many named things were added, removed and changed, and which if
// they may be named; "" for none.
func counted(what string, before, after map[string]string, named bool) string {
	var added, removed, altered int
	var names []string
	for name, v := range after {
		was, ok := before[name]
		switch {
		case !ok:
			added++
			names = append(names, name)
		case was != v:
			altered++
			names = append(names, name)
		}
	}
	for name := range before {
		if _, ok := after[name]; !ok {
			removed++
			names = append(names, name)
		}
	}
	if added+removed+altered == 0 {
		return ""
	}
	text := fmt.Sprintf("%s: %d added, %d removed, %d changed", what, added, removed, altered)
	if named {
		slices.Sort(names)
		text += " (" + strings.Join(names[:min(len(names), maxNamed)], ", ")
		if len(names) > maxNamed {
			text += fmt.Sprintf(", and %d more", len(names)-maxNamed)
		}
		text += ")"
	}
	return text
}

func networksOf(w *World) map[string]string {
	out := make(map[string]string, len(w.Config.Geo.Networks))
	for i := range w.Config.Geo.Networks {
		n := &w.Config.Geo.Networks[i]
		out[n.Name] = fmt.Sprint(n.Prefixes, n.Region, n.Plain)
	}
	return out
}

func zonesOf(w *World) map[string]string {
	out := make(map[string]string, len(w.Config.Zones))
	for i := range w.Config.Zones {
		z := w.Config.Zones[i]
		var text strings.Builder
		fmt.Fprint(&text, z.Contact, z.Records, z.TTL, z.NegativeTTL)
		for _, ns := range z.Nameservers {
			fmt.Fprint(&text, ns.Name, ns.Addresses)
		}
		out[z.Name] = text.String()
	}
	return out
}
