package app

import (
	"context"
	"fmt"
	"time"

	"portolan.dev/geo"
)

// Reload reads configuration and location data again and serves them. On error
// nothing has changed, and the error says what to mend. Listeners, the metrics
// address and the admin socket are those of the start: a change of them is
// reported and takes a restart.
func (a *App) ReloadNow(context.Context) error {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	begin := a.o.Now()
	old := a.world.Load()
	next, err := a.o.Build(old, a.slots)
	if err != nil {
		a.metrics.reloaded(false, a.o.Now(), a.o.Now().Sub(begin))
		return fmt.Errorf("reload: %w", err)
	}
	// ---- Nothing below can fail. Above, nothing live has been touched. ----
	a.targets.stop()
	a.publishLocked(next)
	if a.cancel != nil {
		a.targets.start(context.Background()) // ended by the next reload or by Stop
	}
	a.metrics.reloaded(true, a.o.Now(), a.o.Now().Sub(begin))
	d := diff(old, next)
	a.log.Info("reloaded", "took", a.o.Now().Sub(begin).Round(time.Millisecond), "changes", d.changes,
		"moved_share", d.moved, "generation", next.Compiled.Snapshot.Generation)
	for _, name := range d.restart {
		a.log.Warn("a changed setting takes a restart", "setting", name)
	}
	return nil
}

// publish makes w what is served.
func (a *App) publish(w *World) {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	a.publishLocked(w)
}

func (a *App) publishLocked(w *World) {
	s := w.Compiled.Snapshot
	s.Excluded = a.availability.excluded
	a.resolver.Reserve(a.slots.Len())
	a.targets = newTargets(a, w)
	a.availability.adopt(w, func() {
		if old := a.world.Load(); old != nil {
			carrySerials(old, w)
		}
		a.resolver.Swap(s)
		a.world.Store(w)
	})
}

// carrySerials makes sure that a serial raised while w was being compiled is not
// followed by a lower one.
func carrySerials(old, next *World) {
	before, after := old.Compiled.Snapshot, next.Compiled.Snapshot
	for i, z := range after.Names.Zones() {
		for j, was := range before.Names.Zones() {
			if string(z.Apex) != string(was.Apex) {
				continue
			}
			if last := before.Serials[j].Load(); after.Serials[i].Load() <= last {
				after.Serials[i].Store(last + 1)
			}
		}
	}
}

// changes is what a reload did, for its log line.
type changes struct {
	changes []string
	moved   float64  // share of located addresses whose ranked list differs, 0 to 1
	restart []string // settings that were changed and need a restart
}

// diff compares two worlds by what operators call things.
func diff(old, next *World) changes {
	var d changes
	count := func(what string, before, after map[string]string) {
		var added, removed, altered int
		for name, v := range after {
			was, ok := before[name]
			switch {
			case !ok:
				added++
			case was != v:
				altered++
			}
		}
		for name := range before {
			if _, ok := after[name]; !ok {
				removed++
			}
		}
		if added+removed+altered > 0 {
			d.changes = append(d.changes, fmt.Sprintf("%s: %d added, %d removed, %d changed", what, added, removed, altered))
		}
	}
	count("registries", registriesOf(old), registriesOf(next))
	count("zones", zonesOf(old), zonesOf(next))
	if !old.Table.Built().Equal(next.Table.Built()) || old.Table.Source() != next.Table.Source() {
		d.changes = append(d.changes, "location data: "+next.Table.Source()+" of "+next.Table.Built().UTC().Format(time.DateOnly))
	}
	d.moved = movedShare(old, next)
	a, b := old.Config, next.Config
	if fmt.Sprint(a.Server.Listen, a.Server.Workers, a.Server.TCP) != fmt.Sprint(b.Server.Listen, b.Server.Workers, b.Server.TCP) {
		d.restart = append(d.restart, "server")
	}
	if a.Admin != b.Admin {
		d.restart = append(d.restart, "admin")
	}
	return d
}

func registriesOf(w *World) map[string]string {
	out := make(map[string]string, len(w.Config.Registries))
	for i := range w.Config.Registries {
		r := w.Config.Registries[i]
		r.Pos.File, r.Pos.Line, r.Pos.Column = "", 0, 0
		replicas := r.Replicas
		r.Replicas = nil
		text := fmt.Sprintf("%+v", r)
		for _, replica := range replicas {
			data := replica.Data
			replica.Pos.File, replica.Pos.Line, replica.Pos.Column, replica.Data = "", 0, 0, nil
			text += fmt.Sprintf(" %+v", replica)
			if data != nil {
				text += fmt.Sprintf(" %+v", *data)
			}
		}
		out[w.Config.Registries[i].Key] = text
	}
	return out
}

func zonesOf(w *World) map[string]string {
	out := make(map[string]string, len(w.Config.Zones))
	for i := range w.Config.Zones {
		z := w.Config.Zones[i]
		text := fmt.Sprint(z.Contact, z.Records, z.TTL, z.NegativeTTL)
		for _, ns := range z.Nameservers {
			text += fmt.Sprint(ns.Name, ns.Addresses)
		}
		out[z.Name] = text
	}
	return out
}

// movedShare returns the share of located addresses, by weight of their cells,
// that prefer another region in next than in old.
func movedShare(old, next *World) float64 {
	var all, moved float64
	before, after := old.Compiled.Snapshot, next.Compiled.Snapshot
	for _, cell := range next.Table.Cells() {
		if cell.Kind != geo.Located {
			continue
		}
		all += float64(cell.Weight)
		was, is := nearest(before.Regions, cell.Point), nearest(after.Regions, cell.Point)
		if was != is {
			moved += float64(cell.Weight)
		}
	}
	if all == 0 {
		return 0
	}
	return moved / all
}

// nearest returns the name of the region with the least cost from p.
func nearest(regions []geo.Region, p geo.Point) string {
	best, name := 0.0, ""
	for _, r := range regions {
		if cost := r.Kilometres(p) + r.Bias; name == "" || cost < best {
			best, name = cost, r.Name
		}
	}
	return name
}
