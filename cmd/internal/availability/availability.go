package availability

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"portolan.dev/config/ledger"
	"portolan.dev/health"
	"portolan.dev/resolver/compile"
)

// Why an order is not carried out, to be told apart with errors.Is.
var (
	// ErrNotFound: there is no such replica.
	ErrNotFound = errors.New("not found")
	// ErrInvalid: the order makes no sense.
	ErrInvalid = errors.New("invalid request")
	// ErrRefused: it would take the last eligible replica of a registry, or nothing
	// waits for it.
	ErrRefused = errors.New("refused")
)

// pausePoll is how often Pause looks whether all is written.
const pausePoll = 5 * time.Millisecond

// Ledger is the durable log of events. Its methods may be called from any number of
// goroutines.
type Ledger interface {
	// Append stores events in this order, all of them or none, and returns them as
	// stored once they are durable.
	Append(ctx context.Context, events ...ledger.Event) ([]ledger.Event, error)
	// Back calls f for the events up to one, newest first, until f returns false or
	// there are no more.
	Back(ctx context.Context, to uint64, f func(*ledger.Event) bool) error
}

// Monitor is what probes: [health.Monitor].
type Monitor interface {
	Set(endpoints []health.Endpoint)
	LetBack(key string) bool
	TakeDown(key string, at time.Time, flaps int)
}

// Options say what an Availability works with. All are required, unless they say
// otherwise.
type Options struct {
	Log *slog.Logger
	// Now is a clock that nobody can set.
	Now func() time.Time
	// Stamp writes a moment of that clock for people.
	Stamp  func(time.Time) string
	Ledger Ledger
	// Note keeps these verdicts, which are not durable yet, where the next process
	// finds them if this one is killed, instead of those noted before. It must not wait
	// for a disk. nil for nowhere.
	Note func(pending []ledger.Event) error
	// Save makes durable what clients were given: whom a voluntary change concerns is
	// then known after a crash, too. It may take as long as the disk does.
	Save func()
}

// Configuration is what is served, as far as availability depends on it. It must not
// change.
type Configuration struct {
	Compiled *compile.Result
	// Grace is the time from an order to its effect.
	Grace time.Duration
	// Sum tells configurations apart under which clients may be answered otherwise.
	Sum string
	// Manual says whether the replicas of a registry, given by its number, wait for an
	// operator when they have recovered.
	Manual func(registry int) bool
}

// Availability is the state of all replicas. Make one with [New]. Its methods may be
// called from any number of goroutines.
type Availability struct {
	o       Options
	monitor Monitor
	journal *journal
	reasons reasons
	// kick wakes the schedule when there is something new to wait for.
	kick chan struct{}
	// saving holds a token while what clients were given is being saved.
	saving chan struct{}

	// orders is held by an operator's order from the moment it looks at the state until
	// it is durable and known: two of them cannot both take the last replica but one.
	// No query, verdict or reload waits for it.
	orders sync.Mutex

	mu sync.Mutex // guards what follows; only ever held for work in memory
	// current is what is served, nil before the first.
	current *Configuration
	// out holds the endpoints that are out by key, outAt the same by their number in
	// current.
	out   map[string]*endpoint
	outAt []*endpoint
	// unresolved holds the replicas whose target host name has no addresses yet: they
	// cannot be answered, whatever health says.
	unresolved map[compile.Member]bool
	// overrides is what operators have said, also of replicas that are not configured.
	overrides map[ledger.Subject]*override
	// outages holds the registries of which all replicas are, or were, down.
	outages map[int]*outage
	// parts holds the endpoints some of whose addresses are dead, by key.
	parts map[string]part
	// recent is what the ledger tells of the last hour, for the first configuration.
	recent []ledger.Event
}

// endpoint is one that health has taken out.
type endpoint struct {
	since time.Time // it went down
	// subject is one of the replicas that it watches, and name that under which its registry
	// is served, as far as that is from the ledger.
	subject ledger.Subject
	name    string
	// passing is set while it works, parked once it has recovered and waits for an
	// operator, returning while its return waits for the disk.
	passing, parked, returning bool
	// noted is set once the ledger knows that it passes.
	noted bool
}

// New returns an Availability without a configuration, in the state that the ledger
// remembers. recent is what it tells of the last hour and the longest grace time
// before, oldest first.
func New(o Options, m Monitor, state ledger.State, recent []ledger.Event) *Availability {
	v := &Availability{
		o: o, monitor: m,
		kick: make(chan struct{}, 1), saving: make(chan struct{}, 1),
		out: make(map[string]*endpoint), overrides: make(map[ledger.Subject]*override), outages: make(map[int]*outage), parts: make(map[string]part),
		recent: recent,
	}
	v.journal = newJournal(o, v.served)
	v.restore(&state)
	return v
}

// Run writes verdicts and orders, and makes orders take effect when their time comes,
// until ctx ends. Call it once.
func (v *Availability) Run(ctx context.Context) {
	var writer sync.WaitGroup
	writer.Go(func() { v.journal.run(ctx) })
	v.schedule(ctx)
	writer.Wait()
}

// Flush makes one more attempt at what is not durable yet, after Run has returned and
// nothing more is decided.
func (v *Availability) Flush(ctx context.Context) { v.journal.flush(ctx) }

// Pending returns the verdicts that are not durable yet, oldest first.
func (v *Availability) Pending() []ledger.Event { return v.journal.pending() }

// Queue takes over verdicts that are part of the state given to [New], and that its
// ledger does not have yet: they are written before all else.
func (v *Availability) Queue(events []ledger.Event) {
	v.journal.verdicts(events, nil)
	v.journal.note()
}

// Pause holds back orders of operators, and returns once all that was decided is
// durable, or ctx ends. Verdicts go on. resume lets orders go on; those that have
// waited until the journal stopped are refused.
func (v *Availability) Pause(ctx context.Context) (resume func()) {
	v.orders.Lock()
	tick := time.NewTicker(pausePoll)
	defer tick.Stop()
	for !v.journal.idle() {
		select {
		case <-ctx.Done():
			return v.orders.Unlock
		case <-tick.C:
		}
	}
	return v.orders.Unlock
}

// Record makes events durable that only record what has happened, behind all that
// was decided before.
func (v *Availability) Record(events ...ledger.Event) error {
	return v.journal.order(events, false, nil)
}

// served returns the name under which the registry with a key is served; "" if there is
// none.
func (v *Availability) served(key string) string {
	if c := v.reasons.current.Load(); c != nil {
		if i, ok := c.Compiled.Index[key]; ok {
			return c.Compiled.Snapshot.Registries[i].Name
		}
	}
	return ""
}

// subjectOf names a replica as operators and the ledger do.
func subjectOf(c *compile.Result, m compile.Member) ledger.Subject {
	s := c.Snapshot
	return ledger.Subject{Registry: s.Registries[m.Registry].Key, Region: s.Regions[m.Region].Label}
}

// memberOf finds the replica of a name; false if it is not configured.
func memberOf(c *compile.Result, subject ledger.Subject) (compile.Member, bool) {
	s := c.Snapshot
	registry, ok := c.Index[subject.Registry]
	if !ok {
		return compile.Member{}, false
	}
	for i := range s.Regions {
		if s.Regions[i].Label == subject.Region && s.Registries[registry].Configured.Has(uint8(i)) {
			return compile.Member{Registry: registry, Region: uint8(i)}, true
		}
	}
	return compile.Member{}, false
}

// subject names a replica of what is served. v.mu is held.
func (v *Availability) subject(m compile.Member) ledger.Subject {
	return subjectOf(v.current.Compiled, m)
}

// member finds a replica of what is served; false if there is none. v.mu is held.
func (v *Availability) member(s ledger.Subject) (compile.Member, bool) {
	return memberOf(v.current.Compiled, s)
}

// here returns the number that the replica m of c has now; false if a reload has taken
// it away. v.mu is held.
func (v *Availability) here(c *Configuration, m compile.Member) (compile.Member, bool) {
	if c == v.current {
		return m, true
	}
	return v.member(subjectOf(c.Compiled, m))
}
