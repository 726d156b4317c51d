package health

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// DefaultConcurrency is how many probes are under way at once unless
// [Options.Concurrency] says otherwise: 10,000 checks at 10 s with a timeout of
// 4 s fit when every target hangs.
const DefaultConcurrency = 4096

// Options say what a Monitor works with.
type Options struct {
	// Now reads the clock. Required. Waiting uses the timers of package time.
	Now func() time.Time
	// Rand spreads the probes. Required; used only under the lock of the Monitor.
	Rand *rand.Rand
	// Concurrency is the most probes under way at once, 0 for
	// [DefaultConcurrency]. What is needed when all targets hang is the sum of
	// timeout/interval over all checks.
	Concurrency int
	// OnChange is told of changes in the order they happened, from one goroutine,
	// several at once if they came close together. While it blocks no other
	// change is delivered, but probing goes on. It may call the Monitor.
	OnChange func([]Change)
	// OnResult is told of every result that counts, from many goroutines at once.
	// It must not block: the check is not probed again until it returns.
	OnResult func(*Check, Result)
}

// Monitor probes the checks of endpoints and keeps their states. Its methods may
// be called from any number of goroutines.
type Monitor struct {
	opts Options

	mu sync.Mutex
}

// NewMonitor returns a Monitor without endpoints that does not probe yet.
func NewMonitor(o Options) *Monitor { return &Monitor{opts: o} }

// Set makes these the endpoints, at the start and at each reload.
func (m *Monitor) Set(endpoints []Endpoint) {}

// Run probes until ctx ends.
func (m *Monitor) Run(ctx context.Context) { <-ctx.Done() }

// Statuses returns where all endpoints stand, in the order of their keys.
func (m *Monitor) Statuses() []Status { return nil }

// Status returns where the endpoint with this key stands.
func (m *Monitor) Status(key string) (Status, bool) { return Status{}, false }

// Stats returns the counters of the Monitor.
func (m *Monitor) Stats() Stats { return Stats{} }
