package health

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// target is a prober whose answer a test sets.
type target struct {
	verdict atomic.Uint32 // a Verdict
	fault   atomic.Uint32 // a Fault
	takes   atomic.Int64  // how long it thinks, in the clock of the bubble
	deaf    atomic.Bool   // does not look at ctx
	calls   atomic.Int64
	now, hi atomic.Int64 // under way, and the most that ever were

	mu     sync.Mutex
	starts []time.Time
}

func (p *target) Probe(ctx context.Context) Result {
	p.calls.Add(1)
	n := p.now.Add(1)
	defer p.now.Add(-1)
	for h := p.hi.Load(); n > h && !p.hi.CompareAndSwap(h, n); h = p.hi.Load() {
	}
	p.mu.Lock()
	p.starts = append(p.starts, time.Now())
	p.mu.Unlock()
	// Without a thought no timer: one that is due at once fires on many threads, and
	// that the race detector of Go 1.26 does not survive in a bubble.
	if takes := time.Duration(p.takes.Load()); takes > 0 {
		done := ctx.Done()
		if p.deaf.Load() {
			done = nil
		}
		select {
		case <-time.After(takes):
		case <-done:
			return Result{Fault: Silent, Detail: "gave up"}
		}
	}
	v := Verdict(p.verdict.Load())
	return Result{Verdict: v, Fault: Fault(p.fault.Load()), Detail: "said " + v.String()}
}

// blame sets what it answers from now on.
func (p *target) blame(v Verdict, f Fault) {
	p.fault.Store(uint32(f))
	p.set(v)
}

// began returns when it was called.
func (p *target) began() []time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.starts)
}

func (p *target) set(v Verdict) { p.verdict.Store(uint32(v)) }

func passing() *target {
	p := &target{}
	p.set(Pass)
	return p
}

// check returns one at 10 s, 2 s, 3 and 3.
func checkOf(key string, p Prober) Check {
	return Check{
		Key: key, Name: "test " + key, Prober: p,
		Interval: 10 * time.Second, Timeout: 2 * time.Second, Fall: 3, Rise: 3,
	}
}

// rig is a running Monitor and what it said.
type rig struct {
	*Monitor
	stop    func()
	mu      sync.Mutex
	changes []Change
	selves  []SelfStatus
	sights  []Sight
	results int
}

// start runs a Monitor until the test ends. To be called in a bubble.
func start(t *testing.T, o Options, endpoints ...Endpoint) *rig {
	t.Helper()
	return startFrom(t, o, nil, endpoints...)
}

// startKnowing is start with what another process knew.
func startKnowing(t *testing.T, records []CheckRecord, endpoints ...Endpoint) *rig {
	t.Helper()
	return startFrom(t, Options{}, records, endpoints...)
}

func startFrom(t *testing.T, o Options, records []CheckRecord, endpoints ...Endpoint) *rig {
	t.Helper()
	r := &rig{}
	o.Now, o.Rand = time.Now, rand.New(rand.NewPCG(1, 2))
	o.OnChange = func(c []Change) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.changes = append(r.changes, c...)
	}
	o.OnResult = func(*Check, Result) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.results++
	}
	o.OnSelf = func(s SelfStatus) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.selves = append(r.selves, s)
	}
	o.OnSight = func(s []Sight) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.sights = append(r.sights, s...)
	}
	r.Monitor = NewMonitor(o)
	r.Recall(records)
	r.Set(endpoints)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { r.Run(ctx) })
	r.stop = func() { cancel(); running.Wait() }
	t.Cleanup(r.stop)
	return r
}

// said returns the changes of eligibility so far, as "eastus down: why". How long one was healthy
// is cut to tens of seconds: it is up to an interval more than the hold.
func (r *rig) said() []string {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, c := range r.changes {
		if c.State.Eligible() == c.Was.Eligible() {
			continue
		}
		why := c.Reason
		if text, ok := strings.CutPrefix(why, "healthy for "); ok {
			d, _ := time.ParseDuration(text)
			why = "healthy for " + d.Truncate(10*time.Second).String()
		}
		out = append(out, c.Endpoint+map[bool]string{true: " up: ", false: " down: "}[c.State == Up]+why)
	}
	return out
}

func wantSaid(t *testing.T, r *rig, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, r.said()); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

func wantState(t *testing.T, r *rig, key string, want State) Status {
	t.Helper()
	synctest.Wait()
	s, ok := r.Status(key)
	if !ok || s.State != want {
		t.Errorf("%s is %v (known: %v), want %v", key, s.State, ok, want)
	}
	return s
}
