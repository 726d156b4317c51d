package app

import (
	"fmt"
	"sync"
	"time"
)

// panicPause is how often at most the log shows a query that could not be taken. The
// counter has all of them.
const panicPause = 10 * time.Second

// panics reports queries that the path of a query could not take.
type panics struct {
	mu    sync.Mutex // guards what follows
	last  time.Time
	quiet int // not logged since last
}

// panicked is told of one by the sockets.
func (a *App) panicked(value any, stack []byte) {
	a.panics.mu.Lock()
	defer a.panics.mu.Unlock()
	now := a.o.Now()
	if !a.panics.last.IsZero() && now.Sub(a.panics.last) < panicPause {
		a.panics.quiet++
		return
	}
	a.log.Error("a query could not be taken and was dropped: please report this", "panic", fmt.Sprint(value), "stack", string(stack), "more", a.panics.quiet)
	a.panics.last, a.panics.quiet = now, 0
}
