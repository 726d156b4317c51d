package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"portolan.dev/cmd/internal/availability"
	"portolan.dev/config/ledger"
)

// record is the ledger as the server uses it: it knows whether it can be written, and
// what the wall clock has to do with the moments in it. Those of events are steady here,
// and wall ones in the store, which is what operators and receivers read.
type record struct {
	store *gate
	clock *clock
	log   *slog.Logger
	// trouble is the last error of a write, nil when the last one succeeded.
	trouble atomic.Pointer[error]
	seq     atomic.Uint64

	writes atomic.Int32 // under way
	moved  atomic.Int64 // when one of them began or ended last, Unix nanoseconds
}

// stallAfter is how long the disk may take for a write before it counts as one that
// stalls.
const stallAfter = 2 * time.Second

var _ availability.Ledger = (*record)(nil)

// Append implements [availability.Ledger]. A failure that is the disk's is logged once,
// and shown by status and metrics until a write succeeds.
func (r *record) Append(ctx context.Context, events ...ledger.Event) ([]ledger.Event, error) {
	ahead, wall := r.clock.look(), make([]ledger.Event, len(events))
	for i := range events {
		wall[i] = events[i].Wall(ahead)
	}
	begin := r.begin()
	kept, err := r.store.Append(ctx, 0, wall...)
	r.end(ctx, begin)
	if err != nil {
		fault := errors.Is(err, ledger.ErrInvalid) || errors.Is(err, ledger.ErrConflict) || errors.Is(err, ledger.ErrClosed) || ctx.Err() != nil // the caller's
		if !fault && r.trouble.Swap(&err) == nil {
			r.log.ErrorContext(ctx, "the ledger cannot be written; serving goes on", "error", err)
		}
		return nil, err
	}
	r.works(ctx)
	r.seq.Store(kept[len(kept)-1].Seq)
	stored := make([]ledger.Event, len(kept)) // others may have been given what is kept
	for i := range kept {
		stored[i] = kept[i].Steady()
	}
	return stored, nil
}

// state is what the ledger comes to.
func (r *record) state(ctx context.Context) (ledger.State, error) {
	state, err := r.store.State(ctx)
	return state.Steady(), err
}

// works notes that a write has succeeded.
func (r *record) works(ctx context.Context) {
	if r.trouble.Swap(nil) != nil {
		r.log.InfoContext(ctx, "the ledger can be written again")
	}
}

// begin notes that a write begins, and end that it has ended, either way.
func (r *record) begin() time.Time {
	now := r.clock.now()
	if r.writes.Load() == 0 {
		r.moved.Store(now.UnixNano()) // before the count, for who reads both
	}
	r.writes.Add(1)
	return now
}

func (r *record) end(ctx context.Context, begin time.Time) {
	now := r.clock.now()
	r.moved.Store(now.UnixNano())
	r.writes.Add(-1)
	if took := now.Sub(begin); took >= stallAfter {
		r.log.WarnContext(ctx, "the ledger's disk was slow; what was to be written has waited", "took", took.Round(time.Millisecond))
	}
}

// err returns why the ledger cannot be written; nil when it can.
func (r *record) err() error {
	if p := r.trouble.Load(); p != nil {
		return *p
	}
	if r.writes.Load() == 0 {
		return nil
	}
	if waits := r.clock.now().Sub(time.Unix(0, r.moved.Load())); waits >= stallAfter {
		return fmt.Errorf("a write has been waiting for %s: the disk of state.dir stalls, or another process takes this one's place", waits.Round(time.Second))
	}
	return nil
}

// backPage is how many events are read at a time, from the newest back.
const backPage = 512

// Back implements [availability.Ledger]: it reads as far as events are kept.
func (r *record) Back(ctx context.Context, to uint64, f func(*ledger.Event) bool) error {
	return r.back(ctx, to, func(e *ledger.Event) bool {
		steady := e.Steady()
		return f(&steady)
	})
}

// back is Back with events as they are stored.
func (r *record) back(ctx context.Context, to uint64, f func(*ledger.Event) bool) error {
	for to > 0 {
		from := max(to, backPage) - backPage + 1
		page, err := r.store.Events(ctx, from, int(to-from+1))
		if err != nil {
			return err
		}
		for i := len(page) - 1; i >= 0; i-- {
			if page[i].Seq <= to && !f(&page[i]) {
				return nil
			}
		}
		if len(page) == 0 || page[0].Seq > from {
			return nil // the rest is deleted
		}
		to = from - 1
	}
	return nil
}

// lately returns the events decided since a moment, oldest first.
func (r *record) lately(ctx context.Context, since time.Time) ([]ledger.Event, error) {
	var out []ledger.Event
	err := r.Back(ctx, r.seq.Load(), func(e *ledger.Event) bool {
		if e.DecidedAt.Before(since) {
			// Verdicts carry the time of the probe and may stand out of order, but not by
			// more than the margin that callers add.
			return false
		}
		out = append(out, *e)
		return true
	})
	slices.Reverse(out)
	return out, err
}
