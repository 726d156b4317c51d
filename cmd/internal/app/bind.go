package app

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"time"

	"portolan.dev/cmd/internal/admin"
	"portolan.dev/resolver"
	"portolan.dev/resolver/server"
)

// What is received together is answered together: neither size may exceed the other.
var _ = [1]struct{}{}[resolver.BatchSize-server.BatchSize]

// bind opens the sockets of the configuration.
func (a *App) bind(w *World) error {
	c := w.Config.Server
	a.workers = workersOf(w.Config)
	panicked := a.panicked
	if a.o.Crash {
		panicked = nil
	}
	a.certificate = new(certificate)
	a.certificate.current.Store(w.certificate)
	var err error
	a.server, err = server.New(server.Options{
		Listen: c.Listen, Workers: a.workers,
		Limits: server.Limits{
			Connections: c.TCP.Connections, PerPrefix: c.TCP.PerPrefix, Pipeline: c.TCP.Pipeline,
			Idle: c.TCP.Idle, Message: c.TCP.Message, Handshake: c.TCP.Handshake,
		},
		ListenTLS: c.TLS.Listen, TLS: a.certificate.config("dot"), ProxyFrom: c.ProxyFrom,
		UDP:         func() server.BatchAnswerer { return a.resolver.Worker(resolver.UDP).Batch() },
		TCP:         func() server.Answerer { return a.resolver.Worker(resolver.TCP) },
		TLSAnswerer: func() server.Answerer { return a.resolver.Worker(resolver.TLS) },
		Now:         time.Now, //nolint:forbidigo // for deadlines of the system
		Time:        a.o.Now, Idle: a.resolver.SetKeepalive, Panicked: panicked,
		Log:         a.socketTrouble,
		Inherit:     a.inheritSockets,
		InheritKept: a.kept,
	})
	if err != nil {
		return err
	}
	a.remote = newRemote(w.remote)
	a.admin, err = admin.New(admin.Options{
		Socket: w.Config.Admin.Socket, Metrics: w.Config.Admin.Metrics, Remote: a.remote.options(w.Config.Admin.TCP.Listen),
		Gatherer: a.metrics, API: a, Log: a.log, Inherit: a.o.Sockets.Take, AcceptFailed: a.adminTrouble,
	})
	if err != nil {
		return errors.Join(err, a.server.Stop(context.Background()))
	}
	a.shareDescriptors(w)
	return nil
}

// inheritSockets returns the sockets that are open already for an address, and notes an
// address that a service manager should have opened and has not.
func (a *App) inheritSockets(u server.Use, addr netip.AddrPort) []*os.File {
	files := a.o.Sockets.Take(string(u), addr.String())
	if len(files) == 0 && a.kept {
		a.unkept = append(a.unkept, string(u)+" "+addr.String())
	}
	return files
}

// dismiss closes the sockets that nobody serves, and says which addresses are without.
func (a *App) dismiss() {
	if len(a.unkept) > 0 {
		a.log.Warn("addresses of the configuration are not among the sockets of the service manager; their queries are lost while the server restarts", "addresses", a.unkept)
	}
	if left := a.o.Sockets.Close(); len(left) > 0 {
		a.log.Warn("sockets that were open at the start are not in the configuration and are closed", "sockets", left)
	}
}
