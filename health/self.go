package health

import (
	"fmt"
	"slices"
	"time"
)

// The self-check. A prober that has lost its own way out sees all targets fail, and must
// not believe it. There are two witnesses:
//
//   - Local faults. A check that fails with one is never counted. When more than half of
//     the checks do so at once, those that are merely silent are not believed either.
//   - Anchors: addresses whose silence means that the trouble is here. A silent target
//     counts only once an anchor has answered after it.
//
// What a target itself answers is always believed, impaired or not: it proves the way.
// Without anchors, silence of all targets alone proves nothing: one death looks the same
// where there is one target, and a wrong guess would leave clients on a dead replica.
const (
	// sudden is how long a local fault of one check counts against the prober as a whole
	// while other checks see. A route that is missing for longer is the normal state of
	// this machine, and no reason to doubt what it finds on other ways.
	sudden = 10 * time.Minute
	// freshness bounds the age of results that are compared, and sweepPause how often that
	// is done where checks are many.
	freshness  = time.Minute
	sweepPause = time.Second
	manyChecks = 100
	// fewest is how many endpoints there must be, all unreachable and none silent or
	// answering, for the trouble to be taken for ours: fewer may share a rack.
	fewest = 3
)

// SelfStatus is what the prober says of itself.
type SelfStatus struct {
	// Impaired says that failures in silence do not count for now.
	Impaired bool
	Since    time.Time // of Impaired, or of its end; zero if it never was
	Reason   string    // "6 of 6 checks fail here: connect: network is unreachable"
	// LocalShare is the part of the checks probed lately whose newest result is a local
	// fault, 0 to 1.
	LocalShare float64
	Anchors    []AnchorStatus
}

// self is the state of the self-check.
type self struct {
	impaired bool
	since    time.Time
	reason   string
	ended    time.Time // when it last was impaired no more
	sweptAt  time.Time
	locals   string // why the share of local faults makes the prober impaired; "" if it does not
	anchors  anchors
}

// countOrWaitLocked counts a result of a probe that began at began, or has it wait for
// the anchors.
func (m *Monitor) countOrWaitLocked(c *check, r Result, began, now time.Time, to []result) []result {
	m.sweepLocked(c, &r, now)
	switch {
	case !r.doubtful():
	case r.Fault == Local, m.self.impaired, began.Before(m.self.ended):
		r = excused(r)
	case m.self.anchors.deciding():
		m.self.anchors.waiting = append(m.self.anchors.waiting, waiting{c, r, now})
		signal(m.ask)
		return to
	}
	return append(to, m.countLocked(c, r, now))
}

// census counts checks by their newest results.
type census struct {
	brisk       int // probed often enough to be fresh at all times
	fresh       int // probed lately
	local       int // of these, with a local fault
	suddenly    int // of those, that saw until lately
	unreachable int
	endpoints   int
	detail      string // of a local one
}

func (n *census) add(c *check, r *Result, at, now time.Time) {
	if c.spec.Interval+c.spec.Timeout <= freshness {
		n.brisk++
	}
	if !c.isFresh(at, now) {
		return
	}
	n.fresh++
	s := c.state.sight
	switch {
	case r.Verdict == Pass:
	case r.Fault == Local:
		n.local++
		n.detail = r.Detail
		if !s.seen.IsZero() && (s.since.IsZero() || now.Sub(s.since) <= sudden) {
			n.suddenly++
		}
	case r.Fault == Unreachable:
		n.unreachable++
	}
}

// isFresh says whether a result of c that came at the given time is one of its newest.
func (c *check) isFresh(at, now time.Time) bool {
	return !at.IsZero() && now.Sub(at) <= min(c.spec.Interval+c.spec.Timeout+grace+batch, freshness)
}

// verdict says why the prober is impaired; "" if it is not. It takes more than half:
// one of two address families that is missing here is exactly half, and no reason to
// doubt the other.
func (n *census) verdict() string {
	others := n.fresh - n.local
	switch {
	case 2*n.fresh <= n.brisk: // after a start: the first few are not all
	case n.local > 0 && (others == 0 || n.suddenly > others):
		return fmt.Sprintf("%d of %d checks fail here: %s", n.local, n.fresh, n.detail)
	case n.endpoints >= fewest && n.unreachable > 0 && n.local+n.unreachable == n.fresh:
		return fmt.Sprintf("none of %d checks reaches its target", n.fresh)
	}
	return ""
}

// censusLocked counts all checks. r is the newest result of c, not yet its state; nil
// for none.
func (m *Monitor) censusLocked(c *check, r *Result, now time.Time) (n census) {
	n.endpoints = len(m.endpoints)
	for _, other := range m.checks {
		if other == c && r != nil {
			n.add(c, r, now, now)
		} else {
			n.add(other, &other.state.last, other.state.lastAt, now)
		}
	}
	return n
}

// sweepLocked compares the checks when a result comes that may change what the prober
// thinks of itself. Looking at all of them for each of thousands would be too much.
func (m *Monitor) sweepLocked(c *check, r *Result, now time.Time) {
	matters := !r.Answered() && r.Fault != Silent || m.self.locals != ""
	if !matters || len(m.checks) > manyChecks && now.Sub(m.self.sweptAt) < sweepPause {
		return
	}
	m.self.sweptAt = now
	n := m.censusLocked(c, r, now)
	m.self.locals = n.verdict()
	m.reviewLocked(now)
}

// reviewLocked makes the witnesses one verdict.
func (m *Monitor) reviewLocked(now time.Time) {
	s := &m.self
	reason, since := s.locals, now
	if reason == "" {
		reason, since = s.anchors.verdict(), s.anchors.silentSince
	}
	impaired := reason != ""
	if impaired {
		s.reason = reason
	}
	if impaired == s.impaired {
		return
	}
	s.impaired, s.since = impaired, now
	if impaired {
		s.since = since
	} else {
		s.ended = now
	}
	m.selves = append(m.selves, m.selfStatusLocked(now))
	signal(m.changed)
}

// SelfCheck returns what the prober says of itself.
func (m *Monitor) SelfCheck() SelfStatus {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.selfStatusLocked(m.opts.Now())
}

func (m *Monitor) selfStatusLocked(now time.Time) SelfStatus {
	s := SelfStatus{Impaired: m.self.impaired, Since: m.self.since, Reason: m.self.reason, Anchors: slices.Clone(m.self.anchors.statuses)}
	if n := m.censusLocked(nil, nil, now); n.fresh > 0 {
		s.LocalShare = float64(n.local) / float64(n.fresh)
	}
	return s
}
