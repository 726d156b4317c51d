package app

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"

	"portolan.dev/config/ledger"
	"portolan.dev/resolver/activity"
)

// Verdicts that are not durable yet are noted beside the activity table, in memory that
// outlives the process: a replica that is down must not come back as up because the
// disk stalled when the server was killed.

// noting returns what keeps verdicts for the next process; nil where there is no such
// memory.
func (a *App) noting() func([]ledger.Event) error {
	if a.shared == nil {
		return nil
	}
	notes := activity.NewNotes(a.tablePath)
	return func(pending []ledger.Event) error {
		if len(pending) == 0 {
			return notes.Write(nil) //nolint:wrapcheck // names the path
		}
		text, err := json.Marshal(pending)
		if err != nil {
			return err
		}
		return notes.Write(text) //nolint:wrapcheck // names the path
	}
}

// leftVerdicts returns the verdicts that other processes have noted and that state does
// not know, in the order in which they were decided, and the files they lie in.
func (a *App) leftVerdicts(ctx context.Context, state *ledger.State) (events []ledger.Event, files []string) {
	if a.shared == nil {
		return nil, nil
	}
	notes, err := activity.LeftNotes(a.tablePath)
	if err != nil {
		a.log.WarnContext(ctx, "verdicts that an earlier process has noted are not readable", "error", err)
	}
	for file, text := range notes {
		var noted []ledger.Event
		if err := json.Unmarshal(text, &noted); err != nil {
			a.log.WarnContext(ctx, "verdicts that an earlier process has noted are not readable", "file", filepath.Base(file), "error", err)
		}
		files = append(files, file)
		for _, e := range noted {
			if !known(state, &e) {
				events = append(events, e)
			}
		}
	}
	slices.SortStableFunc(events, func(a, b ledger.Event) int { return a.DecidedAt.Compare(b.DecidedAt) })
	return events, files
}

// known reports whether a state has a verdict already, or a later one.
func known(state *ledger.State, e *ledger.Event) bool {
	h, ok := state.Health[e.Endpoint]
	switch {
	case e.Kind == ledger.Passing: // twice says no more than once
		return ok && h.Passing
	case e.Kind != ledger.Down && e.Kind != ledger.Up:
		return true
	case !ok:
		return false
	}
	last := h.UpAt
	if h.Down != nil {
		last = h.Down.DecidedAt
	}
	return !e.DecidedAt.After(last)
}

// dropNotes removes notes that are in the journal of this process now.
func dropNotes(files []string) {
	for _, file := range files {
		_ = os.Remove(file) // one that stays is known by its contents
	}
}
