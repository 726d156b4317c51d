package app

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"

	"portolan.dev/resolver"
	"portolan.dev/resolver/compile"
)

const (
	// minTargetWait keeps a target with a tiny TTL from costing a query a second;
	// load balancers of public clouds use 60.
	minTargetWait = 5 * time.Second
	// maxTargetWait bounds how long an address is trusted whatever its TTL says.
	maxTargetWait = 5 * time.Minute
	// retryTarget is the pause after a failure. The last good addresses are served
	// meanwhile.
	retryTarget = 5 * time.Second
	// targetTimeout bounds one exchange with a resolver.
	targetTimeout = 3 * time.Second
)

// targets keeps the addresses of target host names fresh, one goroutine each,
// for the world it was made for. Names are few: only registries at an apex, or
// with `answer: address`, need them.
type targets struct {
	a      *App
	w      *World
	cancel context.CancelFunc
	wg     sync.WaitGroup
	// changed wakes the saving of addresses.
	changed chan struct{}
	// unsaved is that the last saving failed; owned by the goroutine that saves.
	unsaved bool
}

func newTargets(a *App, w *World) *targets {
	return &targets{a: a, w: w, changed: make(chan struct{}, 1)}
}

// start begins to resolve; stop ends it.
func (t *targets) start(ctx context.Context) {
	ctx, t.cancel = context.WithCancel(ctx)
	t.wg.Go(func() { t.keep(ctx) })
	for _, target := range t.w.Compiled.Targets {
		t.wg.Go(func() { t.follow(ctx, target) })
	}
}

func (t *targets) stop() {
	if t.cancel == nil {
		return
	}
	t.cancel()
	t.wg.Wait()
	t.save(context.Background())
}

// follow resolves one target again and again until ctx ends.
func (t *targets) follow(ctx context.Context, target compile.Target) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var failing bool
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		wait, err := t.resolve(ctx, target)
		if err != nil && ctx.Err() == nil && !failing {
			t.a.log.WarnContext(ctx, "a target does not resolve; its last good addresses stay", "target", target.Host, "error", err)
		}
		if err == nil && failing {
			t.a.log.InfoContext(ctx, "a target resolves again", "target", target.Host)
		}
		failing = err != nil
		timer.Reset(wait)
	}
}

// resolve looks a target up once, publishes what it finds, and says when to look
// again.
func (t *targets) resolve(ctx context.Context, target compile.Target) (time.Duration, error) {
	servers, err := t.a.resolvers()
	if err != nil {
		return retryTarget, err
	}
	var addrs []netip.Addr
	ttl := uint32(math.MaxUint32)
	for _, qtype := range families(target) {
		found, least, err := lookup(ctx, servers, target.Host, qtype)
		if err != nil {
			return retryTarget, err
		}
		addrs = append(addrs, found...)
		ttl = min(ttl, least)
	}
	if len(addrs) == 0 {
		return retryTarget, fmt.Errorf("%s has no addresses", target.Host)
	}
	wait := min(max(time.Duration(ttl)*time.Second, minTargetWait), maxTargetWait)
	// In one order, whatever order the resolver rotated them to: a change of
	// order is no change of what is served.
	slices.SortFunc(addrs, netip.Addr.Compare)
	now := t.a.o.Now()
	packed := compile.PackAddresses(target, slices.Compact(addrs), now, now.Add(wait))
	before := t.w.Compiled.Snapshot.Resolved[target.Resolved].Swap(packed)
	t.a.availability.Resolved(t.w.availability, target.Member)
	t.warnFamilies(ctx, target, before, packed)
	moved := before == nil || !slices.Equal(before.From, packed.From)
	if before != nil && moved {
		t.a.availability.Readdressed(t.w.availability, target.Member)
	}
	if moved {
		select {
		case t.changed <- struct{}{}:
		default: // will be saved with what changed before
		}
	}
	return wait, nil
}

// warnFamilies says once when a target lacks a family that its registry serves. Its
// clients are told "no such type" then, and resolvers share that with the clients of
// the other replicas whatever its scope (RFC 7871 section 7.4).
func (t *targets) warnFamilies(ctx context.Context, target compile.Target, before, now *resolver.Addresses) {
	lacks := func(a *resolver.Addresses) bool {
		return target.IPv4 && a.IPv4Count == 0 || target.IPv6 && a.IPv6Count == 0
	}
	if lacks(now) && (before == nil || !lacks(before) || before.Until.IsZero()) {
		t.a.log.WarnContext(ctx, "a target lacks an address family that its registry serves; caches may tell clients of other replicas so, too",
			"target", target.Host, "registry", t.w.Compiled.Snapshot.Registries[target.Registry].Key)
	}
}

func families(t compile.Target) []uint16 {
	var types []uint16
	if t.IPv4 {
		types = append(types, dns.TypeA)
	}
	if t.IPv6 {
		types = append(types, dns.TypeAAAA)
	}
	return types
}

// lookup asks the servers in turn until one answers, and returns the addresses of
// one family at the end of the CNAME chain, with the least TTL on the way.
func lookup(ctx context.Context, servers []string, host string, qtype uint16) ([]netip.Addr, uint32, error) {
	q := new(dns.Msg)
	q.SetQuestion(host, qtype)
	q.SetEdns0(1232, false)
	client, stream := dns.Client{Timeout: targetTimeout}, dns.Client{Timeout: targetTimeout, Net: "tcp"}
	err := errors.New("no resolver is configured: name one in /etc/resolv.conf")
	for _, server := range servers {
		var in *dns.Msg
		if in, _, err = client.ExchangeContext(ctx, q, server); err == nil && in.Truncated {
			in, _, err = stream.ExchangeContext(ctx, q, server)
		}
		if err != nil {
			continue
		}
		if in.Rcode != dns.RcodeSuccess {
			err = fmt.Errorf("%s %s at %s: %s", host, dns.TypeToString[qtype], server, dns.RcodeToString[in.Rcode])
			continue
		}
		addrs, ttl := addressesIn(in)
		return addrs, ttl, nil
	}
	return nil, 0, err
}

func addressesIn(in *dns.Msg) (addrs []netip.Addr, ttl uint32) {
	ttl = math.MaxUint32
	for _, rr := range in.Answer {
		ttl = min(ttl, rr.Header().Ttl)
		switch rr := rr.(type) {
		case *dns.A:
			if a, ok := netip.AddrFromSlice(rr.A.To4()); ok {
				addrs = append(addrs, a)
			}
		case *dns.AAAA:
			if a, ok := netip.AddrFromSlice(rr.AAAA); ok {
				addrs = append(addrs, a.Unmap())
			}
		}
	}
	return addrs, ttl
}

// resolvers returns whom to ask, read anew each time: the system's list changes
// under long-running programs.
func (a *App) resolvers() ([]string, error) {
	if len(a.o.Resolvers) > 0 {
		return a.o.Resolvers, nil
	}
	c, err := dns.ClientConfigFromFile("/etc/resolv.conf")
	if err != nil {
		return nil, err
	}
	servers := make([]string, len(c.Servers))
	for i, s := range c.Servers {
		servers[i] = net.JoinHostPort(s, c.Port)
	}
	return servers, nil
}

// carryAddresses keeps the addresses of targets that the next world has too: a reload
// must not wait for a resolver. It returns the replicas of next without any; those of a
// first world have what was saved.
func carryAddresses(old, next *World) (unresolved []compile.Member) {
	known := make(map[string]*compile.Target)
	if old != nil {
		for i := range old.Compiled.Targets {
			known[targetKey(old, &old.Compiled.Targets[i])] = &old.Compiled.Targets[i]
		}
	}
	for i := range next.Compiled.Targets {
		t := &next.Compiled.Targets[i]
		if was := known[targetKey(next, t)]; was != nil {
			if a := old.Compiled.Snapshot.Resolved[was.Resolved].Load(); a != nil {
				keepAddresses(next, t, compile.PackAddresses(*t, a.From, a.At, a.Until))
			}
		}
		if next.Compiled.Snapshot.Resolved[t.Resolved].Load() == nil {
			unresolved = append(unresolved, t.Member)
		}
	}
	return unresolved
}

func targetKey(w *World, t *compile.Target) string {
	s := w.Compiled.Snapshot
	return s.Registries[t.Registry].Name + " " + s.Regions[t.Region].Name + " " + t.Host
}
