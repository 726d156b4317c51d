package app

import (
	"context"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"portolan.dev/cmd/internal/admin"
	"portolan.dev/cmd/internal/sandbox"
	"portolan.dev/config"
	"portolan.dev/config/ledger"
	"portolan.dev/geo"
	"portolan.dev/resolver"
	"portolan.dev/resolver/compile"
)

// Reload implements [admin.API]: it reads configuration and location data again
// and serves them, or with dryRun only says what that would change. On error
// nothing has changed, and the error says what to mend. Listeners, the metrics
// address, the admin socket and the state folder are those of the start: a change
// of them is reported and takes a restart. What operators have decided stays.
func (a *App) Reload(ctx context.Context, dryRun bool) (admin.ReloadReport, error) {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	if a.stopped.Load() {
		return admin.ReloadReport{}, fmt.Errorf("reload: %w: the server has stopped", admin.ErrRefused)
	}
	begin := a.o.Now()
	old := a.world.Load()
	next, err := a.build(old)
	if err != nil {
		if !dryRun {
			a.metrics.reloaded(false, a.o.Now(), a.o.Now().Sub(begin))
		}
		return admin.ReloadReport{}, fmt.Errorf("reload: %w%s", err, sandbox.Hint(a.confined, err.Error()))
	}
	report := a.compare(old, next)
	report.DryRun = dryRun
	if !dryRun {
		// ---- Nothing below can fail. Above, nothing live has been touched. ----
		a.targets.stop()
		a.notifier.Set(next.receivers) // before the events of this reload
		a.noteReload(old, next)
		a.saveNow()
		a.publishLocked(next)
		if a.cancel != nil {
			a.targets.start(context.WithoutCancel(ctx)) // ended by the next reload or by Stop
		}
		a.metrics.reloaded(true, a.o.Now(), a.o.Now().Sub(begin))
		// The old world's arrays are large and garbage now; a server that is reloaded
		// often must not look twice its size.
		debug.FreeOSMemory()
		a.log.InfoContext(ctx, "reloaded", "took", a.o.Now().Sub(begin).Round(time.Millisecond), "changes", report.Changes,
			"moved_cells", report.MovedCells, "generation", next.Compiled.Snapshot.Generation)
		for _, name := range report.Restart {
			a.log.WarnContext(ctx, "a changed setting takes a restart", "setting", name)
		}
	}
	report.Generation = next.Compiled.Snapshot.Generation
	report.Millis = a.o.Now().Sub(begin).Milliseconds()
	return report, nil
}

// noteReload records that configuration or location data were replaced.
func (a *App) noteReload(old, next *World) {
	a.note(ledger.Config, next.digest(), fmt.Sprintf("reload, generation %d", next.Compiled.Snapshot.Generation))
	if old.Table.Digest() != next.Table.Digest() {
		a.note(ledger.GeoData, next.describeData(), "reload")
	}
}

// publish makes w what is served.
func (a *App) publish(w *World) {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	a.publishLocked(w)
}

func (a *App) publishLocked(w *World) {
	s := w.Compiled.Snapshot
	// A query, or an explanation, may still hold this snapshot when the next one is
	// served and its numbers mean something else.
	s.Excluded = func(registry int, region uint8) string {
		return a.availability.excluded(w, compile.Member{Registry: registry, Region: region})
	}
	a.nameUnits()
	a.resolver.Reserve(a.slots.Len())
	a.targets = newTargets(a, w)
	a.availability.adopt(w, func() {
		if old := a.world.Load(); old != nil {
			carrySerials(old, w)
		}
		a.resolver.Swap(s)
		if a.certificate != nil && w.certificate != nil {
			a.certificate.current.Store(w.certificate)
		}
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

// compare says what the change from one world to the next means.
func (a *App) compare(old, next *World) admin.ReloadReport {
	r := admin.ReloadReport{Changes: []string{}, Restart: []string{}}
	for _, part := range []struct {
		what          string
		before, after map[string]string
	}{
		{"registries", registriesOf(old), registriesOf(next)},
		{"zones", zonesOf(old), zonesOf(next)},
		{"receivers of notifications", receiversByURL(old), receiversByURL(next)},
	} {
		if text := counted(part.what, part.before, part.after); text != "" {
			r.Changes = append(r.Changes, text)
		}
	}
	if old.Table.Digest() != next.Table.Digest() {
		r.Changes = append(r.Changes, "location data: "+next.describeData())
	}
	r.MovedCells, r.MovedQueries = a.moved(old, next)
	b, c := old.Config, next.Config
	if socketsOf(&b.Server) != socketsOf(&c.Server) {
		r.Restart = append(r.Restart, "server")
	}
	if b.Admin != c.Admin {
		r.Restart = append(r.Restart, "admin")
	}
	if b.State.Dir != c.State.Dir {
		r.Restart = append(r.Restart, "state.dir")
	}
	if b.State.Memory != c.State.Memory {
		r.Restart = append(r.Restart, "state.memory")
	}
	return r
}

// socketsOf writes what the sockets of a server depend on.
func socketsOf(s *config.Server) string {
	return fmt.Sprint(s.Listen, s.Workers, s.TCP, s.TLS.Listen, s.ProxyFrom)
}

// counted says how many named things were added, removed and changed; "" for none.
func counted(what string, before, after map[string]string) string {
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
	if added+removed+altered == 0 {
		return ""
	}
	return fmt.Sprintf("%s: %d added, %d removed, %d changed", what, added, removed, altered)
}

func registriesOf(w *World) map[string]string {
	out := make(map[string]string, len(w.Config.Registries))
	for i := range w.Config.Registries {
		r := w.Config.Registries[i]
		r.Pos.File, r.Pos.Line, r.Pos.Column = "", 0, 0
		replicas := r.Replicas
		r.Replicas = nil
		var text strings.Builder
		fmt.Fprintf(&text, "%+v", r)
		for _, replica := range replicas {
			data := replica.Data
			replica.Pos.File, replica.Pos.Line, replica.Pos.Column, replica.Data = "", 0, 0, nil
			fmt.Fprintf(&text, " %+v", replica)
			if data != nil {
				fmt.Fprintf(&text, " %+v", *data)
			}
		}
		out[w.Config.Registries[i].Key] = text.String()
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

// moved returns which share of located addresses prefers another region in next
// than in old, and an estimate of the share of recent queries that do: each region's
// part of the recent answers, times the part of its cells that move.
func (a *App) moved(old, next *World) (cells, queries float64) {
	before, after := old.Compiled.Snapshot, next.Compiled.Snapshot
	total, left := make(map[string]float64), make(map[string]float64)
	var all, moved float64
	for _, cell := range next.Table.Cells() {
		if cell.Kind != geo.Located {
			continue
		}
		weight := float64(cell.Weight)
		was, is := nearest(before.Regions, cell.Point), nearest(after.Regions, cell.Point)
		all += weight
		total[was] += weight
		if was != is {
			moved += weight
			left[was] += weight
		}
	}
	if all > 0 {
		cells = moved / all
	}
	return cells, a.movedQueries(before, total, left)
}

func (a *App) movedQueries(s *resolver.Snapshot, total, left map[string]float64) float64 {
	counts := a.shares.latest().ten
	answered := make(map[string]float64)
	var all float64
	for i := range s.Registries {
		for region := range uint8(len(s.Regions)) {
			if !s.Registries[i].Configured.Has(region) {
				continue
			}
			if slot := s.Replicas[s.ReplicaNumber(i, region)].Slot; int(slot) < len(counts) {
				answered[s.Regions[region].Name] += float64(counts[slot])
				all += float64(counts[slot])
			}
		}
	}
	if all == 0 {
		return 0
	}
	var moved float64
	for region, n := range answered {
		if total[region] > 0 {
			moved += n / all * left[region] / total[region]
		}
	}
	return moved
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
