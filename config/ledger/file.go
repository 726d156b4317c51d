package ledger

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"
)

var _ Store = (*File)(nil)

// File is a Store in a bbolt file, for one process. All writing is done by one
// goroutine, which Open starts and Close ends; calls that come while it waits for
// the disk share the next transaction. Pages of deleted events are used
// again, so the file stops growing where the log does; it never shrinks.
type File struct {
	path   string
	o      Options
	db     *bbolt.DB
	file   *os.File // what db has open
	writes chan *write
	stop   chan struct{} // closed by Close
	done   chan struct{} // closed when the writing goroutine has ended

	closing sync.Once
	closed  error // of the first Close; guarded by closing

	besideMu sync.Mutex // guards the files beside the log

	compacting atomic.Bool // there are old events to look for; set and cleared by the writing goroutine
	first      uint64      // Seq of the oldest event kept; owned by the writing goroutine
	unchecked  int         // events appended since the last compaction; owned by it too

	mu         sync.RWMutex  // guards what follows
	state      State         // entries are replaced, never changed
	grown      chan struct{} // closed and replaced with each change of the log
	failed     error         // if set, neither db nor what is in memory is used any more
	compactErr error
}

// Stats are figures of a File.
type Stats struct {
	// First and Last are the Seq of the oldest event kept and of the newest. First
	// is above Last if none is kept.
	First, Last uint64
	Size        int64 // of the file, in bytes
	Compacting  bool  // old events are being deleted
	// CompactErr is why the last compaction failed, nil if it did not. It is tried
	// again later; nothing else suffers but the size of the file.
	CompactErr error
}

// Stats returns the figures of f, as of the last change.
func (f *File) Stats() (Stats, error) {
	f.mu.RLock()
	s := Stats{Last: f.state.Seq, Compacting: f.compacting.Load(), CompactErr: f.compactErr}
	f.mu.RUnlock()
	err := f.view(func(tx *bbolt.Tx) error {
		s.Size = tx.Size()
		base, err := get(tx, bucketBase, []byte(keySeq))
		if err != nil {
			return err
		}
		s.First = binary.BigEndian.Uint64(base) + 1
		return nil
	})
	return s, err
}

// State implements [Log]. It reads no file.
func (f *File) State(ctx context.Context) (State, error) {
	if err := f.usable(ctx); err != nil {
		return State{}, err
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.state.Clone(), nil
}

// Append implements [Log].
func (f *File) Append(ctx context.Context, after uint64, events ...Event) ([]Event, error) {
	if err := f.usable(ctx); err != nil {
		return nil, err
	}
	if len(events) > MaxAppend {
		return nil, fmt.Errorf("%w: %d events at once: at most %d", ErrInvalid, len(events), MaxAppend)
	}
	w := &write{after: after, events: make([]Event, len(events)), done: make(chan struct{})}
	for i, e := range events {
		var err error
		if w.events[i], err = e.normalized(f.o.Now()); err != nil {
			return nil, err
		}
	}
	if err := f.submit(ctx, w); err != nil {
		return nil, err
	}
	return w.events, nil
}

// SetSerials implements [Saved].
func (f *File) SetSerials(ctx context.Context, serials map[string]uint32) error {
	if err := f.usable(ctx); err != nil {
		return err
	}
	for zone := range serials {
		if zone == "" {
			return fmt.Errorf("%w: SOA serial of a zone without a name; the root is \".\"", ErrInvalid)
		}
		if err := checkName("zone", zone); err != nil {
			return err
		}
	}
	return f.submit(ctx, &write{serials: maps.Clone(serials), done: make(chan struct{})})
}

// Close implements [Store].
func (f *File) Close() error {
	f.closing.Do(func() {
		close(f.stop)
		<-f.done
		f.mu.Lock()
		failed := f.failed
		if failed == nil {
			f.failed = f.errClosed()
		}
		f.mu.Unlock()
		if failed != nil {
			// What bbolt has locked when it panicked is locked for good, so db.Close might
			// never return. The mapping stays until the process ends.
			f.closed = errors.Join(unlockFile(f.file), f.file.Close())
			return
		}
		f.closed = f.db.Close()
	})
	if f.closed != nil {
		return fmt.Errorf("ledger %s: close: %w", f.path, f.closed)
	}
	return nil
}

func (f *File) errClosed() error { return fmt.Errorf("ledger %s: %w", f.path, ErrClosed) }

// usable returns why a call cannot go ahead.
func (f *File) usable(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("ledger %s: %w", f.path, err)
	}
	select {
	case <-f.stop:
		return f.errClosed()
	default:
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.failed
}

// fail ends all use of the file but Close.
func (f *File) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed == nil {
		f.failed = fmt.Errorf("ledger %s: %w; nothing is written any more: see to the disk, then restart the server", f.path, err)
	}
}

// view reads the file. Records that do not hold together are ErrCorrupt.
func (f *File) view(read func(*bbolt.Tx) error) error {
	if err := f.usable(context.Background()); err != nil {
		return err
	}
	err := guard(func() error { return f.db.View(read) })
	if err == nil {
		return nil
	}
	if errors.Is(err, bbolterrors.ErrDatabaseNotOpen) {
		return f.errClosed()
	}
	if errors.Is(err, errPanic) {
		f.fail(err)
	}
	return fmt.Errorf("ledger %s: read: %w", f.path, err)
}

// errPanic marks that bbolt panicked, or met a page it cannot read.
var errPanic = errors.New("cannot be read")

// guard calls f and turns a panic of bbolt, or a fault in its mapped file (an
// input error of the disk is one), into an error. Both happen only if the file
// was damaged after Open had checked it.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %w: %v", ErrCorrupt, errPanic, r)
		}
	}()
	return f()
}

// now is the clock, in UTC and without a monotonic reading.
func (f *File) now() time.Time { return f.o.Now().Round(0).UTC() }
