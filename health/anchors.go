package health

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// anchorTimeout is how long an anchor may take to answer, at most.
	anchorTimeout = 2 * time.Second
	// anchorInterval is how often anchors are asked while nothing is probed more often.
	anchorInterval = 10 * time.Second
	// askPause keeps rounds apart, for failures that come one after another.
	askPause = 50 * time.Millisecond
)

// Anchor is an address that answers as long as this machine has its way out: a router, a
// resolver, a service of another site.
type Anchor struct {
	Name   string // what an operator reads: "192.0.2.1:443"
	Prober Prober
}

// AnchorStatus is where an anchor stands.
type AnchorStatus struct {
	Name     string
	Answered bool   // the last time it was asked: a refusal is an answer
	Detail   string // what came
	AskedAt  time.Time
}

// anchors is what is known of them.
type anchors struct {
	given    []Anchor
	version  int // rises with each set of them
	statuses []AnchorStatus
	// silentSince is when the round began in which none answered for the first time
	// since one did; zero while one does.
	silentSince time.Time
	// disproved says that most targets have answered since: then the anchors are gone,
	// and not the way.
	disproved bool
	waiting   []waiting // failures in silence, oldest first
}

// waiting is a failure that counts if an anchor answers after it.
type waiting struct {
	check *check
	Result
	at time.Time
}

// deciding says whether a failure in silence has to wait for an anchor.
func (a *anchors) deciding() bool { return len(a.given) > 0 && !a.disproved }

func (a *anchors) verdict() string {
	if a.silentSince.IsZero() || a.disproved {
		return ""
	}
	names := make([]string, len(a.given))
	for i := range a.given {
		names[i] = a.given[i].Name
	}
	return "no anchor answers: " + strings.Join(names, ", ")
}

// SetAnchors makes these the anchors; none switches that part of the self-check off. What
// waits for the anchors before is dropped.
func (m *Monitor) SetAnchors(given []Anchor) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := &m.self.anchors
	names := func(all []Anchor) (out []string) {
		for i := range all {
			out = append(out, all[i].Name)
		}
		return out
	}
	if slices.Equal(names(a.given), names(given)) {
		a.given = slices.Clone(given)
		return
	}
	m.self.anchors = anchors{given: slices.Clone(given), version: a.version + 1}
	m.reviewLocked(m.opts.Now())
	signal(m.ask)
}

// watchAnchors asks the anchors as often as the check that is probed most often, and
// whenever a failure waits for them, until ctx ends.
func (m *Monitor) watchAnchors(ctx context.Context) {
	timer := time.NewTimer(m.askAnchors(ctx))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.ask:
		case <-timer.C:
		}
		timer.Reset(m.askAnchors(ctx))
		select {
		case <-ctx.Done():
			return
		case <-time.After(askPause):
		}
	}
}

// pace returns how often to ask the anchors, and how long to wait for them. The lock is
// held.
func (m *Monitor) pace() (interval, timeout time.Duration) {
	interval = anchorInterval
	if m.shortest > 0 {
		interval = min(interval, m.shortest)
	}
	return interval, min(interval, anchorTimeout)
}

// askAnchors asks all anchors at once and returns when to ask again. The first answer
// settles the failures that wait.
func (m *Monitor) askAnchors(ctx context.Context) time.Duration {
	m.mu.Lock()
	given, version := m.self.anchors.given, m.self.anchors.version
	interval, timeout := m.pace()
	began := m.opts.Now()
	m.mu.Unlock()
	if len(given) == 0 {
		return interval
	}
	askCtx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	statuses := make([]AnchorStatus, len(given))
	var asking sync.WaitGroup
	for i := range given {
		asking.Go(func() {
			r := m.probe(askCtx, &Check{Prober: given[i].Prober})
			now := m.opts.Now()
			statuses[i] = AnchorStatus{Name: given[i].Name, Answered: r.Answered(), Detail: r.Detail, AskedAt: now}
			if statuses[i].Answered && ctx.Err() == nil {
				m.settle(version, now, true)
			}
		})
	}
	asking.Wait()
	if ctx.Err() != nil {
		return interval
	}
	m.conclude(version, began, statuses)
	return max(interval-m.opts.Now().Sub(began), askPause)
}

// conclude takes in a round that began at began and is over.
func (m *Monitor) conclude(version int, began time.Time, statuses []AnchorStatus) {
	m.mu.Lock()
	a := &m.self.anchors
	if version != a.version {
		m.mu.Unlock()
		return
	}
	now := m.opts.Now()
	a.statuses = statuses
	if slices.ContainsFunc(statuses, func(s AnchorStatus) bool { return s.Answered }) {
		// Some failures may have come after the last answer.
		if len(a.waiting) > 0 {
			signal(m.ask)
		}
		m.mu.Unlock()
		return
	}
	if a.silentSince.IsZero() {
		a.silentSince = began
	}
	a.disproved = m.mostAnswerLocked(a.silentSince, now)
	m.reviewLocked(now)
	m.mu.Unlock()
	m.settle(version, now, false)
}

// mostAnswerLocked says whether more than half of the checks have answered lately, and
// since the given time.
func (m *Monitor) mostAnswerLocked(since, now time.Time) bool {
	n := 0
	for _, c := range m.checks {
		if at := c.state.sight.answered; at.After(since) && c.isFresh(at, now) {
			n++
		}
	}
	return 2*n > len(m.checks)
}

// settle ends the wait of the failures up to now: an anchor has answered then, or has
// not. What the target itself has said meanwhile is newer than its silence.
func (m *Monitor) settle(version int, now time.Time, answered bool) {
	m.mu.Lock()
	a := &m.self.anchors
	if version != a.version {
		m.mu.Unlock()
		return
	}
	if answered {
		a.silentSince, a.disproved = time.Time{}, false
		m.reviewLocked(now)
	}
	var results []result
	rest := a.waiting[:0]
	for _, w := range a.waiting {
		switch {
		case w.at.After(now):
			rest = append(rest, w)
			continue
		case w.check.gone:
			continue
		case !answered, !w.check.state.sight.answered.Before(w.at):
			w.Result = excused(w.Result)
		}
		results = append(results, m.countLocked(w.check, w.Result, now))
	}
	clear(a.waiting[len(rest):])
	a.waiting = rest
	m.mu.Unlock()
	for _, r := range results {
		m.tell(r)
	}
}
