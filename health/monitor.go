package health

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// DefaultConcurrency is how many probes are under way at once unless
// [Options.Concurrency] says otherwise: 10,000 checks at 10 s with a timeout of
// 4 s fit when every target hangs.
const DefaultConcurrency = 4096

// Options say what a Monitor works with.
type Options struct {
	// Now reads the clock. Required. Waiting uses the timers of package time.
	Now func() time.Time
	// Rand spreads the probes. Required; used only under the lock of the Monitor.
	Rand *rand.Rand
	// Concurrency is the most probes under way at once, 0 for
	// [DefaultConcurrency]. What is needed when all targets hang is the sum of
	// timeout/interval over all checks; with less, detection takes longer.
	Concurrency int
	// OnChange is told of changes in the order they happened, from one goroutine,
	// several at once if they came close together. While it blocks no other
	// change is delivered, but probing goes on. It may call the Monitor. May be nil.
	OnChange func([]Change)
	// OnResult is told of every result that counts, from many goroutines at once,
	// after the states have changed. It must not block nor change the Check; it
	// may call the Monitor. May be nil.
	OnResult func(*Check, Result)
	// OnSelf is told when the prober is found impaired and when it is so no more, and
	// OnSight when endpoints are lost from sight or seen again. Both are called like
	// OnChange, and before it. May be nil.
	OnSelf  func(SelfStatus)
	OnSight func([]Sight)
	// OnParts is told which checks of an endpoint with several are out, whenever that
	// changes. It is called like OnChange, and after it. May be nil.
	OnParts func([]Parts)
}

// Monitor probes the checks of endpoints and keeps their states. Its methods may
// be called from any number of goroutines.
type Monitor struct {
	opts Options
	// wake ends the sleep of the schedule, changed that of the deliverer, ask that of
	// the one who asks the anchors; each holds one token, sent without blocking.
	wake, changed, ask chan struct{}
	probes             sync.WaitGroup // the goroutines of probe, waited for by Run

	mu        sync.Mutex // guards what follows, and all checks and endpoints
	self      self
	endpoints map[string]*endpoint
	checks    map[checkID]*check
	shortest  time.Duration         // interval of any check, 0 without one
	recalled  map[string]checkState // of the process before, until the first Set
	changes   []Change              // not yet delivered, oldest first, like the three below
	selves    []SelfStatus
	sights    []Sight
	parts     []Parts
	agenda    agenda    // all checks but those in ready
	ready     []*check  // due, waiting for a slot, in the order they became due
	asleep    time.Time // when the schedule looks again by itself
	probing   int       // as in Stats, like the two below
	overdue   int
	probed    uint64
	late      lateness
}

// endpoint is one that was given to Set, and its state.
type endpoint struct {
	key    string
	hold   time.Duration
	checks []*check
	state  endpointState
	unseen time.Time // as in Status
	parts  Parts     // as told last
}

// NewMonitor returns a Monitor without endpoints that does not probe yet.
func NewMonitor(o Options) *Monitor {
	if o.Concurrency <= 0 {
		o.Concurrency = DefaultConcurrency
	}
	return &Monitor{
		opts:      o,
		wake:      make(chan struct{}, 1),
		ask:       make(chan struct{}, 1),
		changed:   make(chan struct{}, 1),
		endpoints: map[string]*endpoint{},
		checks:    map[checkID]*check{},
	}
}

// Run probes until ctx ends. It returns when the last probe and the last call of
// OnChange and OnResult have: a Prober that ignores its context delays it. What a
// probe finds after ctx has ended is dropped. It may be called once.
func (m *Monitor) Run(ctx context.Context) {
	ended := make(chan struct{})
	var deliverer sync.WaitGroup
	deliverer.Go(func() { m.deliver(ended) })
	m.probes.Go(func() { m.watchAnchors(ctx) })
	m.schedule(ctx)
	m.probes.Wait()
	close(ended)
	deliverer.Wait()
}

// deliver hands out what has changed until ended is closed and nothing is left.
func (m *Monitor) deliver(ended <-chan struct{}) {
	for last := false; !last; {
		select {
		case <-m.changed:
		case <-ended:
			last = true
		}
		m.mu.Lock()
		changes, selves, sights, parts := m.changes, m.selves, m.sights, m.parts
		m.changes, m.selves, m.sights, m.parts = nil, nil, nil, nil
		m.mu.Unlock()
		for _, s := range selves {
			if m.opts.OnSelf != nil {
				m.opts.OnSelf(s)
			}
		}
		if len(sights) > 0 && m.opts.OnSight != nil {
			m.opts.OnSight(sights)
		}
		if len(changes) > 0 && m.opts.OnChange != nil {
			m.opts.OnChange(changes)
		}
		if len(parts) > 0 {
			m.opts.OnParts(parts)
		}
	}
}

// judgeLocked steps an endpoint after its checks have changed, because of a result of
// one of them or a new set.
func (m *Monitor) judgeLocked(e *endpoint, now time.Time, why cause) {
	m.lookLocked(e)
	m.partsLocked(e, now)
	var v view
	var last *check
	for _, c := range e.checks {
		v = v.add(c.state, c.thresholds())
		if last == nil || c.state.lastAt.After(last.state.lastAt) {
			last = c
		}
	}
	before := e.state
	after, ev := before.step(v, now, e.hold, why)
	e.state = after
	if ev == nothing && (after.state.Eligible() || after.state == before.state && after.passing == before.passing) {
		return
	}
	change := Change{
		Endpoint: e.key, State: after.state, Was: before.state, Passing: after.passing, At: now,
		EligibleAt: after.eligibleAt, Flaps: after.flaps,
	}
	switch ev {
	case cameUp:
		change.Reason = whyUp(before, v, now)
	case nothing:
		change.Reason = last.state.last.Detail
	case wentDown:
		change.Reason = whyDown(last.spec.Name, v, last.state, last.thresholds())
	}
	m.changes = append(m.changes, change)
	signal(m.changed)
}

// signal leaves a token in c unless one is there.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Statuses returns where all endpoints stand, in the order of their keys.
func (m *Monitor) Statuses() []Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]Status, 0, len(m.endpoints))
	for _, key := range slices.Sorted(maps.Keys(m.endpoints)) {
		all = append(all, m.endpoints[key].status())
	}
	return all
}

// Status returns where the endpoint with this key stands; false if there is none.
func (m *Monitor) Status(key string) (Status, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.endpoints[key]
	if !ok {
		return Status{}, false
	}
	return e.status(), true
}

// Unseen returns the keys of the endpoints with a [Status.UnseenSince], in no order.
func (m *Monitor) Unseen() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var keys []string
	for key, e := range m.endpoints {
		if !e.unseen.IsZero() {
			keys = append(keys, key)
		}
	}
	return keys
}

// Stats returns the counters of the Monitor.
func (m *Monitor) Stats() Stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	return Stats{
		Endpoints: len(m.endpoints),
		Checks:    len(m.checks),
		Probing:   m.probing,
		Overdue:   m.overdue,
		Waiting:   len(m.ready),
		Probes:    m.probed,
		Late:      m.late.worst(m.opts.Now()),
	}
}

func (e *endpoint) status() Status {
	s := Status{
		Endpoint: e.key, State: e.state.state, Since: e.state.since,
		DownAt: e.state.downAt, UpAt: e.state.upAt, Passing: e.state.passing,
		EligibleAt: e.state.eligibleAt, Flaps: e.state.flaps, UnseenSince: e.unseen,
		Certificate: e.certificate(), Checks: make([]CheckStatus, 0, len(e.checks)),
	}
	for i, c := range e.checks {
		st := c.status()
		st.Out = i < 32 && e.parts.Out>>i&1 == 1
		s.Checks = append(s.Checks, st)
		// Of several, what is wrong with one of them says more than what is well.
		worse := st.Last.Verdict == Fail && s.Last.Verdict != Fail
		if same := (st.Last.Verdict == Fail) == (s.Last.Verdict == Fail); !st.LastAt.IsZero() && (s.LastAt.IsZero() || worse || same && st.LastAt.After(s.LastAt)) {
			s.Last, s.LastAt = st.Last, st.LastAt
		}
	}
	return s
}

// certificate returns the one that ends first.
func (e *endpoint) certificate() (first Certificate) {
	for _, c := range e.checks {
		if got := c.state.certificate; first.NotAfter.IsZero() || !got.NotAfter.IsZero() && got.NotAfter.Before(first.NotAfter) {
			first = got
		}
	}
	return first
}

// Certificates returns [Status.Certificate] of the endpoints that have shown one, by key.
func (m *Monitor) Certificates() map[string]Certificate {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make(map[string]Certificate)
	for key, e := range m.endpoints {
		if c := e.certificate(); !c.NotAfter.IsZero() {
			out[key] = c
		}
	}
	return out
}

func (c *check) status() CheckStatus {
	return CheckStatus{
		Key: c.spec.Key, Name: c.spec.Name, Address: c.spec.Address, State: c.state.state, Since: c.state.since,
		Last: c.state.last, LastAt: c.state.lastAt,
		Passes: c.state.passes, Fails: c.state.fails, NextAt: c.due,
	}
}
