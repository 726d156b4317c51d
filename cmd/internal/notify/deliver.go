package notify

import (
	"context"
	"log/slog"
	"time"
)

// run delivers until ctx ends or the notifier stops.
func (q *queue) run(ctx context.Context) {
	defer q.end(ctx)
	for {
		d := q.take(ctx)
		if d == nil || !q.deliver(ctx, d) {
			return
		}
	}
}

// take waits for a delivery; nil when there will be none. The one before it is no
// longer in hand.
func (q *queue) take(ctx context.Context) *delivery {
	for {
		q.mu.Lock()
		q.busy = len(q.waiting) > 0
		if q.busy {
			d := q.pop()
			q.mu.Unlock()
			return d
		}
		q.mu.Unlock()
		select {
		case <-q.wake:
		case <-q.stopping:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// deliver tries one delivery until its outcome is final; false if run must end
// before that.
func (q *queue) deliver(ctx context.Context, d *delivery) bool {
	for {
		t, client := q.current()
		a := post(ctx, client, t, d, q.o.Agent, q.o.Wall())
		if ctx.Err() != nil && a.outcome != Delivered {
			return false
		}
		q.counts.add(a.outcome, 1)
		switch a.outcome {
		case Delivered:
			q.delivered(ctx)
			return true
		case Refused:
			q.refused(ctx, a.err)
			return true
		default: // tried again
		}
		q.failures++
		old := q.expire(ctx, d, a.err)
		if !q.pause(ctx, a.retryAfter) {
			return false
		}
		if old {
			return true
		}
	}
}

// delivered notes a success, and logs it if it ends a trouble.
func (q *queue) delivered(ctx context.Context) {
	q.mu.Lock()
	lost, log := q.lost, q.log()
	q.lost = 0
	q.mu.Unlock()
	if q.failures > 0 || q.refusing || lost > 0 {
		log.InfoContext(ctx, "a receiver takes notifications again", "lost", lost)
	}
	q.failures, q.refusing = 0, false
}

// refused logs the first refusal in a row: an outage of a fleet is many events.
func (q *queue) refused(ctx context.Context, err error) {
	q.failures = 0
	if q.refusing {
		return
	}
	q.refusing = true
	q.logger().WarnContext(ctx, "a receiver refuses a notification; it is given up", "error", err)
}

// expire gives up what is too old for a receiver that has just failed, and says
// whether d, which is in hand, is.
func (q *queue) expire(ctx context.Context, d *delivery, err error) (old bool) {
	limit := q.o.Now().Add(-maxAge)
	old = !d.since.After(limit)
	n := 0
	if old {
		n++
	}
	q.mu.Lock()
	for len(q.waiting) > 0 && !q.waiting[0].since.After(limit) {
		q.pop()
		n++
	}
	first := n > 0 && q.lost == 0
	q.lost += n
	log := q.log()
	q.mu.Unlock()
	q.counts.add(Expired, n)
	switch {
	case first:
		log.WarnContext(ctx, "a receiver has failed for long; notifications are given up", "after", maxAge, "error", err)
	case q.failures == 1:
		log.WarnContext(ctx, "a receiver does not take notifications; they are tried again", "error", err)
	}
	return old
}

// pause waits before the next attempt; false if run must end. A receiver that fails
// is not waited for when the server stops.
func (q *queue) pause(ctx context.Context, asked time.Duration) bool {
	wait := min(firstPause<<min(q.failures-1, 16), lastPause)
	wait -= time.Duration(q.rand.Int64N(int64(wait/2) + 1))
	timer := time.NewTimer(max(wait, min(asked, maxPause)))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-q.changed:
		q.failures = 0
	case <-q.stopping:
		return false
	case <-ctx.Done():
		return false
	}
	return true
}

// end counts what is left.
func (q *queue) end(ctx context.Context) {
	q.mu.Lock()
	n := len(q.waiting)
	if q.busy {
		n++
	}
	q.waiting, q.size, q.busy = nil, 0, false
	log := q.log()
	q.client.CloseIdleConnections()
	q.mu.Unlock()
	q.counts.add(Abandoned, n)
	if n > 0 {
		log.WarnContext(ctx, "notifications are not delivered: the receiver was removed, or the server stops", "lost", n)
	}
}

func (q *queue) logger() *slog.Logger {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.log()
}
