package notify

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"portolan.dev/config/ledger"
)

// rewatch is the pause before the log is followed again after it could not be.
const rewatch = 5 * time.Second

// Log is the part of a ledger that is followed.
type Log interface {
	Events(ctx context.Context, from uint64, limit int) ([]ledger.Event, error)
	Watch(ctx context.Context, from uint64) <-chan ledger.Event
}

// Options are what a Notifier is made from. All are required.
type Options struct {
	// Events is what is followed, from the event with the number From on.
	Events Log
	From   uint64
	// Body returns what is posted of an event, to be encoded as JSON; delivery is
	// the id. It is called as soon as the event is known, once per receiver, and must
	// not block.
	Body func(e ledger.Event, delivery string) any
	// Agent is the User-Agent of requests.
	Agent string
	Log   *slog.Logger
	// Now is the clock of waits, Wall the one that receivers check signatures by.
	Now, Wall func() time.Time
	// Rand is used by one goroutine at a time, and draws ids: seed it so that no two
	// runs draw the same.
	Rand *rand.Rand

	dial dialFunc // tests put pipes in place of the network
}

// Notifier posts events to targets. Make one with [New]. Its methods may be called
// from any number of goroutines.
type Notifier struct {
	o        Options
	counts   counts
	stopping chan struct{}  // closed by Stop
	queued   sync.WaitGroup // the goroutines of queues
	fed      sync.WaitGroup // the goroutine feed
	ctx      context.Context
	cancel   context.CancelFunc // ends everything
	feeding  context.Context    // below ctx
	stopFeed context.CancelFunc
	next     atomic.Uint64 // as Next returns it

	mu      sync.Mutex // guards what follows, and o.Rand
	queues  map[string]*queue
	running bool
}

// New returns a Notifier that does nothing until [Notifier.Start].
func New(o Options) *Notifier {
	if o.dial == nil {
		o.dial = (&net.Dialer{}).DialContext
	}
	n := &Notifier{o: o, stopping: make(chan struct{}), queues: make(map[string]*queue)}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	n.feeding, n.stopFeed = context.WithCancel(n.ctx)
	n.next.Store(o.From)
	return n
}

// Start begins to follow the log and to post to targets. Call it once,
// and not after Stop.
func (n *Notifier) Start(targets []*Target) {
	n.mu.Lock()
	n.running = true
	n.mu.Unlock()
	n.Set(targets)
	n.fed.Go(func() { n.feed(n.feeding) })
}

// Set replaces the targets. Those whose URL stays keep their queue, whatever else has
// changed; the queues of others end, and what waited in them is lost. It waits for
// nothing. Before Start and after Stop it does nothing.
func (n *Notifier) Set(targets []*Target) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.running {
		return
	}
	keep := make(map[string]bool, len(targets))
	for _, t := range targets {
		keep[t.url] = true
		if q := n.queues[t.url]; q != nil {
			q.retarget(t)
			continue
		}
		ctx, cancel := context.WithCancel(n.ctx)
		q := newQueue(n, t, cancel)
		n.queues[t.url] = q
		n.queued.Go(func() { q.run(ctx) })
	}
	for url, q := range n.queues {
		if !keep[url] {
			q.cancel()
			delete(n.queues, url)
		}
	}
}

// Stop ends everything and returns when all goroutines have ended. Until ctx ends,
// receivers that work get what waits for them; those that fail are not waited for. It
// may be called without Start, and more than once.
func (n *Notifier) Stop(ctx context.Context) {
	defer n.cancel()
	n.mu.Lock()
	running := n.running
	n.running = false
	n.mu.Unlock()
	if !running {
		return
	}
	n.stopFeed()
	n.fed.Wait()
	close(n.stopping)
	defer context.AfterFunc(ctx, n.cancel)()
	n.queued.Wait()
}

// Stats returns the figures of n.
func (n *Notifier) Stats() Stats {
	var s Stats
	for i := range s.Deliveries {
		s.Deliveries[i] = n.counts[i].Load()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, q := range n.queues {
		s.Queued += q.len()
	}
	return s
}

// Next returns the number of the first event that no receiver's queue has yet.
func (n *Notifier) Next() uint64 { return n.next.Load() }

// feed follows the log until ctx ends. It never waits for a queue.
func (n *Notifier) feed(ctx context.Context) {
	next := n.o.From
	for {
		for e := range n.o.Events.Watch(ctx, next) {
			n.offer(ctx, e)
			next = e.Seq + 1
			n.next.Store(next)
		}
		// The log could not go on without a gap, or is closed.
		select {
		case <-ctx.Done():
			n.catchUp(next)
			return
		case <-time.After(rewatch):
		}
		left, err := n.o.Events.Events(ctx, next, 1)
		switch {
		case errors.Is(err, ledger.ErrClosed), ctx.Err() != nil:
			return
		case err != nil:
			n.o.Log.WarnContext(ctx, "the ledger cannot be followed; notifications wait", "error", err)
		case len(left) > 0 && left[0].Seq > next:
			n.o.Log.WarnContext(ctx, "events were deleted from the ledger before they were posted", "from", next, "lost", left[0].Seq-next)
			next = left[0].Seq
		}
	}
}

// catchUp queues what was appended before Stop and not sent to feed any more: an
// operator who drains and restarts a server counts on hearing of it.
func (n *Notifier) catchUp(next uint64) {
	left, err := n.o.Events.Events(n.ctx, next, 0)
	if err != nil && !errors.Is(err, ledger.ErrClosed) {
		n.o.Log.WarnContext(n.ctx, "the last events of the ledger are not posted", "error", err)
	}
	for _, e := range left {
		n.offer(n.ctx, e)
	}
}

// offer queues an event for everyone who wants it.
func (n *Notifier) offer(ctx context.Context, e ledger.Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, q := range n.queues {
		if t, _ := q.current(); !t.wants(e.Kind) {
			continue
		}
		d := &delivery{id: n.newID(), since: n.o.Now()}
		var err error
		if d.body, err = json.Marshal(n.o.Body(e, d.id)); err != nil {
			n.counts.add(Refused, 1)
			n.o.Log.ErrorContext(ctx, "an event cannot be encoded; it is not posted", "seq", e.Seq, "error", err)
			continue
		}
		q.add(ctx, d)
	}
}

// newID draws 128 bits. They need not be secret: a receiver trusts signatures.
// n.mu is held.
func (n *Notifier) newID() string {
	var b [16]byte
	for i := range b {
		b[i] = byte(n.o.Rand.Uint32())
	}
	return hex.EncodeToString(b[:])
}
