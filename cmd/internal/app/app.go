package app

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"portolan.dev/cmd/internal/admin"
	"portolan.dev/cmd/internal/availability"
	"portolan.dev/cmd/internal/handover"
	"portolan.dev/cmd/internal/notify"
	"portolan.dev/cmd/internal/sandbox"
	"portolan.dev/cmd/internal/secretfile"
	"portolan.dev/config"
	"portolan.dev/config/ledger"
	"portolan.dev/health"
	"portolan.dev/health/probe"
	"portolan.dev/resolver"
	"portolan.dev/resolver/activity"
	"portolan.dev/resolver/compile"
	"portolan.dev/resolver/decide"
	"portolan.dev/resolver/rrl"
	"portolan.dev/resolver/server"
	"portolan.dev/resolver/transfer"
	"portolan.dev/resolver/wire"
)

// Options are what a server is made from.
type Options struct {
	Source
	Log *slog.Logger
	// Elapsed is how much time has passed since some moment, by a clock that nobody can
	// set; nil for what the monotonic reading of Now says.
	Elapsed func() time.Duration
	// Resolvers are asked for the addresses of target host names, as "ip:port";
	// empty means those of the system.
	Resolvers []string
	// Crash lets a query that cannot be taken end the process, instead of dropping
	// the query: for tests.
	Crash bool
	// Sockets are open already, from a service manager; those that are not served are
	// closed. nil for none.
	Sockets *handover.Sockets
	// Before leads to the process to take the place of, nil for none. With it [App.Run]
	// serves once the other one agrees.
	Before *handover.Channel
}

// App is a server from configuration to sockets. Make one with [New].
type App struct {
	o     Options
	log   *slog.Logger
	slots *compile.Slots
	// numbering and holds outlive every world: what clients were given does.
	numbering *compile.Numbering
	holds     *decide.Holds
	tablePath string          // where shared lies
	shared    *activity.Table // what holds lies in; nil for the heap
	saving    saving
	// units is the snapshot by which units are told apart, or will be in a moment.
	units atomic.Pointer[resolver.Snapshot]
	// unsaved says that the saved table does not know that.
	unsaved         bool
	counts          *rrl.Table
	secret          wire.CookieSecret // of this process, for cookies without a file
	clock           *clock
	wall            resolver.Wall // of all snapshots, as clock sets it
	resave          chan struct{} // holds a token when what is saved is of another clock
	panics, sockets quiet         // lines that could fill the log
	lost, found     quiet         // the same
	// names outlive every world: a reload while the resolver fails must not forget where
	// the targets of probes are.
	names       *probe.Names
	learned     chan struct{} // holds a token when the addresses of names are others
	roots       *secretfile.Roots
	adminErrors atomic.Uint64
	connections atomic.Int64 // of clients that may be held
	workers     int          // UDP sockets of each address

	// Long-lived: made by New, ended by Stop.
	resolver     *resolver.Resolver
	monitor      *health.Monitor
	availability *availability.Availability
	record       *record
	given        *given
	notifier     *notify.Notifier
	secondaries  *transfer.Notifier
	transfers    transfer.Traffic
	shares       shares
	caches       caches
	server       *server.Server
	certificate  *certificate
	remote       *remote
	admin        *admin.Server
	metrics      *metrics
	background   sync.WaitGroup
	cancel       context.CancelFunc // ends monitor and targets
	stopped      atomic.Bool
	started      time.Time
	confined     sandbox.Status
	kept         bool            // a service manager keeps the sockets open
	unkept       []string        // but those of these addresses
	before       *predecessor    // nil without one
	successor    chan *successor // who serves now
	ending       context.Context // done when Stop has been called
	end          context.CancelFunc

	// Swapped on every reload.
	reloading sync.Mutex // one reload at a time; guards targets
	world     atomic.Pointer[World]
	targets   *targets
}

// New loads, compiles and binds: after it, nothing that can fail is left to do.
// The sockets are open but unread until [App.Start]. On error nothing stays open.
func New(o Options) (*App, error) {
	steady := newClock(o.Now, o.Elapsed, o.Log)
	o.Now = steady.now
	o.Cache = new(config.Cache)
	a := &App{
		clock: steady,
		o:     o, log: o.Log, slots: compile.NewSlots(), numbering: compile.NewNumbering(),
		resave: make(chan struct{}, 1), confined: "off",
		counts:    rrl.NewTable(countsSize, rand.Uint64()), //nolint:gosec // spoils guessing, guards no secret
		successor: make(chan *successor, 1), kept: !o.Sockets.Empty(), names: probe.NewNames(o.Now), learned: make(chan struct{}, 1), roots: secretfile.SystemRoots(),
	}
	steady.stepped = a.clockWasSet
	a.names.OnLearn(func() {
		select {
		case a.learned <- struct{}{}:
		default: // will be saved with what was learned before
		}
	})
	a.ending, a.end = context.WithCancel(context.Background())
	if o.Before != nil {
		a.o.Sockets = new(handover.Sockets)
		var err error
		if a.before, err = meet(o.Before, a.o.Sockets); err != nil {
			return nil, errors.Join(err, o.Before.Close())
		}
		a.kept = a.before.Kept
	}
	if err := a.load(); err != nil {
		if a.before != nil {
			a.before.fail(err)
		}
		return nil, err
	}
	return a, nil
}

// load makes everything of a. On error nothing stays open.
func (a *App) load() error {
	defer a.o.Sockets.Close()
	var err error
	if a.secret, err = a.ownSecret(); err != nil {
		return err
	}
	w, err := a.build(nil)
	if err != nil {
		return err
	}
	if a.before != nil {
		if err := a.before.inherit(); err != nil {
			return err
		}
	}
	if err := a.openRecord(w); err != nil {
		return err
	}
	left := a.openActivity(w)
	if err := a.wire(w, left); err != nil {
		// Nobody was served: without anything left, all there is was saved before.
		return errors.Join(err, a.closeShared(left == nil), a.record.store.Close())
	}
	a.dismiss()
	if a.before == nil {
		settleMemory() // else once it serves: another process waits
	}
	return nil
}

// wire makes everything that serves w, from what the ledger remembers and what was
// left in memory.
func (a *App) wire(w *World, left *activity.Left) error {
	ctx := context.Background()
	saved := a.loadHolds(ctx)
	a.goOn(ctx, saved, left)
	a.started = a.o.Now()
	state, err := a.record.state(ctx)
	if err != nil {
		return err
	}
	a.resolver = resolver.New(w.Compiled.Snapshot, a.secret)
	a.metrics = newMetrics(a)
	a.secondaries = a.newSecondaries()
	if a.given, err = newGiven(a); err != nil {
		return err
	}
	a.monitor = health.NewMonitor(health.Options{
		Now: a.o.Now, Rand: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())), //nolint:gosec // spreads probes
		OnChange: func(changes []health.Change) { a.availability.Changed(changes) }, OnResult: a.metrics.probed,
		OnSelf: a.impaired, OnSight: a.sighted, OnParts: func(parts []health.Parts) { a.availability.Parted(parts) },
	})
	a.record.seq.Store(state.Seq)
	recent := a.recentEvents(ctx, w)
	noted, notes := a.leftVerdicts(ctx, &state)
	for i := range noted {
		noted[i].Seq = state.Seq + 1 // by which alone a state tells what it has
		state.Apply(noted[i])
	}
	a.availability = availability.New(availability.Options{
		Log: a.log, Now: a.o.Now, Stamp: a.clock.text, Ledger: a.record, Note: a.noting(), Save: a.saveNow,
	}, a.monitor, state, append(recent, noted...))
	if a.availability.Queue(noted); len(noted) > 0 {
		a.availability.Flush(ctx)
	}
	if a.before == nil {
		dropNotes(notes)
	}
	a.resume(w, state)
	// From the next event on: what was noted at the start is this server's own doing.
	last := a.record.seq.Load()
	if p := a.before; p != nil {
		last = min(last, max(p.Notified, 1)-1)
		a.monitor.Recall(p.Checks)
		if err := a.metrics.inherit(p.Counts); err != nil {
			a.log.Warn("counters begin at zero", "error", err)
		}
	}
	a.notifier = a.newNotifier(last)
	if err := a.recall(ctx, w, saved, left); err != nil {
		return err
	}
	a.recallTargets(ctx, w)
	lost := a.recallServed(ctx, w)
	a.publish(w)
	if a.unsaved && a.before == nil {
		a.saveNow() // or a crash would leave units that nobody knows to belong to this configuration
	}
	if err := a.checkAddresses(ctx, w, lost); err != nil {
		return err
	}
	return a.bind(w)
}

// build makes a world with what outlives worlds.
func (a *App) build(previous *World) (*World, error) {
	loadMemory()
	source := a.o.Source
	source.beside, source.names, source.roots = func(f func()) { f() }, a.names, a.roots
	if previous != nil {
		source.beside = behind // as all of a reload
	}
	w, err := source.build(previous, a.slots, a.numbering)
	if err != nil {
		return nil, err
	}
	w.said = newSaid(w.Config, w.Compiled, source.beside)
	w.Config.Registries = nil // see said
	w.availability = &availability.Configuration{
		Compiled: w.Compiled, Grace: w.Config.State.Grace, Sum: w.sum,
		Manual: func(registry int) bool { return w.said.registries[registry].manualFailback },
	}
	w.Compiled.Snapshot.Holds, w.Compiled.Snapshot.Wall = a.holds, &a.wall
	if t := w.Compiled.Transfers; t != nil {
		t.Share(&a.transfers, w.Config.Server.TCP.Transfers)
	}
	w.Compiled.Snapshot.Cookies, w.Compiled.Snapshot.Limits = a.cookies(w), a.limits(w)
	if a.given != nil {
		w.Compiled.Snapshot.Moves = a.given.moves
	}
	if previous != nil {
		w.Compiled.Snapshot.UnitSeed = previous.Compiled.Snapshot.UnitSeed
	}
	return w, nil
}

// countsSize is the memory for counts of responses in octets: room for about 200,000
// addresses.
const countsSize = 2 << 20

// limits is the rate limit of w, nil for none. Counts outlive worlds.
func (a *App) limits(w *World) *rrl.Limiter {
	c := w.Config.Server.RateLimit
	if !c.Enabled {
		return nil
	}
	p := rrl.Policy{Burst: uint32(c.Burst), Slip: uint32(c.Slip), Exempt: c.Exempt, DryRun: c.DryRun}
	p.Rates[rrl.Answer], p.Rates[rrl.Negative], p.Rates[rrl.Error] = uint32(c.Answers), uint32(c.Negatives), uint32(c.Errors)
	return rrl.New(p, a.counts)
}

// cookies are the keys of w: those of its file, or that of the process.
func (a *App) cookies(w *World) *wire.CookieKeys {
	if w.cookies != nil {
		return w.cookies
	}
	return &wire.CookieKeys{Active: a.secret, Enforce: w.Config.Server.Cookies.Enforce}
}

// recentEvents reads what the ledger tells of the last hour.
func (a *App) recentEvents(ctx context.Context, w *World) []ledger.Event {
	since := a.o.Now().Add(-decide.Keep*time.Second - availability.LongestGrace)
	events, err := a.record.lately(ctx, since)
	if err != nil {
		// Without them anything may have changed, and the start stands for all of it.
		a.log.WarnContext(ctx, "the ledger's last events are not readable; clients are held from now on", "error", err)
		w.Compiled.Snapshot.Swaps = append(w.Compiled.Snapshot.Swaps, uint32(a.started.Unix()))
	}
	return events
}

// openRecord opens the ledger of w's configuration, without which nothing is
// served: a drain that was forgotten would be worse.
func (a *App) openRecord(w *World) error {
	path := filepath.Join(w.Config.State.Dir, "ledger.db")
	open := func() (ledger.Store, error) { return ledger.Open(path, ledger.Options{Now: a.clock.wall}) }
	store, err := open()
	if err != nil {
		return err
	}
	a.record = &record{store: &gate{store: store, open: open}, clock: a.clock, log: a.log}
	return nil
}

// resume gives a first world what the ledger remembers: how long its endpoints
// have been down, serials that must not fall, and the seed that units go by.
func (a *App) resume(w *World, state ledger.State) {
	for i := range w.Compiled.Endpoints {
		e := &w.Compiled.Endpoints[i]
		h, ok := state.Health[e.Key]
		if !ok {
			continue
		}
		e.Resume = health.Resume{UpAt: h.UpAt, Flaps: h.Flaps, Passing: h.Passing}
		if h.Down != nil {
			e.Resume.DownAt = h.Down.DecidedAt // one that was only noted has no other time
		}
	}
	s := w.Compiled.Snapshot
	for i := range w.Config.Zones {
		if last := state.Serials[w.Config.Zones[i].Name]; s.Serials[i].Load() <= last {
			s.Serials[i].Store(last + 1)
		}
	}
	s.UnitSeed = rand.Uint64() //nolint:gosec // spoils guessing, guards no secret
	s.Moves = a.given.moves
	// A start with another configuration or other data than the last one is a change
	// that clients may have to be held through; one with the same is none.
	if state.Config == nil || state.Config.Detail != w.sum {
		s.Swaps = append(s.Swaps, uint32(a.started.Unix()))
		if a.before == nil {
			// Nobody writes behind the journal yet.
			_, _ = a.record.Append(context.Background(), ledger.Event{Kind: ledger.Config, By: "portolan", Why: "start", Detail: w.sum}) // known by the record
		} else {
			a.before.changed = true // noted once it is served
		}
	}
}

// Start begins to probe and to answer. Call it once.
func (a *App) Start() {
	a.differ() // first: from here on others read the snapshot
	ctx, cancel := context.WithCancel(context.Background())
	a.cancel = cancel
	a.background.Go(func() { a.monitor.Run(ctx) })
	a.background.Go(func() { a.availability.Run(ctx) })
	a.background.Go(func() { a.secondaries.Run(ctx) })
	a.background.Go(func() { a.clock.run(ctx) })
	a.background.Go(func() { a.given.run(ctx) })
	a.background.Go(func() { a.keepSaving(ctx) })
	a.background.Go(func() { a.watchFiles(ctx) })
	a.background.Go(func() { a.watchCertificates(ctx) })
	a.background.Go(func() { a.shares.run(ctx, a.slots.Len, func() []uint64 { return a.resolver.Totals().Answers }) })
	a.reloading.Lock()
	a.targets.start(ctx)
	a.notifier.Start(a.world.Load().targets())
	a.reloading.Unlock()
	a.admin.Start()
	if a.before != nil {
		// Not earlier: until here a failure leaves the old process serving.
		a.saveServed(ctx, a.world.Load())
	}
	a.server.Start()
	a.succeed(ctx)
	w := a.world.Load()
	a.warn(w)
	if addrs := a.server.AddrsTLS(); len(addrs) > 0 {
		a.log.Info("serving TLS", "addresses", addrs)
	}
	a.log.Info("serving", "addresses", a.server.Addrs(), "metrics", a.MetricsAddr(), "zones", len(w.Compiled.Snapshot.Names.Zones()),
		"registries", len(w.Compiled.Snapshot.Registries), "names", w.Compiled.Snapshot.Names.Names(),
		"location_data", w.Table.Source(), "data_built", w.Table.Built().UTC().Format(time.DateOnly))
}

// warn logs what the configuration of a world that is taken up allows but seldom means.
func (a *App) warn(w *World) {
	for _, warning := range w.Config.Warnings {
		a.log.Warn("configuration", "warning", warning.Error())
	}
}

// Stop answers what has been received, closes everything, and returns when all
// goroutines have ended or ctx is done.
func (a *App) Stop(ctx context.Context) error {
	a.end()
	a.reloading.Lock() // an upgrade gives up now, or is done
	stopped := a.stopped.Swap(true)
	a.reloading.Unlock()
	if stopped {
		return nil
	}
	if a.before != nil && a.cancel == nil {
		return a.giveUp()
	}
	err := a.server.Stop(ctx)
	if a.cancel != nil {
		a.cancel()
	}
	a.reloading.Lock()
	a.targets.stop()
	a.saveServedRest(ctx)
	a.reloading.Unlock()
	err = errors.Join(err, a.admin.Stop(ctx))
	a.background.Wait()
	a.availability.Flush(ctx)
	a.stopNotifier(ctx)
	saved := a.saveHolds(ctx)
	err = errors.Join(err, saved, a.closeShared(saved == nil), a.record.store.Close())
	a.log.InfoContext(ctx, "stopped")
	return err
}

// Addrs returns the addresses served, with the ports that were taken.
func (a *App) Addrs() []netip.AddrPort { return a.server.Addrs() }

// MetricsAddr returns the address of the metrics listener; "" for none.
func (a *App) MetricsAddr() string { return a.admin.MetricsAddr() }

// AdminAddr returns the address of the admin API for other machines; "" for none.
func (a *App) AdminAddr() string { return a.admin.RemoteAddr() }

// World returns what is being served.
func (a *App) World() *World { return a.world.Load() }
