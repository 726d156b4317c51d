package availability

import (
	"sync"
	"sync/atomic"

	"portolan.dev/config/ledger"
	"portolan.dev/resolver/compile"
)

// reasons is why replicas are out, in words, as published: an explanation reads it and
// waits for nobody.
type reasons struct {
	endpoints sync.Map // text by key, of endpoints that are out
	// orders is text by ledger.Subject, of replicas of which an operator, or a resolver,
	// has said something; "" where that leaves them in.
	orders sync.Map
	// current is what is served.
	current atomic.Pointer[Configuration]
}

const routingOff = "global endpoint routing is off"

// health publishes why an endpoint is out; "" for one that is not.
func (r *reasons) health(key, why string) {
	if why == "" {
		r.endpoints.Delete(key)
		return
	}
	r.endpoints.Store(key, why)
}

// explainOrder publishes why the operator, or a resolver, keeps a replica out. v.mu is
// held.
func (v *Availability) explainOrder(s ledger.Subject) {
	m, ok := v.member(s)
	o := v.overrides[s]
	switch {
	case ok && v.unresolved[m]:
		v.reasons.orders.Store(s, "its target is not resolved yet")
	case o != nil && o.drainedAt(v.o.Now()):
		why := "drained since " + stamp(o.drainAt) + " by " + o.drain.By
		if o.drain.Why != "" {
			why += ": " + o.drain.Why
		}
		v.reasons.orders.Store(s, why)
	case o != nil && o.routing != nil && *o.routing:
		v.reasons.orders.Store(s, "")
	case o != nil && o.routing != nil:
		v.reasons.orders.Store(s, "global endpoint routing switched off by "+o.routingBy)
	default:
		v.reasons.orders.Delete(s)
	}
}

// Excluded says in one line why a replica of c is out; "" if health and operator let it
// in. It reads what was published and takes no lock.
func (v *Availability) Excluded(c *Configuration, m compile.Member) string {
	if now := v.reasons.current.Load(); now != c && now != nil {
		is, ok := memberOf(now.Compiled, subjectOf(c.Compiled, m))
		if !ok {
			return "no longer configured"
		}
		c, m = now, is
	}
	why := ""
	if said, ok := v.reasons.orders.Load(subjectOf(c.Compiled, m)); ok {
		why, _ = said.(string)
	} else if !c.Compiled.Routed[m.Registry].Has(m.Region) {
		why = routingOff
	}
	e := c.Compiled.EndpointOf(m)
	if e < 0 {
		return why
	}
	said, _ := v.reasons.endpoints.Load(c.Compiled.Endpoints[e].Key)
	unwell, _ := said.(string)
	if why != "" && unwell != "" {
		why += "; "
	}
	return why + unwell
}
