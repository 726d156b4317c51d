package app

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"portolan.dev/resolver/compile"
	"portolan.dev/resolver/decide"
)

const (
	// activitySize is how many client units are remembered: four megabytes.
	activitySize = 200_000
	// saveEvery is how much of the table a crash may cost. A unit that is lost gets
	// the nearest replica, as if there were no holds.
	saveEvery = 30 * time.Second
	// savedVersion is that of the saved form; others are ignored.
	savedVersion = 1
)

// savedHolds is the activity table as the ledger keeps it. Units are told apart by
// a seeded hash, so the seed is saved too; registries and regions go by name.
type savedHolds struct {
	Version    int                       `json:"version"`
	Seed       uint64                    `json:"seed"`
	Regions    [decide.MaxRegions]string `json:"regions"`
	Registries map[uint32]string         `json:"registries"`
	Units      []savedUnit               `json:"units"`
}

// savedUnit is one unit: key, last seen, hold's end, region, renewals, protected.
type savedUnit [6]uint64

// saveHolds writes the table and the serials to the ledger.
func (a *App) saveHolds(ctx context.Context) error {
	s := a.resolver.Snapshot()
	saved := savedHolds{
		Version: savedVersion, Seed: s.UnitSeed, Regions: a.numbering.RegionNames(), Registries: make(map[uint32]string),
	}
	oldest := uint32(a.o.Now().Add(-decide.Keep * time.Second).Unix())
	a.holds.Each(func(k decide.Key, e decide.Entry) {
		if e.LastSeen < oldest && e.Until < oldest {
			return
		}
		if _, ok := saved.Registries[k.Registry()]; !ok {
			saved.Registries[k.Registry()] = a.numbering.RegistryKey(k.Registry())
		}
		protected := uint64(0)
		if e.Protected {
			protected = 1
		}
		saved.Units = append(saved.Units, savedUnit{uint64(k), uint64(e.LastSeen), uint64(e.Until), uint64(e.Region), uint64(e.Renewals), protected})
	})
	blob, err := json.Marshal(saved)
	if err != nil {
		return err
	}
	if err := a.record.store.PutHolds(ctx, blob); err != nil {
		return fmt.Errorf("save the activity table: %w", err)
	}
	serials := make(map[string]uint32)
	for i := range a.world.Load().Config.Zones {
		serials[a.world.Load().Config.Zones[i].Name] = s.Serials[i].Load()
	}
	if err := a.record.store.SetSerials(ctx, serials); err != nil {
		return fmt.Errorf("save the serials: %w", err)
	}
	return nil
}

// loadHolds reads the table that was saved last. It returns nil when there is none
// that can be used: clients then get what is nearest.
func (a *App) loadHolds(ctx context.Context) *savedHolds {
	blob, _, err := a.record.store.Holds(ctx)
	if err != nil {
		a.log.WarnContext(ctx, "the saved activity table is not usable; clients get what is nearest", "error", err)
		return nil
	}
	if len(blob) == 0 {
		return nil
	}
	var saved savedHolds
	if err := json.Unmarshal(blob, &saved); err != nil || saved.Version != savedVersion {
		a.log.WarnContext(ctx, "the saved activity table is of another version; clients get what is nearest", "error", err)
		return nil
	}
	return &saved
}

// restore fills the table, translating names to the numbers of this process.
func (saved *savedHolds) restore(h *decide.Holds, n *compile.Numbering) {
	regions := make(map[uint64]uint8)
	for i, name := range saved.Regions {
		if name == "" {
			continue
		}
		if number, ok := n.Region(name); ok {
			regions[uint64(i)] = number
		}
	}
	registries := make(map[uint32]uint32, len(saved.Registries))
	for number, key := range saved.Registries {
		registries[number] = n.Registry(key)
	}
	for _, u := range saved.Units {
		key := decide.Key(u[0])
		region, ok := regions[u[3]]
		registry, known := registries[key.Registry()]
		if !ok || !known {
			continue
		}
		h.Put(key.WithRegistry(registry), decide.Entry{
			LastSeen: uint32(u[1]), Until: uint32(u[2]), Region: region, Renewals: uint8(u[4]), Protected: u[5] == 1,
		})
	}
}

// keepSaving saves the table now and then until ctx ends.
func (a *App) keepSaving(ctx context.Context) {
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := a.saveHolds(ctx); err != nil && ctx.Err() == nil {
				a.log.WarnContext(ctx, "what clients were given is not saved; a crash now may move some", "error", err)
			}
		}
	}
}
