package app

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"portolan.dev/cmd/internal/admin"
	"portolan.dev/cmd/internal/sandbox"
)

// stopTimeout bounds [App.Stop] when a signal asked for it.
const stopTimeout = 4 * time.Second

// Run serves until ctx ends or SIGTERM or SIGINT comes, or the next process serves;
// SIGHUP reloads, SIGUSR2 upgrades. What fails of these is logged and serving goes on. A
// service manager that wants to know is told of each of these, and that the server
// answers.
//
// The kinds of signal have channels of their own: a burst of SIGHUP, of which
// one reload serves all, must not push out the SIGTERM behind it.
func (a *App) Run(ctx context.Context) error {
	hup, usr2, term := make(chan os.Signal, 1), make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	notifyUpgrade(usr2)
	signal.Notify(term, syscall.SIGTERM, syscall.SIGINT)
	for _, c := range []chan os.Signal{hup, usr2, term} {
		defer signal.Stop(c)
	}
	roomForWorkers()
	if err := a.takeOver(ctx); err != nil {
		return errors.Join(err, a.stopNow())
	}
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
			err := a.stopNow()
			select {
			case next := <-a.successor: // it was quicker, and is meant, too
				return errors.Join(err, next.cmd.Process.Signal(s), a.leave(next, term))
			default:
				return err
			}
		case next := <-a.successor:
			return a.leave(next, term)
		case <-usr2:
			a.background.Go(func() { _, _ = a.Upgrade(ctx, admin.UpgradeRequest{}) }) // says itself what is wrong
			continue
		case <-hup:
			a.tell(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec())
		}
		if _, err := a.Reload(ctx, admin.ReloadRequest{}); err != nil {
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
