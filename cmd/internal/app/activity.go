package app

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"time"

	"portolan.dev/resolver/activity"
	"portolan.dev/resolver/decide"
)

// openActivity makes the activity table: in memory that outlives the process, where
// there is such. left is what a process that was killed has left there, or nil.
func (a *App) openActivity(w *World) (left *activity.Left) {
	defer func() { w.Compiled.Snapshot.Holds = a.holds }()
	a.holds = decide.NewHolds(activitySize)
	folder := w.Config.State.Memory
	if folder == "" {
		a.saving.unshared("state.memory names no folder")
		a.log.Info("a kill may move clients that were active in the last seconds", "reason", a.saving.reason, "seconds", saveUnshared.Seconds())
		return nil
	}
	path := activity.Path(folder, w.Config.State.Dir, os.Geteuid())
	a.tablePath = path
	t, left, why, err := activity.Create(path, activitySize)
	if errors.Is(err, activity.ErrUnsupported) {
		a.saving.unshared(err.Error())
		a.log.Info("a kill may move clients that were active in the last seconds", "reason", err, "seconds", saveUnshared.Seconds())
		return nil
	}
	if err != nil {
		a.saving.unshared(err.Error())
		a.log.Warn("the activity table is not in shared memory; a kill may move clients that were active in the last seconds: see state.memory", "error", err, "seconds", saveUnshared.Seconds())
		return nil
	}
	if why != nil && !errors.Is(why, fs.ErrNotExist) {
		a.log.Warn("the activity table that was left is not usable; what was saved last is", "path", path, "error", why)
	}
	if n := activity.Sweep(path, a.clock.wall()); n > 0 {
		a.log.Info("tables of servers that did not come back were removed", "folder", folder, "tables", n)
	}
	a.shared, a.holds = t, t.Holds
	return left
}

// recall fills the activity table with what an earlier process left in memory and
// with what was saved, and sets the seed that both go by. Of a unit in both the
// later entry counts: a server may have run without shared memory in between.
func (a *App) recall(ctx context.Context, w *World, saved *savedHolds, left *activity.Left) error {
	s := w.Compiled.Snapshot
	units := make(map[decide.Key]decide.Entry)
	if saved != nil {
		s.UnitSeed = saved.Seed
		a.merge(w, units, saved.Regions, saved.Registries, saved.each)
		a.given.restore(saved.Moves, func(was uint32) (uint32, bool) {
			name, ok := saved.Registries[was]
			return a.numbering.Registry(servedName(w, name)), ok
		})
	}
	if saved == nil && left != nil {
		s.UnitSeed = left.Seed
	}
	if left != nil && left.Seed == s.UnitSeed { // else it is of another ledger
		a.merge(w, units, left.Regions, left.Registries, left.Holds.Each)
	}
	for k, e := range units {
		a.holds.Put(k, e)
	}
	a.unsaved = a.recallPartitions(ctx, s, saved)
	a.units.Store(s)
	if a.shared == nil {
		return nil
	}
	if err := a.shared.Name(a.numbering.RegionNames(), a.numbering.Registries); err != nil {
		return err //nolint:wrapcheck // names the path
	}
	if a.before != nil {
		return nil // until it serves the process before has that place
	}
	a.shared.Forget()
	return a.shared.Publish(s.UnitSeed) //nolint:wrapcheck // names the path
}

// merge adds what was left to units, translating names to the numbers of this
// process. What no longer matters is left out, and what cannot be true.
func (a *App) merge(
	w *World, units map[decide.Key]decide.Entry, names [decide.MaxRegions]string, served map[uint32]string,
	each func(func(decide.Key, decide.Entry)),
) {
	var regions [decide.MaxRegions]uint8
	for i, name := range names {
		regions[i] = decide.None
		if number, ok := a.numbering.Region(name); ok && name != "" {
			regions[i] = number
		}
	}
	registries := make(map[uint32]uint32, len(served))
	for number, name := range served {
		registries[number] = a.numbering.Registry(servedName(w, name))
	}
	now, keep := a.o.Now(), decide.Keep*time.Second
	oldest, latest := uint32(now.Add(-keep).Unix()), uint32(now.Add(keep).Unix())
	each(func(k decide.Key, e decide.Entry) {
		registry, known := registries[k.Registry()]
		if !known || e.Region >= decide.MaxRegions || regions[e.Region] == decide.None ||
			e.LastSeen > latest || e.LastSeen < oldest && e.Until < oldest {
			return
		}
		k, e.Region = k.WithRegistry(registry), regions[e.Region]
		if was, ok := units[k]; !ok || was.LastSeen <= e.LastSeen {
			units[k] = e
		}
	})
}

// servedName returns the global name of a registry in what was saved. Earlier versions
// saved its key there, which does not end in a dot.
func servedName(w *World, saved string) string {
	if i, ok := w.Compiled.Index[saved]; ok && !strings.HasSuffix(saved, ".") {
		return w.Compiled.Snapshot.Registries[i].Name
	}
	return saved
}

// mergeNew adds units that are not known yet from what another process has left, while
// the table is in use.
func (a *App) mergeNew(left *activity.Left) {
	units := make(map[decide.Key]decide.Entry)
	a.merge(a.world.Load(), units, left.Regions, left.Registries, left.Holds.Each)
	for k, e := range units {
		a.holds.Put(k, e)
	}
}

// nameUnits tells the shared table of numbers that the next snapshot brings.
func (a *App) nameUnits() {
	if a.shared == nil {
		return
	}
	if err := a.shared.Name(a.numbering.RegionNames(), a.numbering.Registries); err != nil {
		a.log.Warn("a kill may move clients of new registries", "error", err)
	}
}

// closeShared lets go of the shared memory, and gives it back when the table is saved.
func (a *App) closeShared(saved bool) error {
	if a.shared == nil {
		return nil
	}
	return a.shared.Close(saved) //nolint:wrapcheck // names the path
}
