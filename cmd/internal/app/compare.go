package app

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"portolan.dev/cmd/internal/admin"
	"portolan.dev/config"
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
		{"receivers of notifications", receiversByURL(old), receiversByURL(next), false}, // a URL may hold a secret
	} {
		if text := counted(part.what, part.before, part.after, part.named); text != "" {
			r.Changes = append(r.Changes, text)
		}
	}
	if old.Table.Digest() != next.Table.Digest() {
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
		{"admin", b.Admin != c.Admin},
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
	return fmt.Sprint(s.Listen, s.Workers, s.TCP, s.TLS.Listen, s.ProxyFrom)
}

// registryChanges lists the registries that differ, by key.
func registryChanges(old, next *World) (changes []admin.RegistryChange) {
	before := registriesOf(old)
	for key, is := range registriesOf(next) {
		was, ok := before[key]
		delete(before, key)
		c := admin.RegistryChange{Registry: key, Change: "added"}
		if ok {
			c.Change, c.Settings = "changed", was.settings != is.settings
			c.Added, c.Removed, c.Changed = compareReplicas(was.replicas, is.replicas)
			if !c.Settings && len(c.Added)+len(c.Removed)+len(c.Changed) == 0 {
				continue
			}
		}
		changes = append(changes, c)
	}
	for key := range before {
		changes = append(changes, admin.RegistryChange{Registry: key, Change: "removed"})
	}
	slices.SortFunc(changes, func(a, b admin.RegistryChange) int { return cmp.Compare(a.Registry, b.Registry) })
	return changes
}

func compareReplicas(before, after map[string]string) (added, removed, changed []string) {
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

// registryText is what a registry says, to be compared.
type registryText struct {
	settings string
	replicas map[string]string // by region label
}

func registriesOf(w *World) map[string]registryText {
	out := make(map[string]registryText, len(w.Config.Registries))
	for i := range w.Config.Registries {
		r := w.Config.Registries[i]
		r.Pos.File, r.Pos.Line, r.Pos.Column = "", 0, 0
		text := registryText{replicas: make(map[string]string, len(r.Replicas))}
		for _, replica := range r.Replicas {
			data := replica.Data
			replica.Pos.File, replica.Pos.Line, replica.Pos.Column, replica.Data = "", 0, 0, nil
			said := fmt.Sprintf("%+v", replica)
			if data != nil {
				said += fmt.Sprintf(" %+v", *data)
			}
			text.replicas[config.Label(replica.Region)] = said
		}
		r.Replicas = nil
		text.settings = fmt.Sprintf("%+v", r)
		out[r.Key] = text
	}
	return out
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
