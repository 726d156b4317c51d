package ledger

import (
	"context"
	"errors"
	"net/netip"
	"time"
)

// What a Store refuses or fails with, to be told apart with errors.Is. The text of
// the error that wraps one of them names the file and what to do.
var (
	// ErrConflict: the log has moved on since the caller looked. Nothing was
	// stored; read the state, decide again.
	ErrConflict = errors.New("the log has moved on")
	// ErrClosed: the Store was closed.
	ErrClosed = errors.New("the ledger is closed")
	// ErrLocked: another process has the file open.
	ErrLocked = errors.New("in use by another process")
	// ErrNewer: a newer version has written the file, in a form that this one does not read.
	ErrNewer = errors.New("written by a newer version of the server")
	// ErrCorrupt: what is stored does not hold together.
	ErrCorrupt = errors.New("damaged")
)

// Store is a durable event log and what belongs to it. All methods may be called
// from any number of goroutines. Those that write return when what was written
// is durable, or fail and leave everything as it was.
type Store interface {
	Log
	Saved
	Served
	// Close waits for writes under way, ends every Watch and lets go of the file.
	// Every later call fails with ErrClosed; a second Close returns nil.
	Close() error
}

// Log is the ordered log of events.
type Log interface {
	// State returns the state after the last event. It is the caller's to keep and
	// change.
	State(ctx context.Context) (State, error)
	// Append stores events in this order, all of them or none, and returns them as
	// stored: with their Seq, defaults filled in and texts cut. after is the Seq of the last event the caller has taken into
	// account: if the log has others since, Append fails with ErrConflict. 0 means
	// that the order does not matter, as for verdicts of health. When ctx ends
	// before the events are being written Append fails with its error and nothing is
	// stored; once they are, it waits for the outcome. Nothing is deduplicated.
	Append(ctx context.Context, after uint64, events ...Event) ([]Event, error)
	// Events returns up to limit events in ascending order, from the first one
	// kept whose Seq is at least from. limit is cut to MaxEventsLimit; 0 means that.
	Events(ctx context.Context, from uint64, limit int) ([]Event, error)
	// Watch sends every event whose Seq is at least from, in order and without
	// gaps: what is stored already, then each as it becomes durable. from 0 begins
	// with the oldest that is kept. A slow receiver delays nobody else. The channel is
	// closed when ctx or the Store ends, and also when it cannot go on without
	// a gap (the events are deleted already, or cannot be read): if ctx is
	// alive then, take a new State and watch from State.Seq+1.
	Watch(ctx context.Context, from uint64) <-chan Event
}

// MaxEventsLimit is the most that one call of Events returns.
const MaxEventsLimit = 10_000

// Saved is what a Store keeps beside the log.
type Saved interface {
	// SetSerials stores the last SOA serials of these zones, by apex; those of other
	// zones stay. That serials only rise is up to the caller.
	SetSerials(ctx context.Context, serials map[string]uint32) error
	// PutHolds replaces the saved table of active clients, of at most MaxHolds
	// bytes. Its contents are opaque.
	PutHolds(ctx context.Context, table []byte) error
	// Holds returns the saved table and when it was saved; nil and the zero time
	// if there is none. If it is damaged the error is ErrCorrupt: go on without,
	// the next PutHolds replaces it.
	Holds(ctx context.Context) ([]byte, time.Time, error)
	// PutTargets replaces the saved addresses of target host names.
	PutTargets(ctx context.Context, targets []Target) error
	// Targets returns the saved addresses and when they were saved; nil and the zero
	// time if there are none. If they are damaged, or of a version this one does not
	// read, the error is ErrCorrupt: go on without, the next PutTargets replaces them.
	Targets(ctx context.Context) ([]Target, time.Time, error)
}

// Served is the record of what was served, which a Store keeps beside the log.
type Served interface {
	// PutServed replaces the record of what was served, of at most MaxServed bytes: the
	// TTLs and addresses that caches may hold. Its contents are opaque.
	PutServed(ctx context.Context, record []byte) error
	// Served returns that record and when it was saved; nil and the zero time if there
	// is none. If it is damaged the error is ErrCorrupt: go on without, the next
	// PutServed replaces it.
	Served(ctx context.Context) ([]byte, time.Time, error)
}

// Target is a host name with the addresses it had when it last resolved. The names
// of its JSON members are what the file holds.
type Target struct {
	// Host is absolute and in lower case.
	Host      string       `json:"host"`
	Addresses []netip.Addr `json:"addresses"`
	// ResolvedAt is when a resolver last gave these addresses.
	ResolvedAt time.Time `json:"resolved_at"`
}

// MaxHolds is the most that PutHolds takes, in bytes.
const MaxHolds = 64 << 20
