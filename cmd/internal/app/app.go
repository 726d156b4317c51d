package app

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"portolan.dev/cmd/internal/admin"
	"portolan.dev/health"
	"portolan.dev/resolver"
	"portolan.dev/resolver/compile"
	"portolan.dev/resolver/server"
	"portolan.dev/resolver/wire"
)

// Options are what a server is made from.
type Options struct {
	Source
	Log *slog.Logger
	// Resolvers are asked for the addresses of target host names, as "ip:port";
	// empty means those of the system.
	Resolvers []string
}

// App is a server from configuration to sockets. Make one with [New].
type App struct {
	o     Options
	log   *slog.Logger
	slots *compile.Slots

	// Long-lived: made by New, ended by Stop.
	resolver     *resolver.Resolver
	monitor      *health.Monitor
	availability *availability
	server       *server.Server
	admin        *admin.Server
	metrics      *metrics
	background   sync.WaitGroup
	cancel       context.CancelFunc // ends monitor and targets
	stopped      atomic.Bool
	started      time.Time

	// Swapped on every reload.
	reloading sync.Mutex // one reload at a time; guards targets
	world     atomic.Pointer[World]
	targets   *targets
}

// New loads, compiles and binds: after it, nothing that can fail is left to do.
// The sockets are open but unread until [App.Start]. On error nothing stays open.
func New(o Options) (*App, error) {
	a := &App{o: o, log: o.Log, slots: compile.NewSlots(), started: o.Now()}
	w, err := o.Build(nil, a.slots)
	if err != nil {
		return nil, err
	}
	var secret wire.CookieSecret
	if _, err := crand.Read(secret[:]); err != nil {
		return nil, fmt.Errorf("draw a cookie secret: %w", err)
	}
	a.resolver = resolver.New(w.Compiled.Snapshot, secret)
	a.metrics = newMetrics(a)
	a.availability = &availability{log: a.log, now: o.Now}
	a.monitor = health.NewMonitor(health.Options{
		Now: o.Now, Rand: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())), //nolint:gosec // spreads probes
		OnChange: a.availability.changed, OnResult: a.metrics.probed,
	})
	a.availability.monitor = a.monitor
	a.publish(w)
	if err := a.bind(w); err != nil {
		return nil, err
	}
	// What loading left behind is given back now; the arrays that stay are few and
	// large, and from here on next to nothing is allocated.
	debug.FreeOSMemory()
	return a, nil
}

// bind opens the sockets of the configuration.
func (a *App) bind(w *World) error {
	c := w.Config.Server
	workers := c.Workers
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	var err error
	a.server, err = server.New(server.Options{
		Listen: c.Listen, Workers: workers,
		Limits: server.Limits{
			Connections: c.TCP.Connections, PerPrefix: c.TCP.PerPrefix, Pipeline: c.TCP.Pipeline,
			Idle: c.TCP.Idle, Message: c.TCP.Message,
		},
		UDP: func() server.Answerer { return a.resolver.Worker(false) },
		TCP: func() server.Answerer { return a.resolver.Worker(true) },
		Now: a.o.Now,
		Log: func(msg string, err error) { a.log.Warn("a socket is in trouble", "trouble", msg, "error", err) },
	})
	if err != nil {
		return err
	}
	a.admin, err = admin.New(admin.Options{
		Socket: w.Config.Admin.Socket, Metrics: w.Config.Admin.Metrics,
		Gatherer: a.metrics.registry, API: a, Log: a.log,
	})
	if err != nil {
		return errors.Join(err, a.server.Stop(context.Background()))
	}
	return nil
}

// Start begins to probe and to answer. Call it once.
func (a *App) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	a.cancel = cancel
	a.background.Go(func() { a.monitor.Run(ctx) })
	a.reloading.Lock()
	a.targets.start(ctx)
	a.reloading.Unlock()
	a.admin.Start()
	a.server.Start()
	w := a.world.Load()
	for _, warning := range w.Config.Warnings {
		a.log.Warn("configuration", "warning", warning.Error())
	}
	a.log.Info("serving", "addresses", a.server.Addrs(), "metrics", a.MetricsAddr(), "zones", len(w.Compiled.Snapshot.Names.Zones()),
		"registries", len(w.Compiled.Snapshot.Registries), "names", w.Compiled.Snapshot.Names.Names(),
		"location_data", w.Table.Source(), "data_built", w.Table.Built().UTC().Format(time.DateOnly))
}

// Stop answers what has been received, closes everything, and returns when all
// goroutines have ended or ctx is done.
func (a *App) Stop(ctx context.Context) error {
	if a.stopped.Swap(true) {
		return nil
	}
	err := a.server.Stop(ctx)
	if a.cancel != nil {
		a.cancel()
	}
	a.reloading.Lock()
	a.targets.stop()
	a.reloading.Unlock()
	err = errors.Join(err, a.admin.Stop(ctx))
	a.background.Wait()
	a.log.InfoContext(ctx, "stopped")
	return err
}

// Addrs returns the addresses served, with the ports that were taken.
func (a *App) Addrs() []netip.AddrPort { return a.server.Addrs() }

// MetricsAddr returns the address of the metrics listener; "" for none.
func (a *App) MetricsAddr() string { return a.admin.MetricsAddr() }

// World returns what is being served.
func (a *App) World() *World { return a.world.Load() }
