package app

import (
	"context"
	"slices"
	"time"

	"portolan.dev/health"
	"portolan.dev/resolver/compile"
)

const (
	// certificatesFirst and certificatesEvery are when the certificates of replicas are
	// looked at: once each should have been probed, and then now and then.
	certificatesFirst = time.Minute
	certificatesEvery = time.Hour
	// certificatesAgain is how often the log names those that end soon, unless there are
	// more.
	certificatesAgain = 24 * time.Hour
)

// ending is a replica whose certificate ends soon.
type ending struct {
	replica compile.Member
	at      time.Time
}

// endingSoon lists the endpoints of w whose certificates end soon, the first to end
// first, each by one of its replicas.
func (a *App) endingSoon(w *World) (out []ending) {
	now := a.clock.wall()
	for key, c := range a.monitor.Certificates() {
		if members := w.Compiled.Members(key); len(members) > 0 && c.EndsSoon(now) {
			out = append(out, ending{members[0], c.NotAfter})
		}
	}
	slices.SortFunc(out, func(a, b ending) int { return a.at.Compare(b.at) })
	return out
}

// watchCertificates warns of certificates of replicas that end soon, until ctx ends.
func (a *App) watchCertificates(ctx context.Context) {
	timer := time.NewTimer(certificatesFirst)
	defer timer.Stop()
	var said time.Time
	known := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			timer.Reset(certificatesEvery)
		}
		w := a.world.Load()
		soon := a.endingSoon(w)
		if now, n := a.o.Now(), len(soon); n > known || n > 0 && now.Sub(said) >= certificatesAgain {
			a.warnCertificates(ctx, w, soon)
			said = now
		}
		known = len(soon)
	}
}

// warnCertificates names the certificates of replicas of w that end soon, in one line.
func (a *App) warnCertificates(ctx context.Context, w *World, soon []ending) {
	s := w.Compiled.Snapshot
	soonest := soon[:min(len(soon), maxNamed)]
	names := make([]string, 0, len(soonest))
	for _, e := range soonest {
		names = append(names, s.Registries[e.replica.Registry].Key+"/"+s.Regions[e.replica.Region].Label+" at "+e.at.UTC().Format(time.RFC3339))
	}
	a.log.WarnContext(ctx, "certificates of replicas end soon", "count", len(soon), "first", names)
}

// certificateEnds returns when certificates of replicas end, by what metrics tell apart: the
// first of each.
func (a *App) certificateEnds(w *World, key func(compile.Member) seriesKey) map[seriesKey]time.Time {
	out := make(map[seriesKey]time.Time)
	for name, c := range a.monitor.Certificates() {
		for _, m := range w.Compiled.Members(name) {
			if was, ok := out[key(m)]; !ok || c.NotAfter.Before(was) {
				out[key(m)] = c.NotAfter
			}
		}
	}
	return out
}

// shownCertificate is when a certificate ends, for an operator; nil without one.
func shownCertificate(c health.Certificate) *time.Time {
	if c.NotAfter.IsZero() {
		return nil
	}
	end := c.NotAfter.UTC()
	return &end
}
