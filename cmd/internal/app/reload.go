package app

import (
	"context"
	"fmt"
	"time"

	"portolan.dev/cmd/internal/admin"
	"portolan.dev/cmd/internal/sandbox"
	"portolan.dev/config/ledger"
	"portolan.dev/resolver/compile"
)

// Reload implements [admin.API]: it reads configuration and location data again
// and serves them, or in a dry run only says what that would change. On error
// nothing has changed, and the error says what to mend. It is refused, unless it is
// forced, where active clients would lose the addresses of their replica. Listeners, the metrics
// address, the admin socket and the state folder are those of the start: a change
// of them is reported and takes a restart. What operators have decided stays.
func (a *App) Reload(ctx context.Context, r admin.ReloadRequest) (admin.ReloadReport, error) {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	if a.stopped.Load() {
		return admin.ReloadReport{}, fmt.Errorf("reload: %w: the server has stopped", admin.ErrRefused)
	}
	begin := a.o.Now()
	// One of the worlds is garbage after it, whichever.
	defer settleMemory()
	old := a.world.Load()
	var next *World
	var err error
	behind(func() { next, err = a.build(old) })
	if err != nil {
		if !r.DryRun {
			a.metrics.reloaded(false, a.clock.wall(), a.o.Now().Sub(begin))
		}
		return admin.ReloadReport{}, fmt.Errorf("reload: %w%s", err, sandbox.Hint(a.confined, err.Error()))
	}
	report := a.compare(old, next)
	report.DryRun = r.DryRun
	used := noteReaddressed(&report, a.readdressed(old, next))
	refused := refuseAddresses(used, "reload")
	switch {
	case r.Force || refused == nil:
	case r.DryRun:
		report.Refused = refused.Error()
	default:
		a.metrics.reloaded(false, a.o.Now(), a.o.Now().Sub(begin))
		return admin.ReloadReport{}, fmt.Errorf("reload: %w", refused)
	}
	if !r.DryRun {
		a.warnAddresses(ctx, used)
		// ---- Nothing below can fail. Above, nothing live has been touched. ----
		a.targets.stop()
		a.notifier.Set(next.targets()) // before the events of this reload
		a.noteReload(old, next)
		a.takeUnits(old, next)
		a.saveNow()
		a.overtake(context.WithoutCancel(ctx), old, next, func() { a.publishLocked(next) })
		a.shareDescriptors(next)
		if a.cancel != nil {
			a.targets.start(context.WithoutCancel(ctx)) // ended by the next reload or by Stop
		}
		a.metrics.reloaded(true, a.clock.wall(), a.o.Now().Sub(begin))
		a.log.InfoContext(ctx, "reloaded", "took", a.o.Now().Sub(begin).Round(time.Millisecond), "changes", report.Changes,
			"moved_cells", report.MovedCells, "generation", next.Compiled.Snapshot.Generation)
		a.warn(next)
		for _, name := range report.Restart {
			a.log.WarnContext(ctx, "a changed setting takes a restart", "setting", name)
		}
	}
	report.Generation = next.Compiled.Snapshot.Generation
	report.Millis = a.o.Now().Sub(begin).Milliseconds()
	return report, nil
}

// takeUnits has the units of next count from now on: first where they are saved, so that
// a crash leaves no unit that is not known.
func (a *App) takeUnits(old, next *World) {
	s := next.Compiled.Snapshot
	a.followed(s.Follow(old.Compiled.Snapshot, uint32(a.o.Now().Unix())))
	a.units.Store(s)
}

// noteReload records that configuration or location data were replaced.
func (a *App) noteReload(old, next *World) {
	a.note(ledger.Config, next.sum, fmt.Sprintf("reload, generation %d", next.Compiled.Snapshot.Generation))
	if old.tableDigest != next.tableDigest {
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
		return a.availability.Excluded(w.availability, compile.Member{Registry: registry, Region: region})
	}
	a.nameUnits()
	a.resolver.Reserve(a.slots.Len())
	a.targets = newTargets(a, w)
	a.monitor.SetAnchors(w.Compiled.Anchors)
	a.availability.Adopt(w.availability, carryAddresses(a.world.Load(), w), func() {
		if old := a.world.Load(); old != nil {
			carrySerials(old, w)
		}
		a.resolver.Swap(s)
		a.secondaries.Set(w.Compiled.Transfers)
		if a.certificate != nil && w.certificate != nil {
			a.certificate.current.Store(w.certificate)
		}
		a.remote.set(w.remote)
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
