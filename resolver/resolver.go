package resolver

import (
	"sync"
	"sync/atomic"

	"portolan.dev/resolver/wire"
)

// Resolver answers queries from the current [Snapshot]. Make one with [New].
// All methods are safe for concurrent use.
type Resolver struct {
	current atomic.Pointer[Snapshot]
	secret  wire.CookieSecret

	mu      sync.Mutex // guards workers and slots
	workers []*Worker
	slots   int // replica slots that every worker has room for
}

// New returns a Resolver that answers from s. secret keys the server cookies.
func New(s *Snapshot, secret wire.CookieSecret) *Resolver {
	r := &Resolver{secret: secret}
	r.current.Store(s)
	return r
}

// Snapshot returns what is being served.
func (r *Resolver) Snapshot() *Snapshot { return r.current.Load() }

// Swap publishes s. Queries in flight finish with the snapshot they began with.
func (r *Resolver) Swap(s *Snapshot) { r.current.Store(s) }

// Worker answers queries of one transport and counts them. A worker is safe for
// concurrent use; one per receiving goroutine keeps its counters out of other
// cores' caches.
type Worker struct {
	resolver *Resolver
	stream   bool // TCP or TLS: no size limit but the length prefix
	counters counters
}

// Worker returns a new worker for datagrams, or for a stream transport.
func (r *Resolver) Worker(stream bool) *Worker {
	w := &Worker{resolver: r, stream: stream}
	r.mu.Lock()
	defer r.mu.Unlock()
	w.counters.grow(r.slots)
	r.workers = append(r.workers, w)
	return w
}
