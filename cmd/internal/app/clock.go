package app

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"portolan.dev/resolver/decide"
)

// clock is two clocks and the way between them.
//
// The steady one ([clock.now]) runs with the monotonic clock, and nobody can set it. All
// that is waited for or compared within the server goes by it: holds, histories, grace
// times, recovery holds, counts. It goes on over restarts and upgrades
// ([clock.goOn]), so that what was saved can be compared with what is.
//
// The wall clock ([clock.wall]) is what the system says. All that others check or people
// read goes by it: signatures, cookies, what is printed, the events in the ledger. So
// moments are converted where they leave the server, and where they come in: by show and
// text here, by record, and by [resolver.Wall].
//
// That the steady clock follows the wall clock slowly was tried: a second is then not a
// second for those who wait, and signatures fail until it has caught up.
type clock struct {
	system  func() time.Time
	elapsed func() time.Duration
	log     *slog.Logger
	// stepped is told how far the wall clock is ahead when that has changed. It must not
	// wait.
	stepped func(ahead time.Duration)

	base  time.Time    // what the steady clock says when elapsed is 0
	ahead atomic.Int64 // how far the wall clock is ahead, in nanoseconds, as of the last look
	steps sync.Mutex   // held to change ahead
}

const (
	clockLook = time.Second // how often the wall clock is looked at
	// clockSlack is by how much the difference between the clocks may vary without
	// being one of them set: the two are not read at one instant.
	clockSlack = 100 * time.Millisecond
	// clockWarn is the smallest step that is worth a line: beyond a leap second.
	clockWarn = 2 * time.Second
	// clockFirst is the least that the steady clock says: answers count seconds in
	// unsigned numbers, and go as far back from now as [decide.Keep].
	clockFirst = 2 * decide.Keep
)

// newClock returns a clock whose two sides agree. elapsed is what has passed since some
// moment; nil for what the monotonic reading of system says.
func newClock(system func() time.Time, elapsed func() time.Duration, log *slog.Logger) *clock {
	start := system()
	if elapsed == nil {
		elapsed = func() time.Duration { return system().Sub(start) }
	}
	c := &clock{system: system, elapsed: elapsed, log: log, stepped: func(time.Duration) {}}
	c.set(start, 0)
	return c
}

// set makes the steady clock say now, behind a wall clock that is about so much ahead.
func (c *clock) set(now time.Time, ahead time.Duration) {
	if first := time.Unix(clockFirst, 0); now.Before(first) {
		now = first
	}
	// Round strips the monotonic reading, which is right for one of the clocks only.
	c.base = now.Round(0).Add(-c.elapsed())
	if is := c.difference(); apart(is, ahead) {
		ahead = is
	}
	c.ahead.Store(int64(ahead))
	c.stepped(ahead)
}

// now is what the steady clock says. It has no monotonic reading: it is no deadline for
// sockets.
func (c *clock) now() time.Time { return c.base.Add(c.elapsed()) }

// wall is what the wall clock says.
func (c *clock) wall() time.Time { return c.system() }

// look compares the clocks and returns how far the wall clock is ahead.
func (c *clock) look() time.Duration {
	if ahead := time.Duration(c.ahead.Load()); !apart(c.difference(), ahead) {
		return ahead
	}
	c.steps.Lock()
	// Again: who waited here may have read the wall clock before it was set.
	was, is := time.Duration(c.ahead.Load()), c.difference()
	if !apart(is, was) {
		c.steps.Unlock()
		return was
	}
	c.ahead.Store(int64(is))
	c.stepped(is)
	c.steps.Unlock()
	if by := is - was; by >= clockWarn || by <= -clockWarn {
		c.log.Warn("the clock of the system was set; nothing that is waited for changes", "by", by.Round(time.Millisecond))
	}
	return is
}

// difference is how far the wall clock is ahead, read now.
func (c *clock) difference() time.Duration { return c.system().Round(0).Sub(c.now()) }

func apart(a, b time.Duration) bool { return a-b > clockSlack || b-a > clockSlack }

// show makes moments of the steady clock those of the wall clock. What is not given
// stays so.
func (c *clock) show(moments ...*time.Time) {
	ahead := c.look()
	for _, t := range moments {
		if t != nil && !t.IsZero() {
			*t = t.Add(ahead)
		}
	}
}

// text writes a moment of the steady clock as the wall clock has it.
func (c *clock) text(t time.Time) string {
	c.show(&t)
	return t.UTC().Format(time.RFC3339)
}

// run looks at the wall clock until ctx ends, for those who cannot wait for it to be
// read: answers.
func (c *clock) run(ctx context.Context) {
	ticker := time.NewTicker(clockLook)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			c.look()
		}
	}
}

// clockMark is what an earlier process has left of its clock.
type clockMark struct {
	// Steady is the last that is known of the steady clock.
	Steady time.Time `json:"steady"`
	// Ahead is how far the wall clock was ahead then.
	Ahead time.Duration `json:"ahead_ns,omitempty"`
}

// mark is what the next process can go on from.
func (c *clock) mark() clockMark {
	ahead := c.look()
	return clockMark{Steady: c.now(), Ahead: ahead}
}

// goOn makes the steady clock go on from that of an earlier process: with the time that
// has passed since by the wall clock, and never from before m. Where the wall clock was
// set back meanwhile, no time has passed. It is called before anybody else uses c.
func (c *clock) goOn(m clockMark) {
	now := c.wall().Round(0).Add(-m.Ahead)
	if back := m.Steady.Sub(now); back > 0 {
		now = m.Steady
		if back >= clockWarn {
			c.log.Warn("the clock of the system was set back while no server ran; what was saved counts as saved now", "by", back.Round(time.Millisecond))
		}
	}
	c.set(now, m.Ahead)
}
