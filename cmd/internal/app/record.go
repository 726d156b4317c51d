package app

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"portolan.dev/config/ledger"
)

// record is the ledger as the server uses it: verdicts of health are written if
// that is possible at all, and what operators decide only if it is.
type record struct {
	store ledger.Store
	log   *slog.Logger
	// trouble is the last error of a write, nil when the last one succeeded.
	trouble atomic.Pointer[error]
	seq     atomic.Uint64
}

// append writes events whose effect does not wait for the disk. A failure is
// logged once, and shown by status and metrics until a write succeeds.
func (r *record) append(ctx context.Context, events ...ledger.Event) {
	if len(events) == 0 {
		return
	}
	if _, err := r.decide(ctx, events...); err != nil && r.trouble.Swap(&err) == nil {
		r.log.ErrorContext(ctx, "the ledger cannot be written; serving goes on", "error", err)
	}
}

// decide writes events that must be durable before they take effect.
func (r *record) decide(ctx context.Context, events ...ledger.Event) ([]ledger.Event, error) {
	stored, err := r.store.Append(ctx, 0, events...)
	if err != nil {
		return nil, err
	}
	if r.trouble.Swap(nil) != nil {
		r.log.InfoContext(ctx, "the ledger can be written again")
	}
	r.seq.Store(stored[len(stored)-1].Seq)
	return stored, nil
}

// err returns why the ledger cannot be written; nil when it can.
func (r *record) err() error {
	if p := r.trouble.Load(); p != nil {
		return *p
	}
	return nil
}

// latelyPage is how many events are read at a time, from the newest back.
const latelyPage = 512

// lately returns the events decided since a moment, oldest first.
func (r *record) lately(ctx context.Context, since time.Time) ([]ledger.Event, error) {
	var out []ledger.Event
	for to := r.seq.Load(); to > 0; {
		from := max(to, latelyPage) - latelyPage + 1
		page, err := r.store.Events(ctx, from, int(to-from+1))
		if err != nil {
			return nil, err
		}
		if len(page) == 0 {
			break // compacted
		}
		out = append(page, out...)
		if page[0].DecidedAt.Before(since) {
			break
		}
		to = from - 1
	}
	return slices.DeleteFunc(out, func(e ledger.Event) bool { return e.DecidedAt.Before(since) }), nil
}
