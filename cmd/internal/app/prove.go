package app

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/miekg/dns"

	"portolan.dev/resolver"
	"portolan.dev/resolver/server"
)

const (
	// askedZones is how many zones are asked for.
	askedZones = 64
	// askPatience is how long each answer may take.
	askPatience = 5 * time.Second
)

// proveItself asks for the SOA of the zones, over sockets of its own: those of the
// server are answered by the process before, too. Nothing of it is counted.
func (a *App) proveItself(ctx context.Context) error {
	snapshot := a.resolver.Snapshot()
	own := resolver.New(snapshot, a.secret)
	s, err := server.New(server.Options{
		Listen: []netip.AddrPort{netip.AddrPortFrom(loopbackOf(a.server.Addrs()[0].Addr()), 0)}, Workers: 1,
		Limits: server.Limits{Connections: 1, Idle: askPatience, Message: askPatience},
		UDP:    func() server.BatchAnswerer { return own.Worker(resolver.UDP).Batch() },
		TCP:    func() server.Answerer { return own.Worker(resolver.TCP) },
		Now:    time.Now, //nolint:forbidigo // for deadlines of the system
		Time:   a.o.Now, Panicked: a.panicked, Log: a.socketTrouble,
	})
	if err != nil {
		return err
	}
	defer func() { _ = s.Stop(ctx) }()
	s.Start()
	zones := snapshot.Names.Zones()
	for i, z := range zones[:min(len(zones), askedZones)] {
		apex, _, err := dns.UnpackDomainName(z.Apex, 0)
		if err != nil {
			return fmt.Errorf("zone %d: %w", i, err)
		}
		if err := askSOA(ctx, s.Addrs()[0].String(), apex); err != nil {
			return fmt.Errorf("zone %s: %w", apex, err)
		}
	}
	return nil
}

// askSOA asks for the SOA of a zone, over UDP for any answer, and over TCP, where
// neither cookies nor limits are in the way, for a right one.
func askSOA(ctx context.Context, addr, apex string) error {
	q := new(dns.Msg).SetQuestion(apex, dns.TypeSOA)
	for _, network := range []string{"udp", "tcp"} {
		r, _, err := (&dns.Client{Net: network, Timeout: askPatience}).ExchangeContext(ctx, q, addr)
		if err != nil {
			return fmt.Errorf("over %s: %w", network, err)
		}
		if network == "tcp" && (r.Rcode != dns.RcodeSuccess || !r.Authoritative || len(r.Answer) == 0) {
			return fmt.Errorf("over %s: %s without an authoritative answer", network, dns.RcodeToString[r.Rcode])
		}
	}
	return nil
}
