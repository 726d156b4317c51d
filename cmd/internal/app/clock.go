package app

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"
)

// clock is the time that everything goes by that must not jump: holds, the ledger,
// cookies, the rate limit. It begins with the wall clock, runs with the monotonic
// one, and comes nearer to the wall clock slowly when that was set: a tenth of the
// time that passes. It never runs backwards.
type clock struct {
	wall   func() time.Time
	base   time.Time
	offset atomic.Int64 // added to base and what has passed since, in nanoseconds
	ahead  atomic.Int64 // of the wall clock, as last looked at
	warned bool
}

const (
	clockLook = time.Second            // how often the wall clock is looked at
	clockStep = 100 * time.Millisecond // how much nearer each look brings the two
	// clockWarn is how far apart they may be unmentioned: an hour of leap second
	// smearing stays below it.
	clockWarn = 2 * time.Second
)

func newClock(wall func() time.Time) *clock {
	return &clock{wall: wall, base: wall()}
}

// now is the time. Its monotonic reading is that of the wall clock plus the offset:
// right for differences, not for the deadlines of sockets.
func (c *clock) now() time.Time {
	return c.base.Add(c.wall().Sub(c.base) + time.Duration(c.offset.Load()))
}

// look compares the two clocks and brings them nearer to each other.
func (c *clock) look(log *slog.Logger) {
	// Round strips the monotonic reading, so that wall clock times are compared.
	c.follow(c.wall().Round(0).Sub(c.now().Round(0)), log)
}

// follow comes nearer to a wall clock that is so far ahead.
func (c *clock) follow(ahead time.Duration, log *slog.Logger) {
	c.ahead.Store(int64(ahead))
	c.offset.Add(int64(min(max(ahead, -clockStep), clockStep)))
	if far := ahead > clockWarn || ahead < -clockWarn; far != c.warned {
		c.warned = far
		if far {
			log.Warn("the clock of the system was set; this server follows slowly", "ahead", ahead.Round(time.Millisecond))
		} else {
			log.Info("the clock of this server agrees with that of the system again")
		}
	}
}

func (c *clock) run(ctx context.Context, log *slog.Logger) {
	ticker := time.NewTicker(clockLook)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			c.look(log)
		}
	}
}
