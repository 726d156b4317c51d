package availability

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"portolan.dev/config"
	"portolan.dev/config/ledger"
	"portolan.dev/geo"
	"portolan.dev/geo/geotest"
	"portolan.dev/health"
	"portolan.dev/resolver"
	"portolan.dev/resolver/compile"
	"portolan.dev/resolver/decide"
)

// table is location data of one place: where clients are is not for these tests.
var table = sync.OnceValues(func() (*geo.Table, error) { return geotest.Table(geotest.Seattle()) })

// base is a registry of three replicas; the nearest to Seattle is westus, then eastus.
const base = `
server: {listen: ["127.0.0.1:0"]}
zones: {example.io: {nameservers: {ns1: [192.0.2.53]}}}
probes: {tcp: {type: tcp, port: 443, interval: 5s, timeout: 2s}}
registries:
  myregistry:
    zone: example.io
    replicas:
      westus: {addresses: [192.0.2.1], probe: tcp}
      eastus: {addresses: [192.0.2.2], probe: tcp}
      westeurope: {addresses: [192.0.2.3], probe: tcp}
`

// disk is a ledger whose writes a test can hold up and refuse.
type disk struct {
	mu      sync.Mutex
	state   ledger.State
	events  []ledger.Event
	stalled chan struct{} // closed when writes go on; nil when they do
	refuse  error
}

func (d *disk) stall() { d.mu.Lock(); defer d.mu.Unlock(); d.stalled = make(chan struct{}) }

func (d *disk) goOn() {
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.stalled)
	d.stalled = nil
}

func (d *disk) fill(err error) { d.mu.Lock(); defer d.mu.Unlock(); d.refuse = err }

// wait returns when the disk answers.
func (d *disk) wait() {
	d.mu.Lock()
	stalled := d.stalled
	d.mu.Unlock()
	if stalled != nil {
		<-stalled
	}
}

func (d *disk) Append(_ context.Context, events ...ledger.Event) ([]ledger.Event, error) {
	d.wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.refuse != nil {
		return nil, d.refuse
	}
	stored := slices.Clone(events)
	for i := range stored {
		e := &stored[i]
		e.Seq = d.state.Seq + 1
		if e.EffectiveAt.IsZero() {
			e.EffectiveAt = e.DecidedAt
		}
		d.state.Apply(*e)
	}
	d.events = append(d.events, stored...)
	return stored, nil
}

func (d *disk) Back(_ context.Context, to uint64, f func(*ledger.Event) bool) error {
	d.mu.Lock()
	events := slices.Clone(d.events[:min(int(to), len(d.events))])
	d.mu.Unlock()
	for i := len(events) - 1; i >= 0; i-- {
		if !f(&events[i]) {
			return nil
		}
	}
	return nil
}

// written returns what is written.
func (d *disk) written() []ledger.Event {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.events)
}

// kinds lists the kinds of what is written.
func (d *disk) kinds() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []string
	for i := range d.events {
		out = append(out, string(d.events[i].Kind))
	}
	return strings.Join(out, " ")
}

// monitor stands in for health.
type monitor struct {
	mu        sync.Mutex
	endpoints []health.Endpoint
	works     map[string]bool
	taken     []string
}

func (m *monitor) Set(endpoints []health.Endpoint) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.endpoints = slices.Clone(endpoints)
}

func (m *monitor) LetBack(key string) bool { m.mu.Lock(); defer m.mu.Unlock(); return m.works[key] }

func (m *monitor) TakeDown(key string, _ time.Time, _ int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.taken = append(m.taken, key)
}

// rig is an Availability on a fake clock and a fake disk.
type rig struct {
	*Availability

	t       *testing.T
	disk    *disk
	monitor *monitor
	config  *Configuration
	left    leftover               // what a process that is killed leaves
	noting  atomic.Pointer[func()] // called before that; nil for nothing
	ahead   time.Duration
	log     bytes.Buffer  // of the handler, which has a lock
	wall    time.Duration // ahead of ahead
	stop    func()
	slots   *compile.Slots
	numbers *compile.Numbering
}

// leftover is what is noted for the next process; nil for nothing.
type leftover struct {
	mu   sync.Mutex
	text []byte
}

func (l *leftover) set(text []byte) { l.mu.Lock(); defer l.mu.Unlock(); l.text = text }

func (l *leftover) get() []byte { l.mu.Lock(); defer l.mu.Unlock(); return l.text }

// needTable loads what bubbles share, outside of them.
func needTable(t *testing.T) {
	t.Helper()
	if _, err := table(); err != nil {
		t.Fatal(err)
	}
}

func newRig(t *testing.T, text string, d *disk) *rig {
	t.Helper()
	if d == nil {
		d = &disk{}
	}
	r := &rig{t: t, disk: d, monitor: &monitor{works: make(map[string]bool)}, slots: compile.NewSlots(), numbers: compile.NewNumbering()}
	r.start(text)
	return r
}

// stamp writes moments as a wall clock has them that is set now and then.
func (r *rig) stamp(t time.Time) string { return t.Add(r.wall).UTC().Format(time.RFC3339) }

func (r *rig) now() time.Time { return time.Now().Add(r.ahead) }

// start makes an Availability from what the disk has, as a process does at its start.
func (r *rig) start(text string) {
	r.t.Helper()
	r.disk.mu.Lock()
	state, events := r.disk.state.Clone(), slices.Clone(r.disk.events)
	r.disk.mu.Unlock()
	var noted []ledger.Event
	if text := r.left.get(); text != nil {
		if err := json.Unmarshal(text, &noted); err != nil {
			r.t.Fatal(err)
		}
		for i := range noted {
			noted[i].Seq = state.Seq + 1
			state.Apply(noted[i])
		}
	}
	r.Availability = New(Options{
		Log: slog.New(slog.NewTextHandler(&r.log, nil)), Now: r.now, Stamp: r.stamp, Ledger: r.disk, Save: r.disk.wait,
		Note: func(pending []ledger.Event) (err error) {
			var text []byte
			if f := r.noting.Load(); f != nil {
				(*f)()
			}
			if len(pending) > 0 {
				text, err = json.Marshal(pending)
			}
			r.left.set(text)
			return err
		},
	}, r.monitor, state, append(events, noted...))
	r.Queue(noted)
	r.serve(text)
	ctx, cancel := context.WithCancel(r.t.Context())
	var running sync.WaitGroup
	running.Go(func() { r.Run(ctx) })
	r.stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	r.t.Cleanup(r.stop)
	synctest.Wait() // it runs
}

// restart goes on with another process, whose clock is ahead by that much more.
func (r *rig) restart(text string, ahead time.Duration) {
	r.t.Helper()
	r.stop()
	r.ahead += ahead
	r.start(text)
}

// serve takes up a configuration.
func (r *rig) serve(text string) {
	r.t.Helper()
	data, err := table()
	if err != nil {
		r.t.Fatal(err)
	}
	c, err := config.Parse("test.yaml", []byte(text))
	if err != nil {
		r.t.Fatal(err)
	}
	var previous *resolver.Snapshot
	if r.config != nil {
		previous = r.config.Compiled.Snapshot
	}
	compiled, err := compile.Compile(c, compile.Options{Table: data, Slots: r.slots, Numbering: r.numbers, Seed: 42, Now: r.now(), Previous: previous})
	if err != nil {
		r.t.Fatal(err)
	}
	r.config = &Configuration{
		Compiled: compiled, Grace: 15 * time.Second, Sum: text,
		Manual: func(i int) bool { return c.Registries[i].Failback == config.FailbackManual },
	}
	r.Adopt(r.config, nil, func() {})
}

// key is that of the endpoint of a replica.
func (r *rig) key(region string) string {
	r.t.Helper()
	s := r.config.Compiled.Snapshot
	m, ok := memberOf(r.config.Compiled, ledger.Subject{Registry: s.Registries[0].Key, Region: region})
	if !ok {
		r.t.Fatalf("no replica %s", region)
	}
	return r.config.Compiled.Endpoints[r.config.Compiled.EndpointOf(m)].Key
}

func (r *rig) down(region string) {
	r.t.Helper()
	r.Changed([]health.Change{{Endpoint: r.key(region), State: health.Down, Was: health.Up, At: r.now(), Reason: "3 of 3 failed"}})
}

func (r *rig) passes(region string, ok bool) {
	r.t.Helper()
	c := health.Change{Endpoint: r.key(region), State: health.Recovering, Was: health.Down, Passing: true, At: r.now(), Reason: "200 OK"}
	if !ok {
		c.State, c.Was, c.Passing = health.Down, health.Recovering, false
	}
	r.monitor.mu.Lock()
	r.monitor.works[c.Endpoint] = ok
	r.monitor.mu.Unlock()
	r.Changed([]health.Change{c})
}

func (r *rig) up(region string) {
	r.t.Helper()
	r.Changed([]health.Change{{Endpoint: r.key(region), State: health.Up, Was: health.Recovering, At: r.now(), Reason: "healthy for 10m0s"}})
}

// want checks which replica a new client in Seattle gets, once all is quiet.
func (r *rig) want(region string, outcome decide.Outcome) {
	r.t.Helper()
	synctest.Wait()
	r.wantNow(region, outcome)
}

// wantNow is want, for what has to be so at once.
func (r *rig) wantNow(region string, outcome decide.Outcome) {
	r.t.Helper()
	if label, o := r.answered(); label != region || o != outcome {
		r.t.Errorf("%q, %v, want %q, %v (%+v)", label, o, region, outcome, r.config.Compiled.Snapshot.Live[0].Masks())
	}
}

// answered returns which replica a new client in Seattle gets; "" for none.
func (r *rig) answered() (region string, outcome decide.Outcome) {
	s := r.config.Compiled.Snapshot
	rank := make([]uint8, len(s.Regions))
	for i := range rank {
		rank[i] = uint8(i)
	}
	got, o := decide.Choose(rank, s.Live[0].Masks(), s.Registries[0].AllDown)
	if o > decide.AllDown {
		return "", o
	}
	return s.Regions[got].Label, o
}

func (r *rig) excluded(region string) string {
	r.t.Helper()
	m, ok := memberOf(r.config.Compiled, ledger.Subject{Registry: r.config.Compiled.Snapshot.Registries[0].Key, Region: region})
	if !ok {
		r.t.Fatalf("no replica %s", region)
	}
	return r.Excluded(r.config, m)
}

func west() Selector { return Selector{Region: "westus"} }

func (r *rig) drain(o DrainOrder) {
	r.t.Helper()
	if _, _, err := r.Drain(o); err != nil {
		r.t.Fatal(err)
	}
}

var errFull = fmt.Errorf("write: %w", errors.New("no space left on device"))
