package availability

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"portolan.dev/config/ledger"
)

// retryAfter is the pause after a write that failed.
const retryAfter = time.Second

// notePatience is how long a verdict waits for being noted before it is published.
const notePatience = 20 * time.Millisecond

// errStopped is what an order gets that comes when nobody writes any more.
var errStopped = errors.New("the server stops, or another process has just taken its place: ask again")

// journal writes events in the order in which they were decided. Verdicts are kept
// until they are written, whatever that takes; an order has one attempt, and its
// caller waits for it. While the disk stalls everything waits here, and nothing else
// waits.
type journal struct {
	o Options
	// named gives the name under which the registry with a key is served; "" for none.
	named func(registry string) string
	wake  chan struct{} // holds a token when there may be something to write

	noting  sync.Mutex // one note at a time, in order
	writing sync.Mutex // one write at a time; held over I/O, by those who write alone

	mu      sync.Mutex // guards what follows; only ever held for work in memory
	queue   []*entry
	running bool // run is called; until then those who order write
	stopped bool
}

// entry is events that were decided together.
type entry struct {
	events []ledger.Event
	// verdict tells what must be written from an order.
	verdict bool
	// voluntary says that clients are saved before it is written.
	voluntary bool
	// done is called once the events are durable, or with the reason why they never
	// will be; nil for nothing. It is called by the goroutine that writes.
	done func(stored []ledger.Event, err error)
	// failed, if it is not nil, is called when a verdict could not be written and will be
	// tried again, each time.
	failed func()
}

func newJournal(o Options, named func(registry string) string) *journal {
	return &journal{o: o, named: named, wake: make(chan struct{}, 1)}
}

// verdicts queues events that must be written. done may be nil.
func (j *journal) verdicts(events []ledger.Event, done func([]ledger.Event, error)) {
	if len(events) > 0 {
		j.push(&entry{events: events, verdict: true, done: done})
	}
}

// order queues events that have one attempt, and waits for its outcome. apply, if it
// is not nil, makes them take effect as soon as they are durable, before any event
// behind them is written.
func (j *journal) order(events []ledger.Event, voluntary bool, apply func([]ledger.Event)) error {
	decided := make(chan error, 1)
	pushed := j.push(&entry{events: events, voluntary: voluntary, done: func(stored []ledger.Event, err error) {
		if err == nil && apply != nil {
			apply(stored)
		}
		decided <- err
	}})
	if !pushed {
		return errStopped
	}
	if !j.runs() {
		j.flush(context.Background())
	}
	return <-decided
}

// runs reports whether there is a goroutine that writes, or was.
func (j *journal) runs() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.running || j.stopped
}

func (j *journal) push(e *entry) (ok bool) {
	for i := range e.events {
		if event := &e.events[i]; event.Registry != "" && event.Name == "" {
			event.Name = j.named(event.Registry)
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.stopped && !e.verdict {
		return false
	}
	j.queue = append(j.queue, e)
	select {
	case j.wake <- struct{}{}:
	default:
	}
	return true
}

// idle reports whether nothing waits to be written.
func (j *journal) idle() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.queue) == 0
}

// pending returns the verdicts that are not durable yet.
func (j *journal) pending() []ledger.Event {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []ledger.Event
	for _, e := range j.queue {
		if e.verdict {
			out = append(out, e.events...)
		}
	}
	return out
}

// note keeps what is pending where the next process finds it. Call it without any
// lock, after verdicts have been queued or written.
func (j *journal) note() { j.noteWith(nil) }

// noteWith is note with verdicts that are not queued yet.
func (j *journal) noteWith(verdicts []ledger.Event) {
	if j.o.Note == nil {
		return
	}
	j.noting.Lock()
	defer j.noting.Unlock()
	if err := j.o.Note(append(j.pending(), verdicts...)); err != nil {
		j.o.Log.Warn("verdicts that are not durable yet are not noted; a kill now may forget them", "error", err)
	}
}

// noteFirst keeps verdicts that are about to be published, beside those that are pending, so
// that no client is led away by a verdict that a kill would forget. Memory takes far less
// than notePatience; should it take longer, the replicas are left all the same.
func (j *journal) noteFirst(verdicts []ledger.Event) {
	noted := make(chan struct{})
	go func() { // ends when Note does
		defer close(noted)
		j.noteWith(verdicts)
	}()
	patience := time.NewTimer(notePatience)
	defer patience.Stop()
	select {
	case <-noted:
	case <-patience.C:
	}
}

// run writes until ctx ends. What is queued then is left to flush.
func (j *journal) run(ctx context.Context) {
	j.mu.Lock()
	j.running = true
	j.mu.Unlock()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			j.stop()
			return
		case <-j.wake:
		case <-timer.C:
		}
		if !j.writeAll(ctx) {
			timer.Reset(retryAfter)
		}
	}
}

// stop lets go of those who wait for an order.
func (j *journal) stop() {
	j.mu.Lock()
	j.stopped = true
	j.mu.Unlock()
	j.refuse(errStopped)
}

// flush makes one attempt at all that is queued.
func (j *journal) flush(ctx context.Context) { j.writeAll(ctx) }

// writeAll writes what is queued, and returns false if some of it has to wait.
func (j *journal) writeAll(ctx context.Context) bool {
	j.writing.Lock()
	defer j.writing.Unlock()
	for {
		batch := j.head()
		if len(batch) == 0 {
			return true
		}
		err := j.write(ctx, batch)
		switch {
		case err == nil:
			continue
		case batch[0].verdict && errors.Is(err, ledger.ErrInvalid) && len(batch) > 1:
			if j.writeEach(ctx, batch) {
				continue
			}
		case !batch[0].verdict || errors.Is(err, ledger.ErrInvalid):
			j.settle(batch, nil, err) // will never be written
			continue
		}
		// Behind verdicts that cannot be written an order cannot be either.
		j.refuse(err)
		if !errors.Is(err, ledger.ErrClosed) {
			for _, e := range batch {
				if e.failed != nil {
					e.failed()
				}
			}
		}
		return false
	}
}

// writeEach writes entries one by one: one of them is not what a ledger takes.
func (j *journal) writeEach(ctx context.Context, batch []*entry) bool {
	for _, e := range batch {
		err := j.write(ctx, []*entry{e})
		if errors.Is(err, ledger.ErrInvalid) {
			j.settle([]*entry{e}, nil, err)
		} else if err != nil {
			return false
		}
	}
	return true
}

// head returns what is to be written together: verdicts that follow one another, or
// one order.
func (j *journal) head() (batch []*entry) {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := 0
	for _, e := range j.queue {
		if n += len(e.events); len(batch) > 0 && (!e.verdict || !batch[0].verdict || n > ledger.MaxAppend) {
			break
		}
		batch = append(batch, e)
	}
	return batch
}

func (j *journal) write(ctx context.Context, batch []*entry) error {
	var events []ledger.Event
	voluntary := false
	for _, e := range batch {
		events, voluntary = append(events, e.events...), voluntary || e.voluntary
	}
	if voluntary {
		j.o.Save()
	}
	stored, err := j.o.Ledger.Append(ctx, events...)
	if err == nil {
		j.settle(batch, stored, nil)
	}
	return err
}

// settle takes entries out of the queue and says what became of them.
func (j *journal) settle(batch []*entry, stored []ledger.Event, err error) {
	j.mu.Lock()
	j.queue = slices.Delete(j.queue, 0, len(batch)) // only this goroutine takes from it
	j.mu.Unlock()
	for _, e := range batch {
		var own []ledger.Event
		if err == nil {
			own, stored = stored[:len(e.events)], stored[len(e.events):]
		}
		if e.done != nil {
			e.done(own, err)
		}
	}
	if batch[0].verdict {
		j.note()
	}
}

// refuse ends all orders that wait.
func (j *journal) refuse(err error) {
	j.mu.Lock()
	var waiting []*entry
	j.queue = slices.DeleteFunc(j.queue, func(e *entry) bool {
		if !e.verdict {
			waiting = append(waiting, e)
		}
		return !e.verdict
	})
	j.mu.Unlock()
	for _, e := range waiting {
		e.done(nil, err)
	}
}
