package notify

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

const (
	// maxQueued bounds what waits for a receiver, in bytes of bodies and
	// deliveryCost each. A count would bound nothing: an event may be a hundred
	// bytes or ten thousand.
	maxQueued    = 4 << 20
	deliveryCost = 128
	// maxAge is how long a delivery is tried at a receiver that fails.
	maxAge = time.Hour
	// firstPause doubles with each failure in a row up to lastPause. maxPause bounds
	// what a receiver may ask for with Retry-After.
	firstPause = time.Second
	lastPause  = 5 * time.Minute
	maxPause   = 10 * time.Minute
)

// delivery is one event for one receiver.
type delivery struct {
	id    string
	body  []byte
	since time.Time // when it was queued
}

func (d *delivery) cost() int { return len(d.body) + deliveryCost }

// queue is what waits for one receiver. Its goroutine, run, ends when its context
// does, or when stopping is closed and nothing is left or the receiver fails.
type queue struct {
	o        *Options
	counts   *counts
	stopping <-chan struct{}
	cancel   context.CancelFunc
	wake     chan struct{} // of one: something was queued
	changed  chan struct{} // of one: the target has other settings
	rand     *rand.Rand    // owned by run

	failures int  // in a row; owned by run
	refusing bool // a refusal was logged; owned by run

	mu      sync.Mutex // guards what follows
	target  *Target
	client  *http.Client
	waiting []*delivery
	size    int  // cost of waiting
	busy    bool // run has a delivery in hand, which is not in waiting
	lost    int  // dropped or expired since the last success
}

func newQueue(n *Notifier, t *Target, cancel context.CancelFunc) *queue {
	return &queue{
		o: &n.o, counts: &n.counts, stopping: n.stopping, cancel: cancel,
		wake: make(chan struct{}, 1), changed: make(chan struct{}, 1),
		rand:   rand.New(rand.NewPCG(n.o.Rand.Uint64(), n.o.Rand.Uint64())), //nolint:gosec // spreads attempts
		target: t, client: newClient(t, n.o.dial),
	}
}

// add queues a delivery, and drops the oldest ones if there is no room for it. What
// run has in hand stays.
func (q *queue) add(ctx context.Context, d *delivery) {
	q.mu.Lock()
	q.waiting = append(q.waiting, d)
	q.size += d.cost()
	dropped := 0
	for q.size > maxQueued && len(q.waiting) > 1 {
		q.pop()
		dropped++
	}
	first := dropped > 0 && q.lost == 0
	q.lost += dropped
	log := q.log()
	q.mu.Unlock()
	q.counts.add(Dropped, dropped)
	if first {
		log.WarnContext(ctx, "a queue of notifications is full; its oldest are dropped")
	}
	poke(q.wake)
}

// pop removes the oldest. q.mu is held.
func (q *queue) pop() *delivery {
	d := q.waiting[0]
	q.waiting[0] = nil
	q.waiting = q.waiting[1:]
	q.size -= d.cost()
	return d
}

// retarget replaces the settings and keeps what waits. Where they differ, the
// next attempt is made at once.
func (q *queue) retarget(t *Target) {
	q.mu.Lock()
	defer q.mu.Unlock()
	same := q.target.digest == t.digest
	q.target = t
	if same {
		return
	}
	q.client.CloseIdleConnections()
	q.client = newClient(t, q.o.dial)
	poke(q.changed)
}

// current returns what the next attempt goes by.
func (q *queue) current() (*Target, *http.Client) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.target, q.client
}

// len counts what waits and what is in hand.
func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.busy {
		return len(q.waiting) + 1
	}
	return len(q.waiting)
}

// log names the receiver without what may be secret in its URL. q.mu is held.
func (q *queue) log() *slog.Logger {
	return q.o.Log.With("receiver", q.target.host, "configured", q.target.place)
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
