package app

import (
	"context"
	"fmt"
	"slices"

	"portolan.dev/cmd/internal/admin"
	"portolan.dev/cmd/internal/availability"
	"portolan.dev/config/ledger"
)

// defaultEvents is how many events are shown unless asked otherwise.
const defaultEvents = 1000

// disorder is by how much events may be older than those before them: verdicts carry
// the time of the probe.
const disorder = availability.LongestGrace

// Events implements [admin.API]: the newest events that match, oldest first.
func (a *App) Events(ctx context.Context, q admin.EventQuery) ([]admin.Event, error) {
	limit := q.Limit
	if limit <= 0 {
		limit = defaultEvents
	}
	var out []admin.Event
	err := a.record.back(ctx, a.record.seq.Load(), func(e *ledger.Event) bool {
		if e.Seq < q.From || q.Since != nil && e.DecidedAt.Before(q.Since.Add(-disorder)) {
			return false
		}
		if wanted(q, e) {
			out = append(out, a.event(e))
		}
		return len(out) < limit
	})
	slices.Reverse(out)
	return out, err
}

func wanted(q admin.EventQuery, e *ledger.Event) bool {
	switch {
	case q.Kind != "" && q.Kind != string(e.Kind):
		return false
	case q.Since != nil && e.DecidedAt.Before(*q.Since):
		return false
	}
	return availability.Selector{Registry: q.Registry, Region: q.Region}.Matches(e.Subject())
}

// event translates an event to what operators read.
func (a *App) event(e *ledger.Event) admin.Event {
	out := admin.Event{
		Seq: e.Seq, Kind: string(e.Kind), Registry: e.Registry, Region: e.Region,
		DecidedAt: e.DecidedAt, EffectiveAt: e.EffectiveAt, By: e.By, Reason: e.Why, Routing: e.Routing,
		Deadline: optional(e.Deadline), Until: optional(e.Until), Now: e.Now, Detail: e.Detail,
	}
	if n := len(a.world.Load().Compiled.Members(e.Endpoint)); n > 1 {
		out.SharedBy = n
	}
	return out
}

// Follow implements [admin.API].
func (a *App) Follow(ctx context.Context, from uint64) (<-chan admin.Event, error) {
	in := a.record.store.Watch(ctx, from)
	out := make(chan admin.Event)
	go func() { // ends with in, which ends with ctx
		defer close(out)
		for e := range in {
			select {
			case out <- a.event(&e):
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}

// note writes an event that only records what has happened.
func (a *App) note(kind ledger.Kind, detail, why string) {
	_ = a.availability.Record(ledger.Event{Kind: kind, By: "portolan", Why: why, Detail: detail}) // what goes wrong is known by the record
}

// describeData is a short name of a world's location data.
func (w *World) describeData() string {
	return fmt.Sprintf("%s, built %s", w.Table.Source(), w.Table.Built().UTC().Format("2006-01-02"))
}
