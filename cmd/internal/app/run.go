package app

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"portolan.dev/cmd/internal/sandbox"
)

// stopTimeout bounds [App.Stop] when a signal asked for it.
const stopTimeout = 4 * time.Second

// Run serves until ctx ends or SIGTERM or SIGINT comes; SIGHUP reloads. A failed
// reload is logged and serving goes on.
//
// The two kinds of signal have channels of their own: a burst of SIGHUP, of which
// one reload serves all, must not push out the SIGTERM behind it.
func (a *App) Run(ctx context.Context) error {
	hup, term := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	signal.Notify(term, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(hup)
	defer signal.Stop(term)
	a.Start()
	for {
		select {
		case <-ctx.Done():
			return a.stopNow()
		case s := <-term:
			a.log.InfoContext(ctx, "stopping", "signal", s.String())
			return a.stopNow()
		case <-hup:
		}
		if _, err := a.Reload(ctx, false); err != nil {
			for _, line := range Lines(err) {
				a.log.ErrorContext(ctx, "reload failed; serving goes on unchanged", "error", line+sandbox.Hint(a.confined, line))
			}
		}
	}
}

func (a *App) stopNow() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	return a.Stop(ctx)
}
