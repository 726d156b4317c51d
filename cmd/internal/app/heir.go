package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync/atomic"
	"time"

	"portolan.dev/cmd/internal/admin"
	"portolan.dev/cmd/internal/availability"
	"portolan.dev/cmd/internal/handover"
	"portolan.dev/cmd/internal/version"
	"portolan.dev/config/ledger"
	"portolan.dev/resolver/server"
)

// predecessor is the process that this one takes the place of.
type predecessor struct {
	hello
	heritage

	channel *handover.Channel
	ended   chan struct{} // closed when nothing more comes from it
	// quiet is when it answered for the last time, in Unix seconds; 0 as long as it may.
	quiet atomic.Int64
	// changed says that this process serves another configuration or other data.
	changed bool
}

// meet receives what the process before says first, and its sockets.
func meet(c *handover.Channel, sockets *handover.Sockets) (*predecessor, error) {
	p := &predecessor{channel: c, ended: make(chan struct{})}
	for {
		m, err := c.Receive(time.Now().Add(provePatience)) //nolint:forbidigo // a deadline of the system
		if err != nil {
			return nil, fmt.Errorf("the process before: %w", err)
		}
		switch m.Kind {
		case handover.Hello:
			err = m.Decode(&p.hello)
		case handover.Socket:
			var s socket
			if err = m.Decode(&s); err == nil && m.File != nil {
				err = sockets.Add(s.Use, m.File)
			} else {
				m.Close()
			}
		case handover.Begin:
			return p, nil
		default: // of a later version; what matters to both will be among the rest
			m.Close()
		}
		if err != nil {
			return nil, fmt.Errorf("the process before: %w", err)
		}
	}
}

// inherit waits for the ledger, once this process has loaded all it needs.
func (p *predecessor) inherit() error {
	if err := p.channel.Send(handover.Loaded, nil, nil); err != nil {
		return err
	}
	m, err := p.channel.Receive(time.Now().Add(provePatience)) //nolint:forbidigo // a deadline of the system
	if err != nil {
		return fmt.Errorf("the process before does not give the ledger: %w", err)
	}
	if m.Kind != handover.Ledger {
		m.Close()
		return fmt.Errorf("the process before said %q instead of %q", m.Kind, handover.Ledger)
	}
	return m.Decode(&p.heritage)
}

// fail tells the process before why this one cannot serve.
func (p *predecessor) fail(err error) {
	_ = p.channel.Send(handover.Failed, failure{err.Error(), errors.Is(err, admin.ErrRefused)}, nil) // it learns of the end in any case
	_ = p.channel.Close()
}

// gone reports whether there is none, or none any more.
func (p *predecessor) gone() bool {
	if p == nil {
		return true
	}
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// takeOver shows the process before that this one works, and returns when it may serve:
// also if the other one has ended meanwhile, for then nobody else does. After an error
// Stop belongs behind it.
func (a *App) takeOver(ctx context.Context) error {
	p := a.before
	if p == nil {
		return nil
	}
	if err := a.proveItself(ctx); err != nil {
		err = fmt.Errorf("ask itself before serving: %w", err)
		p.fail(err)
		return err
	}
	err := p.channel.Send(handover.Proved, proof{version.Version()}, nil)
	if err == nil {
		var m handover.Message
		m, err = p.channel.Receive(time.Now().Add(provePatience)) //nolint:forbidigo // a deadline of the system
		if m.Close(); err == nil && m.Kind != handover.Go {
			err = fmt.Errorf("the process before said %q instead of %q", m.Kind, handover.Go)
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		p.fail(err)
		return err
	}
	return nil
}

// giveUp lets go of everything without touching what is the other process's again.
func (a *App) giveUp() error {
	ctx := context.Background()
	return errors.Join(a.server.Stop(ctx), a.admin.Stop(ctx), a.closeShared(false), a.record.store.Close())
}

// differ notes in the snapshot, before it is served, that this process answers otherwise
// than the one before, which goes on for a moment: clients are held through the change.
func (a *App) differ() {
	if a.before == nil || !a.before.changed {
		return
	}
	s, now := a.resolver.Snapshot(), a.o.Now()
	s.Swaps = append(s.Swaps, uint32(now.Unix()), uint32(now.Add(availability.PublishedBy).Unix()))
	restamp(s, uint32(a.started.Unix()), uint32(now.Unix()))
}

// succeed begins to take what the process before sends. It belongs right behind the
// start of the sockets.
func (a *App) succeed(ctx context.Context) {
	p := a.before
	if p == nil {
		return
	}
	if a.shared != nil {
		if err := a.shared.Publish(a.resolver.Snapshot().UnitSeed); err != nil {
			a.log.WarnContext(ctx, "a kill may move clients that were active in the last seconds", "error", err)
		}
	}
	if p.changed {
		a.note(ledger.Config, a.world.Load().sum, "upgrade")
	}
	if a.unsaved {
		a.saveNow()
	}
	if err := p.channel.Send(handover.Serving, nil, nil); err != nil {
		a.log.WarnContext(ctx, "the process before has ended", "error", err)
	}
	go a.followBefore(ctx) // ends with the other process
}

// followBefore takes what the process before has left to give, until it ends.
func (a *App) followBefore(ctx context.Context) {
	p := a.before
	defer close(p.ended)
	settleMemory()
	for {
		m, err := p.channel.Receive(time.Time{})
		if err != nil {
			break
		}
		switch m.Kind {
		case handover.Connection:
			err = a.adopt(&m)
		case handover.Quiet:
			a.beforeIsQuiet()
		case handover.Counters:
			var h heritage
			if err = m.Decode(&h); err == nil {
				err = a.metrics.inherit(h.Counts)
			}
		default:
			m.Close()
		}
		if err != nil {
			a.log.WarnContext(ctx, "something of the process before is lost", "error", err)
		}
	}
	a.beforeIsQuiet()
	_ = p.channel.Close()
	a.log.InfoContext(ctx, "the process before has ended")
}

func (a *App) adopt(m *handover.Message) error {
	var s stream
	if err := m.Decode(&s); err != nil {
		m.Close()
		return err
	}
	from, err := netip.ParseAddrPort(s.From)
	if err != nil || m.File == nil {
		m.Close()
		return fmt.Errorf("a connection from %q without its socket: %w", s.From, err)
	}
	return a.server.Adopt(server.Connection{File: m.File, From: from, Received: s.Received, Served: s.Served})
}

// beforeIsQuiet takes up the units that the process before has met since the ledger
// was given, when it has answered its last query.
func (a *App) beforeIsQuiet() {
	p, now := a.before, a.o.Now()
	if !p.quiet.CompareAndSwap(0, now.Unix()) {
		return
	}
	state, err := a.record.state(context.Background())
	if err == nil {
		left, files := a.leftVerdicts(context.Background(), &state)
		a.availability.Inherit(left)
		dropNotes(files)
	}
	a.settleServed(context.Background())
	if a.shared == nil {
		return
	}
	defer a.shared.Forget()
	left, err := a.shared.Again()
	if err != nil || left.Seed != a.resolver.Snapshot().UnitSeed {
		return // the start could not use it either
	}
	a.mergeNew(left)
}
