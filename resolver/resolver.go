package resolver

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"portolan.dev/resolver/wire"
)

// Resolver answers queries from the current [Snapshot]. Make one with [New].
// All methods are safe for concurrent use.
type Resolver struct {
	current atomic.Pointer[Snapshot]
	// cookies key the server cookies of snapshots that bring no secrets of their own.
	cookies wire.CookieKeys
	// keepalive is the idle timeout that streams are told, in units of 100 ms.
	keepalive atomic.Uint32

	mu      sync.Mutex // guards workers and slots
	workers []*Worker
	slots   int // replica slots that every worker has room for
}

// New returns a Resolver that answers from s. secret keys the server cookies while
// the snapshot has no keys of its own.
func New(s *Snapshot, secret wire.CookieSecret) *Resolver {
	r := &Resolver{cookies: wire.CookieKeys{Active: secret}}
	r.current.Store(s)
	return r
}

// Snapshot returns what is being served.
func (r *Resolver) Snapshot() *Snapshot { return r.current.Load() }

// Swap publishes s. Queries in flight finish with the snapshot they began with.
func (r *Resolver) Swap(s *Snapshot) { r.current.Store(s) }

// SetKeepalive says how long a stream may be idle before it is closed, which
// clients that ask are told (RFC 7828): a server under load lowers it.
func (r *Resolver) SetKeepalive(idle time.Duration) {
	r.keepalive.Store(uint32(min(max(idle/(100*time.Millisecond), 0), math.MaxUint16)))
}

// Transport is how queries come.
type Transport uint8

// The transports.
const (
	UDP        Transport = iota
	TCP                  // RFC 7766
	TLS                  // RFC 7858
	Transports int       = iota
)

// Worker answers queries of one transport and counts them. A worker is safe for
// concurrent use; one per receiving goroutine keeps its counters out of other
// cores' caches.
type Worker struct {
	resolver  *Resolver
	transport Transport
	counters  counters
}

// Worker returns a new worker for a transport.
func (r *Resolver) Worker(t Transport) *Worker {
	w := &Worker{resolver: r, transport: t}
	r.mu.Lock()
	defer r.mu.Unlock()
	w.counters.grow(r.slots)
	r.workers = append(r.workers, w)
	return w
}
