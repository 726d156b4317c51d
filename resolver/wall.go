package resolver

import (
	"sync/atomic"
	"time"
)

// Wall leads from the clock that answers go by, which nobody can set, to the clock on
// the wall, by which others check cookies and signatures. The zero Wall says that the
// two agree, as a nil one does. It is safe for concurrent use.
type Wall struct {
	ahead atomic.Int64 // seconds
}

// Set says how far the wall clock is ahead.
func (w *Wall) Set(ahead time.Duration) { w.ahead.Store(int64(ahead.Round(time.Second) / time.Second)) }

// seconds returns what the wall clock says, in Unix seconds, when now is the time.
func (w *Wall) seconds(now int64) int64 {
	if w == nil {
		return now
	}
	return now + w.ahead.Load()
}

// text writes a moment as the wall clock says it.
func (w *Wall) text(t time.Time) string {
	return time.Unix(w.seconds(t.Unix()), 0).UTC().Format(time.RFC3339)
}
