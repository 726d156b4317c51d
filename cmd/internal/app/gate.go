package app

import (
	"context"
	"sync"
	"time"

	"portolan.dev/config/ledger"
)

// gate is a ledger that can be given out of hand. While it is shut whoever wants
// something of it waits: until it is open again, or for good in another process.
type gate struct {
	mu    sync.RWMutex // held to use the store; for writing while the gate is shut
	store ledger.Store // not embedded: what it learns to do has to pass here, too
	open  func() (ledger.Store, error)
}

var _ ledger.Store = (*gate)(nil)

// shut closes the file, so that another process can open it.
func (g *gate) shut() error {
	g.mu.Lock()
	return g.store.Close()
}

// reopen takes the file back after shut. On error every later use fails as that of a
// closed ledger does.
func (g *gate) reopen() error {
	defer g.mu.Unlock()
	store, err := g.open()
	if err == nil {
		g.store = store
	}
	return err
}

// leave lets those go that wait: what they wanted fails, for another process has the file.
func (g *gate) leave() { g.mu.Unlock() }

// State implements [ledger.Log].
func (g *gate) State(ctx context.Context) (ledger.State, error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.store.State(ctx)
}

// Append implements [ledger.Log].
func (g *gate) Append(ctx context.Context, after uint64, events ...ledger.Event) ([]ledger.Event, error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.store.Append(ctx, after, events...)
}

// Events implements [ledger.Log].
func (g *gate) Events(ctx context.Context, from uint64, limit int) ([]ledger.Event, error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.store.Events(ctx, from, limit)
}

// Watch implements [ledger.Log].
func (g *gate) Watch(ctx context.Context, from uint64) <-chan ledger.Event {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.store.Watch(ctx, from)
}

// SetSerials implements [ledger.Saved].
func (g *gate) SetSerials(ctx context.Context, serials map[string]uint32) error {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.store.SetSerials(ctx, serials)
}

// PutHolds implements [ledger.Saved].
func (g *gate) PutHolds(ctx context.Context, table []byte) error {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.store.PutHolds(ctx, table)
}

// Holds implements [ledger.Saved].
func (g *gate) Holds(ctx context.Context) ([]byte, time.Time, error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.store.Holds(ctx)
}

// PutTargets implements [ledger.Saved].
func (g *gate) PutTargets(ctx context.Context, targets []ledger.Target) error {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.store.PutTargets(ctx, targets)
}

// Targets implements [ledger.Saved].
func (g *gate) Targets(ctx context.Context) ([]ledger.Target, time.Time, error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.store.Targets(ctx)
}

// PutServed implements [ledger.Served].
func (g *gate) PutServed(ctx context.Context, record []byte) error {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.store.PutServed(ctx, record)
}

// Served implements [ledger.Served].
func (g *gate) Served(ctx context.Context) ([]byte, time.Time, error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.store.Served(ctx)
}

// Close implements [ledger.Store].
func (g *gate) Close() error {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.store.Close()
}
