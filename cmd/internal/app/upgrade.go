package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"portolan.dev/cmd/internal/admin"
	"portolan.dev/cmd/internal/handover"
	"portolan.dev/cmd/internal/sandbox"
	"portolan.dev/cmd/internal/version"
	"portolan.dev/health"
	"portolan.dev/resolver/server"
	"portolan.dev/resolver/wire"
)

const (
	// loadPatience is how long the next process may take to load, provePatience how
	// long it may then keep this one from deciding anything.
	loadPatience  = 3 * time.Minute
	provePatience = 30 * time.Second
	// leavePatience bounds how long this process stays for connections that it cannot
	// pass on.
	leavePatience = 10 * time.Second
)

// hello is what the next process is told of this one.
type hello struct {
	Version string            `json:"version"`
	Sandbox sandbox.Status    `json:"sandbox"`
	Secret  wire.CookieSecret `json:"secret"`
	// Kept says that a service manager has opened the sockets and keeps them open.
	Kept bool `json:"kept,omitempty"`
	// Force lets the next process serve even if active clients lose addresses by it.
	Force bool `json:"force,omitempty"`
}

// socket says what a socket that comes with the message serves.
type socket struct {
	Use string `json:"use"`
}

// heritage comes with the ledger: what is not in it and should outlive the process.
type heritage struct {
	Checks []health.CheckRecord `json:"checks"`
	// Notified is the first event that receivers have not been sent.
	Notified uint64 `json:"notified"`
	Counts   []byte `json:"counts"`
}

// proof is what the next process says of itself once it works.
type proof struct {
	Version string `json:"version"`
}

// stream is a connection that comes with the message.
type stream struct {
	From     string `json:"from"`
	Received []byte `json:"received,omitempty"`
	Served   int    `json:"served"`
}

// failure is why the next process cannot serve.
type failure struct {
	Error string `json:"error"`
	// Refused says that it could, and does not because of the clients.
	Refused bool `json:"refused,omitempty"`
}

// successor is the next process, as this one sees it.
type successor struct {
	channel *handover.Channel
	cmd     *exec.Cmd
	ended   chan struct{} // closed when it has
	version string
}

// Upgrade implements [admin.API]: it starts the program on disk with the arguments of
// this process, has it load, restore and prove itself, and gives it the sockets, the
// ledger, and what there is besides. Until the other one serves this one does; and
// goes on if anything fails. After it [App.Run] returns once the last connection is done.
func (a *App) Upgrade(ctx context.Context, r admin.UpgradeRequest) (admin.UpgradeReport, error) {
	begin := a.o.Now()
	next, frozen, err := a.upgrade(ctx, r.Force)
	if err != nil {
		err = fmt.Errorf("upgrade: %w%s", err, a.hint(err))
		a.log.ErrorContext(ctx, "upgrade failed; serving goes on unchanged", "error", err)
		return admin.UpgradeReport{}, err
	}
	took := a.o.Now().Sub(begin)
	a.log.InfoContext(ctx, "upgraded", "from", version.Version(), "to", next.version, "pid", next.cmd.Process.Pid,
		"took", took.Round(time.Millisecond), "frozen", frozen.Round(time.Millisecond))
	a.successor <- next
	return admin.UpgradeReport{
		From: version.Version(), To: next.version, PID: next.cmd.Process.Pid, Millis: took.Milliseconds(), Frozen: frozen.Milliseconds(),
	}, nil
}

func (a *App) upgrade(ctx context.Context, force bool) (_ *successor, frozen time.Duration, err error) {
	if os.Getpid() == 1 {
		return nil, 0, fmt.Errorf("%w: with process 1 its container ends: start a new container instead", admin.ErrRefused)
	}
	// No reload meanwhile: the next process reads the configuration, too.
	a.reloading.Lock()
	defer a.reloading.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(a.ending, cancel)()
	if a.stopped.Load() {
		return nil, 0, fmt.Errorf("%w: the server stops, or another process serves already", admin.ErrRefused)
	}
	if !a.before.gone() {
		return nil, 0, fmt.Errorf("%w: the process before this one still has connections: try again in %v", admin.ErrRefused, leavePatience)
	}
	next, err := a.startNext()
	if err != nil {
		return nil, 0, err
	}
	defer func() {
		if err != nil {
			next.kill()
		}
	}()
	if err := a.introduce(next, force); err != nil {
		return nil, 0, err
	}
	if _, err := next.await(ctx, handover.Loaded, loadPatience); err != nil {
		return nil, 0, err
	}
	patience, end := context.WithTimeout(ctx, provePatience)
	defer end()
	defer a.availability.Pause(patience)()
	begin := a.o.Now()
	err = a.handOver(ctx, next)
	return next, a.o.Now().Sub(begin), err
}

// startNext starts the program on disk, connected to this process.
func (a *App) startNext() (*successor, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	channel, other, err := handover.Pair()
	if err != nil {
		return nil, err
	}
	defer other.Close()
	cmd := exec.Command(self, os.Args[1:]...) //nolint:noctx,gosec // it outlives this process, and is this very program
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = os.Stdout, os.Stderr, []*os.File{other}
	cmd.Env = append(slices.DeleteFunc(os.Environ(), ofThisProcess), handover.Variable+"=3")
	if err := cmd.Start(); err != nil {
		if errors.Is(err, fs.ErrPermission) && strings.HasPrefix(string(a.confined), "on:") {
			err = fmt.Errorf("%w: the sandbox starts no program that is linked dynamically: build it with CGO_ENABLED=0, or set server.sandbox to false", err)
		}
		return nil, errors.Join(fmt.Errorf("start the program on disk: %w", err), channel.Close())
	}
	next := &successor{channel: channel, cmd: cmd, ended: make(chan struct{})}
	go func() { // ends with the other process, or with this one
		_ = cmd.Wait()
		close(next.ended)
	}()
	return next, nil
}

// ofThisProcess says which variables of the environment are about this process and no
// other: the watchdog's and the sockets' of a service manager.
func ofThisProcess(variable string) bool {
	name, _, _ := strings.Cut(variable, "=")
	return slices.Contains([]string{"WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", handover.Variable}, name)
}

// introduce sends the next process what it needs to know before it loads, and all
// sockets.
func (a *App) introduce(next *successor, force bool) error {
	if err := next.say(handover.Hello, hello{version.Version(), a.confined, a.secret, a.kept, force}, nil); err != nil {
		return err
	}
	sockets, err := a.server.Sockets()
	if err != nil {
		return err
	}
	give := func(use string, f *os.File) error {
		defer f.Close()
		return next.say(handover.Socket, socket{use}, f)
	}
	for i, s := range sockets {
		if err := give(string(s.Use), s.File); err != nil {
			for _, left := range sockets[i+1:] {
				_ = left.File.Close()
			}
			return err
		}
	}
	for use, l := range a.admin.Listeners() {
		f, err := server.Descriptor(l)
		if err != nil {
			return fmt.Errorf("%s: %w", use, err)
		}
		if err := give(use, f); err != nil {
			return err
		}
	}
	return next.say(handover.Begin, nil, nil)
}

// handOver gives the ledger away and waits for the next process to serve. If that
// fails it takes the ledger back.
func (a *App) handOver(ctx context.Context, next *successor) (err error) {
	if err := a.saveHolds(ctx); err != nil {
		return err
	}
	a.saveServedRest(ctx)
	if a.shared != nil {
		if err := a.shared.Lend(); err != nil {
			return err
		}
	}
	err = a.record.store.shut()
	defer func() {
		if err == nil {
			a.stopped.Store(true)
			a.cancel() // probes, schedules, saving: the other's
			a.record.store.leave()
			return
		}
		next.kill() // first: it may have the file open
		if back := a.record.store.reopen(); back != nil {
			err = errors.Join(err, fmt.Errorf("and nothing can be decided any more, restart the server: %w", back))
		}
		if a.shared != nil {
			err = errors.Join(err, a.shared.Back())
		}
		a.caches.forget() // the other one may have saved what it was about to serve
		a.saveServed(context.WithoutCancel(ctx), a.world.Load())
	}()
	if err != nil {
		return err
	}
	counts, err := a.metrics.counts()
	if err != nil {
		return err
	}
	if err := next.say(handover.Ledger, heritage{a.monitor.Records(), a.notifier.Next(), counts}, nil); err != nil {
		return err
	}
	m, err := next.await(ctx, handover.Proved, provePatience)
	if err != nil {
		return err
	}
	var p proof
	if err := m.Decode(&p); err != nil {
		return err
	}
	next.version = p.Version
	if err := next.say(handover.Go, nil, nil); err != nil {
		return err
	}
	_, err = next.await(ctx, handover.Serving, provePatience)
	return err
}

// say sends a message. That nobody is there to read it is no error here: what the next
// process said last, or that it has ended, comes out when its answer is awaited.
func (s *successor) say(k handover.Kind, body any, f *os.File) error {
	if err := s.channel.Send(k, body, f); err != nil && !errors.Is(err, syscall.EPIPE) {
		return err
	}
	return nil
}

// await waits for a message of the next process.
func (s *successor) await(ctx context.Context, k handover.Kind, patience time.Duration) (handover.Message, error) {
	defer context.AfterFunc(ctx, s.kill)()
	m, err := s.channel.Receive(time.Now().Add(patience)) //nolint:forbidigo // a deadline of the system
	switch {
	case err == nil && m.Kind == k:
		return m, nil
	case err == nil && m.Kind == handover.Failed:
		var f failure
		if err := m.Decode(&f); err != nil {
			return m, err
		}
		err := fmt.Errorf("the next process: %s", f.Error)
		if f.Refused {
			err = refusal{err, admin.ErrRefused}
		}
		return m, err
	case err == nil:
		m.Close()
		return m, fmt.Errorf("the next process said %q instead of %q", m.Kind, k)
	case ctx.Err() != nil:
		return m, ctx.Err()
	case errors.Is(err, io.EOF):
		return m, errors.New("the next process has ended; its last words are in the log")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return m, fmt.Errorf("the next process did not say %q within %v", k, patience)
	}
	return m, err
}

// kill ends the next process and waits until it has.
func (s *successor) kill() {
	_ = s.cmd.Process.Kill()
	<-s.ended
	_ = s.channel.Close()
}
