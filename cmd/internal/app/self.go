package app

import (
	"portolan.dev/cmd/internal/admin"
	"portolan.dev/health"
	"portolan.dev/resolver/compile"
)

// impaired is told by the monitor when the prober finds itself in trouble, and when that
// is over.
func (a *App) impaired(s health.SelfStatus) {
	if s.Impaired {
		a.log.Warn("the prober is in trouble itself; replicas that are merely silent are not taken down", "reason", s.Reason, "since", s.Since)
		return
	}
	a.log.Info("the prober is well again; silence counts", "was", s.Reason)
}

// maxSighted bounds the replicas that one line names.
const maxSighted = 5

// sighted is told by the monitor which endpoints it has lost from sight, or sees again.
func (a *App) sighted(sights []health.Sight) {
	w := a.world.Load()
	if w == nil {
		return
	}
	var lost, found []string
	var detail string
	for _, s := range sights {
		for _, m := range w.Compiled.Members(s.Endpoint) {
			if name := replicaName(w, m); s.UnseenSince.IsZero() {
				found = append(found, name)
			} else {
				lost, detail = append(lost, name), s.Detail
			}
		}
	}
	if len(lost) > 0 {
		if more, ok := a.lost.speak(a.o.Now()); ok {
			a.log.Warn("replicas cannot be probed from here and stay as they are", "replicas", lost[:min(len(lost), maxSighted)],
				"count", len(lost), "detail", detail, "more", more)
		}
	}
	if len(found) > 0 {
		if more, ok := a.found.speak(a.o.Now()); ok {
			a.log.Info("replicas are probed again", "replicas", found[:min(len(found), maxSighted)], "count", len(found), "more", more)
		}
	}
}

func replicaName(w *World, m compile.Member) string {
	s := w.Compiled.Snapshot
	return s.Registries[m.Registry].Key + "/" + s.Regions[m.Region].Label
}

// prober describes the self-check.
func (a *App) prober() admin.ProberStatus {
	s := a.monitor.SelfCheck()
	p := admin.ProberStatus{Impaired: s.Impaired, Since: optional(s.Since), LocalShare: s.LocalShare, Anchors: make([]admin.AnchorStatus, 0, len(s.Anchors))}
	if s.Impaired {
		p.Reason = s.Reason
	}
	for _, n := range s.Anchors {
		p.Anchors = append(p.Anchors, admin.AnchorStatus{Address: n.Name, Answered: n.Answered, Last: n.Detail, At: n.AskedAt})
		a.clock.show(&p.Anchors[len(p.Anchors)-1].At)
	}
	a.clock.show(p.Since)
	return p
}

// unobserved counts the replicas that cannot be probed from here.
func (a *App) unobserved(w *World) (n int) {
	for _, key := range a.monitor.Unseen() {
		n += len(w.Compiled.Members(key))
	}
	return n
}
