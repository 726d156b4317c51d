package health

import (
	"container/heap"
	"context"
	"fmt"
	"slices"
	"time"
)

const (
	// grace is how long after its timeout a probe may still report by itself. It
	// is well inside the 100 ms by which a detection may be late.
	grace = 50 * time.Millisecond
	// batch is how far ahead of their time probes may start, to start together:
	// thousands of checks then cost a hundred wake-ups a second and not thousands.
	// It may lengthen the time between two probes by as much, once.
	batch = 10 * time.Millisecond
	// jitterPart is the part of the interval by which a probe may come early, so
	// that checks which fell into step get out of it. Never late: the time in
	// which a death is detected is counted in intervals.
	jitterPart = 64
)

// phase is what a check is doing.
type phase uint8

const (
	idle    phase = iota // in the agenda, at due
	ready                // due, in Monitor.ready
	probing              // in the agenda, at the end of its timeout and the grace
	overdue              // its timeout is past, its prober has not returned; in the agenda, at due
)

// check is one that is probed.
type check struct {
	spec     *Check // never changed, but replaced by Set
	watchers []*endpoint
	state    checkState
	phase    phase
	due      time.Time // of the next probe
	began    time.Time // of the probe under way, or the last one
	deadline time.Time // while probing
	index    int       // in the agenda; -1 if it is not there
	gone     bool      // Set has dropped it
	cancel   context.CancelFunc
}

func (c *check) thresholds() thresholds { return thresholds{c.spec.Fall, c.spec.Rise} }

// when returns the next moment something is to be done about c.
func (c *check) when() time.Time {
	if c.phase == probing {
		return c.deadline
	}
	return c.due
}

// isDue says whether something is to be done about c now. Only probes are early.
func (c *check) isDue(now time.Time) bool {
	if c.phase == idle {
		now = now.Add(batch)
	}
	return !c.when().After(now)
}

// agenda is a heap of checks, the one with the earliest moment first.
type agenda []*check

func (a *agenda) Len() int           { return len(*a) }
func (a *agenda) Less(i, j int) bool { return (*a)[i].when().Before((*a)[j].when()) }
func (a *agenda) Swap(i, j int) {
	h := *a
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push is for package heap.
func (a *agenda) Push(x any) {
	c, _ := x.(*check)
	c.index = len(*a)
	*a = append(*a, c)
}

// Pop is for package heap.
func (a *agenda) Pop() any {
	last := len(*a) - 1
	c := (*a)[last]
	(*a)[last] = nil
	*a = (*a)[:last]
	c.index = -1
	return c
}

// part returns a random part of d. The lock is held.
func (m *Monitor) part(d time.Duration) time.Duration {
	return time.Duration(m.opts.Rand.Int64N(int64(d) + 1))
}

// schedule starts probes when they are due, until ctx ends.
func (m *Monitor) schedule(ctx context.Context) {
	m.begin()
	timer := time.NewTimer(m.turn(ctx))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.wake:
		case <-timer.C:
		}
		timer.Reset(m.turn(ctx))
	}
}

// begin spreads the first probes over their intervals from now on.
func (m *Monitor) begin() {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.opts.Now()
	for _, c := range m.agenda {
		c.due = now.Add(m.part(c.spec.Interval))
	}
	heap.Init(&m.agenda)
}

// result is one to tell OnResult of.
type result struct {
	check *Check
	Result
}

// turn does what is due and returns how long there is nothing to do.
func (m *Monitor) turn(ctx context.Context) time.Duration {
	m.mu.Lock()
	now := m.opts.Now()
	var results []result
	for len(m.agenda) > 0 && m.agenda[0].isDue(now) {
		results = m.dueLocked(m.agenda[0], now, results)
	}
	m.startLocked(ctx, now)
	m.asleep = now.Add(time.Hour)
	if len(m.agenda) > 0 {
		m.asleep = m.agenda[0].when()
	}
	sleep := m.asleep.Sub(now)
	m.mu.Unlock()
	for _, r := range results {
		m.tell(r)
	}
	return sleep
}

// dueLocked does what the first check of the agenda is there for, and appends the
// result that came of it, if any.
func (m *Monitor) dueLocked(c *check, now time.Time, results []result) []result {
	switch c.phase {
	case idle:
		heap.Pop(&m.agenda)
		c.phase = ready
		m.ready = append(m.ready, c)
		return results
	case probing:
		// Its prober ignores the context. The slot is given free: there is one such
		// goroutine for each check at most, and others must not wait for it.
		c.phase = overdue
		if !c.due.After(now) {
			c.due = nextDue(c.due, now, c.spec.Interval)
		}
		m.probing--
		m.overdue++
		results = m.countOrWaitLocked(c, Result{Fault: Silent, Detail: timeoutDetail(c.spec), Took: c.spec.Timeout}, c.began, now, results)
	default:
		c.due = nextDue(c.due, now, c.spec.Interval)
		results = m.countOrWaitLocked(c, Result{Fault: Silent, Detail: "the probe before this one has not ended"}, c.began, now, results)
	}
	heap.Fix(&m.agenda, c.index)
	return results
}

func timeoutDetail(c *Check) string { return fmt.Sprintf("no answer in %v", c.Timeout) }

// nextDue returns the first moment after now that is a whole number of intervals
// after due: whatever was missed is left out, and the phase is kept.
func nextDue(due, now time.Time, interval time.Duration) time.Time {
	next := due.Add(interval)
	if missed := now.Sub(next); missed >= 0 {
		next = next.Add(missed.Truncate(interval) + interval)
	}
	return next
}

// startLocked starts probes of checks that are ready while there are slots.
func (m *Monitor) startLocked(ctx context.Context, now time.Time) {
	started := 0
	for _, c := range m.ready {
		if m.probing >= m.opts.Concurrency || ctx.Err() != nil {
			break
		}
		started++
		m.probing++
		m.probed++
		m.late.add(now.Sub(c.due), now)
		c.phase = probing
		c.began = now
		c.deadline = now.Add(c.spec.Timeout + grace)
		c.due = nextDue(c.due, now, c.spec.Interval).Add(-m.part(c.spec.Interval / jitterPart))
		heap.Push(&m.agenda, c)
		probeCtx, cancel := context.WithTimeout(ctx, c.spec.Timeout)
		c.cancel = cancel
		spec := c.spec
		m.probes.Go(func() {
			defer cancel()
			r := m.probe(probeCtx, spec)
			m.finish(ctx, c, r)
		})
	}
	m.ready = slices.Delete(m.ready, 0, started)
}

// probe calls the prober. One that panics, on what a target sent it, has found
// out that the target does not work: name service goes on.
func (m *Monitor) probe(ctx context.Context, c *Check) (r Result) {
	start := m.opts.Now()
	defer func() {
		if p := recover(); p != nil {
			r = Result{Detail: fmt.Sprintf("defect in the probe, please report it: %v", p)}
		}
		r.Took = m.opts.Now().Sub(start)
	}()
	return c.Prober.Probe(ctx)
}

// finish takes in the result of a probe that has returned. ctx is that of Run.
func (m *Monitor) finish(ctx context.Context, c *check, r Result) {
	m.mu.Lock()
	counts := c.phase == probing && !c.gone && ctx.Err() == nil
	if c.phase == overdue {
		m.overdue--
	} else {
		m.probing--
	}
	now := m.opts.Now()
	c.phase = idle
	var results []result
	if counts {
		results = m.countOrWaitLocked(c, r, c.began, now, nil)
	}
	if !c.gone {
		// Due already, because the timeout is as long as the interval: no reason to
		// call the next probe late.
		c.due = latest(c.due, now)
		heap.Fix(&m.agenda, c.index)
	}
	m.startLocked(ctx, now)
	if len(m.agenda) > 0 && m.agenda[0].when().Before(m.asleep) {
		signal(m.wake)
	}
	m.mu.Unlock()
	for _, r := range results {
		m.tell(r)
	}
}

// countLocked steps a check and all endpoints that have it.
func (m *Monitor) countLocked(c *check, r Result, now time.Time) result {
	c.state = c.state.step(r, now, c.thresholds())
	for _, e := range c.watchers {
		m.judgeLocked(e, now, causeOf(r.Verdict))
	}
	return result{c.spec, r}
}

func (m *Monitor) tell(r result) {
	if m.opts.OnResult != nil {
		m.opts.OnResult(r.check, r.Result)
	}
}

// forgetLocked takes a check out of the schedule.
func (m *Monitor) forgetLocked(c *check) {
	c.gone, c.watchers = true, nil
	if c.cancel != nil {
		c.cancel()
	}
	if c.index >= 0 {
		heap.Remove(&m.agenda, c.index)
	}
	if c.phase == ready {
		i := slices.Index(m.ready, c)
		m.ready = slices.Delete(m.ready, i, i+1)
	}
}
