package app

import (
	"fmt"
	"sync"
	"time"

	"portolan.dev/resolver/server"
)

// troublePause is how often at most the log shows trouble that may come with every
// packet. What is left out is counted.
const troublePause = 10 * time.Second

// quiet keeps lines apart that would fill a log.
type quiet struct {
	mu   sync.Mutex // guards what follows
	last time.Time
	more int
}

// speak reports whether a line may be written now, and how many were left out since
// the last.
func (q *quiet) speak(now time.Time) (more int, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.last.IsZero() && now.Sub(q.last) < troublePause {
		q.more++
		return 0, false
	}
	more, q.more, q.last = q.more, 0, now
	return more, true
}

// panicked is told by the sockets of a query that could not be taken.
func (a *App) panicked(value any, stack []byte) {
	if more, ok := a.panics.speak(a.o.Now()); ok {
		a.log.Error("a query could not be taken and was dropped: please report this", "panic", fmt.Sprint(value), "stack", string(stack), "more", more)
	}
}

// socketTrouble is told by the sockets what an operator should know of them.
func (a *App) socketTrouble(msg string, err error) {
	if more, ok := a.sockets.speak(a.o.Now()); ok {
		a.log.Warn("a socket is in trouble", "trouble", msg, "error", err, "more", more)
	}
}

// adminTrouble is told of errors of the listeners for operators. Without a descriptor for
// them a client's connection gives up its own.
func (a *App) adminTrouble(err error) {
	a.adminErrors.Add(1)
	a.socketTrouble("accept a connection for admin", err)
	if server.NoDescriptors(err) {
		a.server.Spare()
	}
}
