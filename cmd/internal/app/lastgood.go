package app

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"portolan.dev/cmd/internal/admin"
	"portolan.dev/config/ledger"
	"portolan.dev/resolver"
	"portolan.dev/resolver/compile"
)

const (
	// maxStandstill is how long a server may have stood still and still serve, at its
	// start, the addresses that targets had: the most that RFC 8767 (section 5) lets
	// stale data live. What counts is when they were last served, not when they
	// resolved: while a server runs its last good addresses stay however long
	// resolving fails, and a restart must not be what drops them.
	maxStandstill = 3 * 24 * time.Hour
	// saveTargetsEvery is how exactly the end of serving is known after a crash.
	saveTargetsEvery = 10 * time.Minute
	// saveTargetsPause keeps thousands of targets that resolve one after the other, as
	// at the first start, from being saved one by one.
	saveTargetsPause = time.Second
	// maxSavedNames bounds what is saved.
	maxSavedNames = 100_000
)

// recallTargets gives the targets of a first world the addresses that they had in an
// earlier process. They count as stale until they are resolved anew.
func (a *App) recallTargets(ctx context.Context, w *World) {
	saved, at, err := a.record.store.Targets(ctx)
	if err != nil {
		a.log.WarnContext(ctx, "the saved addresses of targets are not usable; their replicas are answered once they resolve", "error", err)
		return
	}
	if len(saved) == 0 {
		return
	}
	if a.clock.wall().Sub(at) > maxStandstill {
		a.log.WarnContext(ctx, "the saved addresses of targets are too old; their replicas are answered once they resolve", "last_served", at)
		return
	}
	for _, s := range saved { // probes dial them, too, while the resolver of this machine fails
		a.names.Recall(trimDot(s.Host), s.Addresses, s.ResolvedAt)
	}
	if len(w.Compiled.Targets) == 0 {
		return
	}
	known := make(map[string][]ledger.Target)
	for _, s := range saved {
		known[s.Host] = append(known[s.Host], s)
	}
	n := 0
	for i := range w.Compiled.Targets {
		t := &w.Compiled.Targets[i]
		for _, s := range known[t.Host] {
			keepAddresses(w, t, compile.PackAddresses(*t, s.Addresses, s.ResolvedAt, time.Time{}))
		}
		if w.Compiled.Snapshot.Resolved[t.Resolved].Load() != nil {
			n++
		}
	}
	a.log.InfoContext(ctx, "replicas with a target have the addresses that were served last until it resolves", "replicas", n, "last_served", at)
}

// keepAddresses makes earlier addresses those of a target, unless there are none of a
// family it serves, or better ones are there already.
func keepAddresses(w *World, t *compile.Target, a *resolver.Addresses) {
	place := &w.Compiled.Snapshot.Resolved[t.Resolved]
	if now := place.Load(); len(a.From) > 0 && (now == nil || better(a, now)) {
		place.Store(a)
	}
}

// better prefers addresses of more families, then those resolved later: one host may
// be the target of registries that serve different families.
func better(a, b *resolver.Addresses) bool {
	served := func(a *resolver.Addresses) int { return min(int(a.IPv4Count), 1) + min(int(a.IPv6Count), 1) }
	if served(a) != served(b) {
		return served(a) > served(b)
	}
	return a.At.After(b.At)
}

// keep saves the addresses of targets when they have changed, and now and then that
// they are still served, until ctx ends.
func (t *targets) keep(ctx context.Context) {
	tick, pause := time.NewTicker(saveTargetsEvery), time.NewTimer(0)
	defer tick.Stop()
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-t.changed:
		case <-t.a.learned:
		}
		t.save(ctx)
		pause.Reset(saveTargetsPause)
	}
}

// save makes the addresses that are served durable; a failure is an alarm and no
// obstacle.
func (t *targets) save(ctx context.Context) {
	saved := t.lastGood()
	if len(saved) == 0 {
		return
	}
	err := t.a.record.store.PutTargets(ctx, saved)
	if errors.Is(err, ledger.ErrClosed) {
		return // left to the next process, which has read what was saved and saves itself
	}
	if err != nil && ctx.Err() == nil && !t.unsaved {
		t.a.log.WarnContext(ctx, "the addresses of targets are not saved; a restart now waits for resolvers", "error", err)
	}
	t.unsaved = err != nil
}

// lastGood lists the addresses that are served, by host and the families they were
// asked for, each as it was resolved last.
func (t *targets) lastGood() []ledger.Target {
	type asked struct {
		host       string
		ipv4, ipv6 bool
	}
	latest := make(map[asked]*resolver.Addresses)
	for i := range t.w.Compiled.Targets {
		target := &t.w.Compiled.Targets[i]
		k := asked{target.Host, target.IPv4, target.IPv6}
		a := t.w.Compiled.Snapshot.Resolved[target.Resolved].Load()
		if was := latest[k]; a != nil && (was == nil || a.At.After(was.At)) {
			latest[k] = a
		}
	}
	targets := make(map[string]bool)
	for i := range t.w.Compiled.Targets {
		targets[t.w.Compiled.Targets[i].Host] = true
	}
	saved := make([]ledger.Target, 0, len(latest))
	for k, a := range latest {
		saved = append(saved, ledger.Target{Host: k.host, Addresses: a.From, ResolvedAt: a.At.Round(0).UTC()})
	}
	// And of names that are only probed. What is answered for a target is never what the
	// resolver of this machine says.
	t.a.names.Each(func(host string, addrs []netip.Addr, at time.Time) {
		if host += "."; !targets[host] && len(saved) < maxSavedNames {
			saved = append(saved, ledger.Target{Host: host, Addresses: addrs, ResolvedAt: at.Round(0).UTC()})
		}
	})
	slices.SortFunc(saved, func(a, b ledger.Target) int { return strings.Compare(a.Host, b.Host) })
	return saved
}

// targetStatus tells what a replica's target resolved to; nil where none is resolved.
func (a *App) targetStatus(c *compile.Result, m compile.Member) *admin.TargetStatus {
	s := c.Snapshot
	n := s.Replicas[s.ReplicaNumber(m.Registry, m.Region)].Resolved
	if n == 0 {
		return nil
	}
	st := &admin.TargetStatus{Host: trimDot(c.Targets[n-1].Host), Addresses: []string{}, Stale: true}
	if now := s.Resolved[n-1].Load(); now != nil {
		st.Addresses = texts(now.From)
		st.ResolvedAt, st.Stale = optional(now.At), now.Stale(a.o.Now())
		a.clock.show(st.ResolvedAt)
	}
	return st
}

// targetStates counts the targets of w by the state of their addresses.
func targetStates(w *World, now time.Time) map[string]int {
	states := map[string]int{"fresh": 0, "stale": 0, "unresolved": 0}
	for i := range w.Compiled.Snapshot.Resolved {
		switch a := w.Compiled.Snapshot.Resolved[i].Load(); {
		case a == nil:
			states["unresolved"]++
		case a.Stale(now):
			states["stale"]++
		default:
			states["fresh"]++
		}
	}
	return states
}
