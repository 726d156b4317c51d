package app

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"portolan.dev/cmd/internal/admin"
	"portolan.dev/cmd/internal/availability"
	"portolan.dev/cmd/internal/cached"
	"portolan.dev/resolver/compile"
)

// readdressed lists the replicas of old whose names stop leading to an address or a
// host name in next: clients in the middle of a push would go on at another place, or
// at none. More addresses for a replica move nobody.
func (a *App) readdressed(old, next *World) (out []admin.Readdressed) {
	var before, after cached.Record
	var act *clients // copied for the first that is found
	for was, is := range compile.Pairs(old.Compiled, next.Compiled) {
		if sameAnswers(old, was, next, is) {
			continue
		}
		old.served(was, &before)
		if p, ok := a.caches.of(before.Name); ok {
			before.Merge(&p)
		}
		next.served(is, &after)
		for i := range before.Replicas {
			p := &before.Replicas[i]
			now := after.Find(p.Label)
			if now != nil && !cached.Lost(p.Addresses, now.Addresses) {
				continue
			}
			m, ok := old.member(was, p.Label)
			if !ok {
				continue // it is remembered, and not served
			}
			if act == nil {
				act = a.activity()
			}
			r := a.clientsOf(old.availability, m, act)
			r.Removed = now == nil
			r.OldAddressesUntil = before.Released(a.o.Now()).Add(keptLonger)
			a.clock.show(&r.OldAddressesUntil)
			out = append(out, r)
		}
	}
	return out
}

// member finds the replica of a registry by the label of its region.
func (w *World) member(registry int, label string) (compile.Member, bool) {
	s := w.Compiled.Snapshot
	for i := range s.Regions {
		if s.Regions[i].Label == label && s.Registries[registry].Configured.Has(uint8(i)) {
			return compile.Member{Registry: registry, Region: uint8(i)}, true
		}
	}
	return compile.Member{}, false
}

// clientsOf says who uses a replica now, and would go on using it: nobody uses one that
// is down, or drained so that nobody is held. Where clients are not held they are not
// known either: there the replica is in use as long as a cache may hold an answer that
// this process has given.
func (a *App) clientsOf(c *availability.Configuration, m compile.Member, act *clients) admin.Readdressed {
	s, now := c.Compiled.Snapshot, a.o.Now()
	r := &s.Registries[m.Registry]
	out := admin.Readdressed{Registry: r.Key, Region: s.Regions[m.Region].Label}
	masks := s.Live[m.Registry].Masks()
	if candidate := masks.Candidates().Has(m.Region); !candidate {
		if !masks.Up.Has(m.Region) {
			return out
		}
		if d, current, m, ok := a.availability.Decided(c, m); ok && d.Drain != nil && d.Drain.InForce {
			st := a.drainStatus(current, m, d.Drain, act)
			out.Clients, out.InUse = st.Held, st.Held > 0
			return out
		}
	}
	if r.Policy.Hold > 0 {
		out.Clients = act.active(r.Number, s.Stable[m.Region], now, r.Policy.Idle)
		out.InUse = out.Clients > 0
		return out
	}
	last := act.lastAnswer(a.slots.Of(r.Name, out.Region))
	past, _ := a.caches.of(r.Name)
	out.LastAnswer = optional(last)
	out.InUse = !last.IsZero() && now.Before(past.Global.Expires(last, r.TTL).Add(keptLonger))
	return out
}

// inUse orders replicas, those in use and with most clients first, and returns the former.
func inUse(all []admin.Readdressed) (used []admin.Readdressed) {
	slices.SortFunc(all, func(a, b admin.Readdressed) int {
		if a.InUse != b.InUse {
			if a.InUse {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(b.Clients, a.Clients), cmp.Compare(a.Registry, b.Registry), cmp.Compare(a.Region, b.Region))
	})
	n := slices.IndexFunc(all, func(r admin.Readdressed) bool { return !r.InUse })
	if n < 0 {
		n = len(all)
	}
	return all[:n]
}

// noteReaddressed adds replicas to a report, and returns those in use.
func noteReaddressed(report *admin.ReloadReport, all []admin.Readdressed) (used []admin.Readdressed) {
	used = inUse(all)
	report.Readdressed = all[:min(len(all), maxReported)]
	report.ReaddressedLeftOff = len(all) - len(report.Readdressed)
	return used
}

// refuseAddresses says why replicas that are in use cannot have other addresses; nil if
// none is. verb is what would be said with --force.
func refuseAddresses(used []admin.Readdressed, verb string) error {
	if len(used) == 0 {
		return nil
	}
	drain := fmt.Sprintf("%s -r %s", used[0].Region, used[0].Registry)
	return fmt.Errorf("%w: clients in the middle of a push would lose the addresses of %s: nothing has changed; take each of these replicas out first"+
		" (`portolan drain %s --wait`), change the configuration and reload, then put it back (`portolan undrain %s`); or insist with `portolan %s --force`",
		admin.ErrRefused, nameUsed(used), drain, drain, verb)
}

// nameUsed names replicas and their clients, the first few of them.
func nameUsed(used []admin.Readdressed) string {
	names := make([]string, 0, maxNamed)
	for _, r := range used[:min(len(used), maxNamed)] {
		who := fmt.Sprintf("%d active clients", r.Clients)
		switch {
		case r.LastAnswer != nil:
			who = "last given to a client at " + r.LastAnswer.UTC().Format(time.RFC3339)
		case r.Clients == 1:
			who = "1 active client"
		}
		names = append(names, fmt.Sprintf("%s/%s (%s)", r.Registry, r.Region, who))
	}
	text := strings.Join(names, ", ")
	if more := len(used) - maxNamed; more > 0 {
		text += fmt.Sprintf(", and %d more", more)
	}
	return text
}

// checkAddresses looks whether replicas that w has given other addresses than the
// process before are in use. A process that takes the place of one that answers gives
// way then, unless the operator insists; after a restart nothing is left but to say so.
func (a *App) checkAddresses(ctx context.Context, w *World, lost []compile.Member) error {
	if len(lost) == 0 {
		return nil
	}
	var all []admin.Readdressed
	act := a.activity()
	for _, m := range lost {
		all = append(all, a.clientsOf(w.availability, m, act))
	}
	used := inUse(all)
	if a.before != nil && !a.before.Force {
		return refuseAddresses(used, "upgrade")
	}
	a.warnAddresses(ctx, used)
	return nil
}

// warnAddresses says that the addresses of replicas in use are replaced all the same.
func (a *App) warnAddresses(ctx context.Context, used []admin.Readdressed) {
	if len(used) > 0 {
		a.log.WarnContext(ctx, "active clients lose the addresses of their replica; their pushes may fail", "replicas", nameUsed(used))
	}
}
