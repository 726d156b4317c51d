package app

import (
	"time"

	"portolan.dev/health"
	"portolan.dev/resolver/compile"
)

// status returns what health knows of one replica of w; false if it is not probed.
func (v *availability) status(w *World, m compile.Member) (health.Status, bool) {
	v.mu.Lock()
	key := ""
	if m, ok := v.here(w, m); ok {
		key = v.probed(m)
	}
	v.mu.Unlock()
	if key == "" {
		return health.Status{}, false
	}
	return v.monitor.Status(key)
}

// probed returns the key of the endpoint that decides for a replica; "" for one
// that is not probed. v.mu is held.
func (v *availability) probed(m compile.Member) string {
	e := v.world.Compiled.EndpointOf(m)
	if e < 0 {
		return ""
	}
	return v.world.Compiled.Endpoints[e].Key
}

// excluded says in one line why a replica of w is out, for explanations; "" if
// health and operator let it in.
func (v *availability) excluded(w *World, m compile.Member) string {
	v.mu.Lock()
	now, ok := v.here(w, m)
	if !ok {
		v.mu.Unlock()
		return "no longer configured"
	}
	text, parked := v.excludedByOperator(now), v.parked[v.probed(now)]
	v.mu.Unlock()
	if text != "" {
		text += "; "
	}
	st, ok := v.status(w, m)
	switch {
	case parked:
		text += "recovered, waits for portolan failback"
	case !ok || st.State.Eligible():
	case st.State == health.Recovering:
		text += "recovering since " + stamp(st.Since) + ", eligible at " + stamp(st.EligibleAt)
	default:
		text += st.State.String() + " since " + stamp(st.Since) + ": " + st.Last.Detail
	}
	if len(text) > 1 && text[len(text)-2:] == "; " {
		text = text[:len(text)-2]
	}
	return text
}

func (v *availability) excludedByOperator(m compile.Member) string {
	if v.unresolved[m] {
		return "its target is not resolved yet"
	}
	off := !v.world.Compiled.Routed[m.Registry].Has(m.Region)
	o := v.overrides[v.subject(m)]
	switch {
	case o == nil && off, o != nil && o.routing == nil && off && !o.drainedAt(v.now()):
		return "global endpoint routing is off"
	case o == nil:
		return ""
	case o.drainedAt(v.now()):
		text := "drained since " + stamp(o.drain.EffectiveAt) + " by " + o.drain.By
		if o.drain.Why != "" {
			text += ": " + o.drain.Why
		}
		return text
	case o.routing != nil && !*o.routing:
		return "global endpoint routing switched off by " + o.routingBy
	}
	return ""
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
