package app

import (
	"context"
	"errors"
	"fmt"
	"os"

	"portolan.dev/cmd/internal/handover"
	"portolan.dev/resolver/server"
)

// leave ends this process for the next one, which serves already: it passes its
// connections on, waits a while for those that cannot be, unless hurry ends that, and
// lets go of everything without touching what is the other's now.
func (a *App) leave(next *successor, hurry <-chan os.Signal) error {
	a.tell(fmt.Sprintf("MAINPID=%d", next.cmd.Process.Pid))
	ctx, cancel := context.WithTimeout(context.Background(), leavePatience)
	defer cancel()
	go func() { // ends with ctx
		select {
		case <-hurry:
			cancel()
		case <-ctx.Done():
		}
	}()
	// Operators and scrapers are the other's at once: here nothing can be decided any
	// more. What they have asked already is answered.
	a.admin.Leave()
	asked := make(chan error, 1)
	go func() { asked <- a.admin.Stop(ctx) }() // ends with ctx at the latest
	err := a.server.Retire(ctx, func() { next.quiet(a) }, next.adopt)
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		a.log.Info("connections that cannot be passed on are closed", "reason", err)
		err = nil
	}
	last, cancelLast := context.WithTimeout(context.Background(), stopTimeout)
	defer cancelLast()
	err = errors.Join(err, a.server.Stop(last))
	a.targets.stop()
	err = errors.Join(err, <-asked)
	a.background.Wait()
	a.stopNotifier(last)
	err = errors.Join(err, next.tellCounts(a), a.closeShared(false), next.channel.Close())
	a.log.Info("left to the next process", "pid", next.cmd.Process.Pid)
	return err
}

// adopt passes a connection on.
func (s *successor) adopt(c server.Connection) error {
	defer c.File.Close()
	return s.channel.Send(handover.Connection, stream{c.From.String(), c.Received, c.Served}, c.File)
}

// quiet tells that no datagram is answered here any more.
func (s *successor) quiet(a *App) {
	if err := errors.Join(s.channel.Send(handover.Quiet, nil, nil), s.tellCounts(a)); err != nil {
		a.log.Warn("the next process does not learn that this one is quiet", "error", err)
	}
}

// tellCounts tells what has been counted until now.
func (s *successor) tellCounts(a *App) error {
	counts, err := a.metrics.counts()
	if err != nil {
		return err
	}
	return s.channel.Send(handover.Counters, heritage{Counts: counts}, nil)
}
