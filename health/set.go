package health

import (
	"container/heap"
	"maps"
	"time"
)

// checkID tells checks apart. The cadence is part of it, so that two probes of
// one target that differ in it are both honored.
type checkID struct {
	key               string
	interval, timeout time.Duration
	fall, rise        int
}

// normal returns c with the bounds that its doc states.
func (c Check) normal() Check {
	c.Interval = max(c.Interval, time.Millisecond)
	if c.Timeout <= 0 || c.Timeout > c.Interval {
		c.Timeout = c.Interval
	}
	c.Fall, c.Rise = max(c.Fall, 1), max(c.Rise, 1)
	return c
}

func (c Check) id() checkID {
	return checkID{c.Key, c.Interval, c.Timeout, c.Fall, c.Rise}
}

// Set makes these the endpoints, at the start and at each reload, before or while
// the Monitor runs. What is kept, by its key, keeps its state: an endpoint even when
// all its checks are new, and a check even when its cadence is. What is gone is
// forgotten without a [Change], and its probes are canceled. An endpoint can go
// down by Set, if the only check that kept it up is gone. Of endpoints with
// equal keys the first counts.
func (m *Monitor) Set(endpoints []Endpoint) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.opts.Now()
	next := settlement{
		endpoints: make(map[string]*endpoint, len(endpoints)),
		checks:    make(map[checkID]*check, len(m.checks)),
		known:     make(map[string]checkState, len(m.checks)),
	}
	maps.Copy(next.known, m.recalled)
	m.recalled = nil
	for id, c := range m.checks {
		if other, ok := next.known[id.key]; !ok || c.state.lastAt.After(other.lastAt) {
			next.known[id.key] = c.state
		}
	}
	for i := range endpoints {
		if _, twice := next.endpoints[endpoints[i].Key]; !twice {
			m.keepLocked(&endpoints[i], &next, now)
		}
	}
	for id, c := range m.checks {
		if _, kept := next.checks[id]; !kept {
			m.forgetLocked(c)
		}
	}
	m.endpoints, m.checks, m.shortest = next.endpoints, next.checks, 0
	for id := range m.checks {
		if m.shortest == 0 || id.interval < m.shortest {
			m.shortest = id.interval
		}
	}
	for i := range endpoints {
		m.judgeLocked(m.endpoints[endpoints[i].Key], now, causeOther)
	}
	// What made the prober doubt itself may be gone with its checks.
	n := m.censusLocked(nil, nil, now)
	m.self.locals = n.verdict()
	m.reviewLocked(now)
	signal(m.wake)
	signal(m.ask)
}

// settlement is what a call of Set builds.
type settlement struct {
	endpoints map[string]*endpoint
	checks    map[checkID]*check
	known     map[string]checkState // by the key of the checks there were
}

func (m *Monitor) keepLocked(given *Endpoint, next *settlement, now time.Time) {
	e := m.endpoints[given.Key]
	if e == nil {
		e = &endpoint{key: given.Key, state: newEndpointState(given.Resume, now)}
	}
	e.hold = given.RecoveryHold
	e.checks = make([]*check, 0, len(given.Checks))
	for _, spec := range given.Checks {
		spec = spec.normal()
		c := next.checks[spec.id()]
		if c == nil {
			c = m.keepCheckLocked(spec, next, now)
		}
		if !c.watchedBy(e) {
			e.checks = append(e.checks, c)
			c.watchers = append(c.watchers, e)
		}
	}
	next.endpoints[given.Key] = e
}

func (m *Monitor) keepCheckLocked(spec Check, next *settlement, now time.Time) *check {
	c := m.checks[spec.id()]
	if c == nil {
		c = &check{state: next.known[spec.Key], index: -1}
		if c.state.since.IsZero() {
			c.state.since = now
		}
		c.due = now.Add(m.part(spec.Interval))
		heap.Push(&m.agenda, c)
	}
	// The goroutine of a probe may be reading the spec that was.
	c.spec, c.watchers = &spec, nil
	next.checks[spec.id()] = c
	return c
}

// watchedBy says whether e is the newest watcher of c: an endpoint that lists a
// check twice has it once.
func (c *check) watchedBy(e *endpoint) bool {
	return len(c.watchers) > 0 && c.watchers[len(c.watchers)-1] == e
}
