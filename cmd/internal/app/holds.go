package app

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"portolan.dev/resolver/decide"
)

const (
	// activitySize is how many client units are remembered: four megabytes.
	activitySize = 200_000
	// savedVersion is that of the saved form; others are ignored.
	savedVersion = 1
)

// savedHead says what the numbers in a saved activity table mean. Units are told
// apart by a seeded hash, so the seed is saved too; registries go by their global name
// and regions by theirs. The units follow it, unitSize octets each.
type savedHead struct {
	Version    int                       `json:"version"`
	Seed       uint64                    `json:"seed"`
	Regions    [decide.MaxRegions]string `json:"regions"`
	Registries map[uint32]string         `json:"registries"`
	// Partitions say what the units of the table are: what counted within the last hour,
	// the latest last. Versions that save none tell sites apart by their names.
	Partitions []savedPartition `json:"partitions,omitempty"`
	// Moves are the histories of units, for explanations.
	Moves []savedMove `json:"moves,omitempty"`
	// Clock is the steady clock when the table was saved: all moments in it are of that
	// clock. Earlier versions do not save it.
	Clock clockMark `json:"clock,omitzero"`
}

// unitSize is key (8 octets), last seen (4), hold's end (4), region, renewals,
// standing (1 each).
const unitSize = 19

// The standings as saved. An older version knew two, and wrote 1 for the one that keeps
// a unit its way.
const (
	savedNewcomer = iota
	savedQualified
	savedReturned
)

// saveHolds writes the table and the serials to the ledger.
func (a *App) saveHolds(ctx context.Context) error {
	s := a.resolver.Snapshot()
	head := savedHead{
		Version: savedVersion, Seed: s.UnitSeed, Regions: a.numbering.RegionNames(), Registries: make(map[uint32]string),
		Moves: a.given.saved(a.o.Now()), Partitions: savedPartitions(a.units.Load()), Clock: a.clock.mark(),
	}
	for _, m := range head.Moves {
		head.Registries[m.Key.Registry()] = a.numbering.RegistryName(m.Key.Registry())
	}
	var units []byte
	oldest := uint32(a.o.Now().Add(-decide.Keep * time.Second).Unix())
	a.holds.Each(func(k decide.Key, e decide.Entry) {
		if e.LastSeen < oldest && e.Until < oldest {
			return
		}
		if _, ok := head.Registries[k.Registry()]; !ok {
			head.Registries[k.Registry()] = a.numbering.RegistryName(k.Registry())
		}
		units = appendUnit(units, k, e)
	})
	blob, err := json.Marshal(head)
	if err != nil {
		return err
	}
	blob = append(append(blob, '\n'), units...)
	if err := a.record.store.PutHolds(ctx, blob); err != nil {
		return fmt.Errorf("save the activity table: %w", err)
	}
	serials := make(map[string]uint32)
	zones := a.world.Load().Config.Zones
	for i := range zones {
		serials[zones[i].Name] = a.world.Load().Compiled.Snapshot.Serials[i].Load()
	}
	if err := a.record.store.SetSerials(ctx, serials); err != nil {
		return fmt.Errorf("save the serials: %w", err)
	}
	a.record.works(ctx)
	return nil
}

func appendUnit(dst []byte, k decide.Key, e decide.Entry) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(k))
	dst = binary.BigEndian.AppendUint32(dst, e.LastSeen)
	dst = binary.BigEndian.AppendUint32(dst, e.Until)
	return append(dst, e.Region, e.Renewals, standingToSaved(e.Standing))
}

func standingToSaved(s decide.Standing) byte {
	switch s {
	case decide.Newcomer:
		return savedNewcomer
	case decide.Returned:
		return savedReturned
	case decide.Qualified:
		return savedQualified
	}
	return savedNewcomer
}

func standingFromSaved(b byte) decide.Standing {
	switch b {
	case savedReturned:
		return decide.Returned
	case savedQualified:
		return decide.Qualified
	}
	return decide.Newcomer
}

// saveNow saves before a voluntary change; a failure is an alarm and no obstacle.
func (a *App) saveNow() {
	if err := a.saveHolds(context.Background()); err != nil {
		a.log.Warn("what clients were given is not saved; a crash now may move some", "error", err)
	}
}

// savedHolds is a table that was saved.
type savedHolds struct {
	savedHead
	units []byte
}

// loadHolds reads the table that was saved last. It returns nil when there is none
// that can be used: clients then get what is nearest.
func (a *App) loadHolds(ctx context.Context) *savedHolds {
	blob, at, err := a.record.store.Holds(ctx)
	if err != nil {
		a.log.WarnContext(ctx, "the saved activity table is not usable; clients get what is nearest", "error", err)
		return nil
	}
	if len(blob) == 0 {
		return nil
	}
	head, units, _ := bytes.Cut(blob, []byte("\n"))
	saved := savedHolds{units: units}
	if err := json.Unmarshal(head, &saved.savedHead); err != nil || saved.Version != savedVersion || len(units)%unitSize != 0 {
		a.log.WarnContext(ctx, "the saved activity table is of another version; clients get what is nearest", "error", err)
		return nil
	}
	if saved.Clock.Steady.IsZero() {
		saved.Clock.Steady = at
	}
	return &saved
}

// each calls f for every unit, in the numbers of the process that saved it.
func (saved *savedHolds) each(f func(decide.Key, decide.Entry)) {
	for u := saved.units; len(u) >= unitSize; u = u[unitSize:] {
		f(decide.Key(binary.BigEndian.Uint64(u)), decide.Entry{
			LastSeen: binary.BigEndian.Uint32(u[8:]), Until: binary.BigEndian.Uint32(u[12:]),
			Region: u[16], Renewals: u[17], Standing: standingFromSaved(u[18]),
		})
	}
}
