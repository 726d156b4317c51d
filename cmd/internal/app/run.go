package app

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// stopTimeout bounds [App.Stop] when a signal asked for it.
const stopTimeout = 4 * time.Second

// Run serves until ctx ends or SIGTERM or SIGINT comes; SIGHUP reloads. A failed
// reload is logged and serving goes on.
func (a *App) Run(ctx context.Context) error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)
	a.Start()
	for {
		select {
		case <-ctx.Done():
			return a.stopNow()
		case s := <-signals:
			if s != syscall.SIGHUP {
				a.log.InfoContext(ctx, "stopping", "signal", s.String())
				return a.stopNow()
			}
			if _, err := a.Reload(ctx, false); err != nil {
				for _, line := range Lines(err) {
					a.log.ErrorContext(ctx, "reload failed; serving goes on unchanged", "error", line)
				}
			}
		}
	}
}

func (a *App) stopNow() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	return a.Stop(ctx)
}
