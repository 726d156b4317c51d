package app

import (
	"context"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"portolan.dev/cmd/internal/sandbox"
)

// stopTimeout bounds [App.Stop] when a signal asked for it.
const stopTimeout = 4 * time.Second

// Run serves until ctx ends or SIGTERM or SIGINT comes; SIGHUP reloads. A failed
// reload is logged and serving goes on. A service manager that wants to know is told
// of each of these, and that the server answers.
//
// The two kinds of signal have channels of their own: a burst of SIGHUP, of which
// one reload serves all, must not push out the SIGTERM behind it.
func (a *App) Run(ctx context.Context) error {
	hup, term := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	signal.Notify(term, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(hup)
	defer signal.Stop(term)
	roomForWorkers()
	a.Start()
	watched, unwatch := context.WithCancel(ctx)
	defer unwatch()
	go a.watch(watched) // ends with the return
	for {
		a.tell(daemon.SdNotifyReady)
		select {
		case <-ctx.Done():
			return a.stopNow()
		case s := <-term:
			a.log.InfoContext(ctx, "stopping", "signal", s.String())
			return a.stopNow()
		case <-hup:
			a.tell(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec())
		}
		if _, err := a.Reload(ctx, false); err != nil {
			for _, line := range Lines(err) {
				a.log.ErrorContext(ctx, "reload failed; serving goes on unchanged", "error", line+sandbox.Hint(a.confined, line))
			}
		}
	}
}

// roomForWorkers lets the runtime run as many threads again as there are cores. A
// worker that comes back from waiting for datagrams would otherwise queue behind
// whatever else runs, ten milliseconds a time; like this it is for the kernel to
// say who runs, and that prefers workers. GOMAXPROCS in the environment goes first.
func roomForWorkers() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(2 * runtime.GOMAXPROCS(0))
	}
}

func (a *App) stopNow() error {
	a.tell(daemon.SdNotifyStopping)
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	return a.Stop(ctx)
}
