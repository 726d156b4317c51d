package notify

import "sync/atomic"

// Outcome is what became of a delivery, or of one attempt at it.
type Outcome uint8

// The outcomes. All but Retried are final, and all but Delivered and Retried mean
// that a receiver will not see an event.
const (
	Delivered Outcome = iota // the receiver has taken it
	Retried                  // an attempt failed
	Refused                  // the receiver does not want this message
	Expired                  // it waited for an hour and the receiver still failed
	Dropped                  // the queue was full
	Abandoned                // the server stopped, or the receiver was removed
	outcomes
)

// String returns the label of the outcome in metrics.
func (o Outcome) String() string {
	switch o {
	case Delivered:
		return "delivered"
	case Retried:
		return "retried"
	case Refused:
		return "refused"
	case Expired:
		return "expired"
	case Dropped:
		return "dropped"
	case Abandoned:
		return "abandoned"
	case outcomes:
	}
	return "unknown"
}

// Stats are figures of a [Notifier] since it was made.
type Stats struct {
	// Deliveries counts by [Outcome].
	Deliveries [outcomes]uint64
	// Queued is how many deliveries wait, those being tried included.
	Queued int
}

// counts is shared by all queues, those that have ended too.
type counts [outcomes]atomic.Uint64

func (c *counts) add(o Outcome, n int) { c[o].Add(uint64(n)) }
