package ledger

import (
	"bytes"
	"context"
	"fmt"

	"go.etcd.io/bbolt"
)

// watchBatch is how many events a Watch reads at a time. None of them keeps a
// transaction open while it sends: bbolt could not use pages again.
const watchBatch = 256

// Events implements [Log].
func (f *File) Events(ctx context.Context, from uint64, limit int) ([]Event, error) {
	if err := f.usable(ctx); err != nil {
		return nil, err
	}
	if limit <= 0 || limit > MaxEventsLimit {
		limit = MaxEventsLimit
	}
	f.mu.RLock()
	last := f.state.Seq
	f.mu.RUnlock()
	return f.read(from, last, limit)
}

// read returns events from the first one to last, at most. last is never above
// f.state.Seq: what is in the file beyond that is not durable yet.
func (f *File) read(from, last uint64, limit int) ([]Event, error) {
	var events []Event
	end := seqKey(last)
	err := f.view(func(tx *bbolt.Tx) error {
		c := tx.Bucket([]byte(bucketEvents)).Cursor()
		for k, v := c.Seek(seqKey(from)); k != nil && bytes.Compare(k, end) <= 0 && len(events) < limit; k, v = c.Next() {
			payload, err := unseal(bucketEvents, k, v)
			if err != nil {
				return fmt.Errorf("%w: %w", ErrCorrupt, err)
			}
			e, err := decodeEvent(payload)
			if err != nil {
				return fmt.Errorf("event %x: %w: %w", k, ErrCorrupt, err)
			}
			events = append(events, e)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return events, nil
}

// Watch implements [Log].
func (f *File) Watch(ctx context.Context, from uint64) <-chan Event {
	events := make(chan Event)
	go f.watch(ctx, from, events) // ends with ctx or Close
	return events
}

// watch reads what there is, sends it, and waits for the log to grow. It keeps its
// place by number alone, so that the pace of the receiver concerns nobody.
func (f *File) watch(ctx context.Context, next uint64, events chan<- Event) {
	defer close(events)
	for {
		f.mu.RLock()
		grown, last := f.grown, f.state.Seq
		f.mu.RUnlock()
		batch, err := f.read(next, last, watchBatch)
		if err != nil {
			return
		}
		switch {
		case next == 0 && len(batch) == 0:
			next = last + 1
		case next != 0 && len(batch) == 0 && next <= last,
			next != 0 && len(batch) > 0 && batch[0].Seq != next:
			return // what comes next has been deleted
		}
		for _, e := range batch {
			select {
			case events <- e:
				next = e.Seq + 1
			case <-ctx.Done():
				return
			case <-f.stop:
				return
			}
		}
		if len(batch) > 0 {
			continue
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return
		case <-f.stop:
			return
		}
	}
}
