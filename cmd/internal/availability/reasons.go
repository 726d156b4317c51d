package availability

import (
	"sync"
	"sync/atomic"
	"time"

	"portolan.dev/config/ledger"
	"portolan.dev/resolver/compile"
)

// reason says in words why something is out, when asked: moments in it are as the wall
// clock has them then.
type reason func() string

// words is a reason without moments.
func words(text string) reason { return func() string { return text } }

// reasons is why replicas are out, as published: an explanation reads it and waits for
// nobody.
type reasons struct {
	endpoints sync.Map // reason by key, of endpoints that are out
	// orders is reason by ledger.Subject, of replicas of which an operator, or a resolver,
	// has said something; its words are "" where that leaves them in.
	orders sync.Map
	// current is what is served.
	current atomic.Pointer[Configuration]
}

const routingOff = "global endpoint routing is off"

// health publishes why an endpoint is out; nil for one that is not.
func (r *reasons) health(key string, why reason) {
	if why == nil {
		r.endpoints.Delete(key)
		return
	}
	r.endpoints.Store(key, why)
}

// downSince is the reason of an endpoint that is down.
func (v *Availability) downSince(at time.Time, why string) reason {
	return func() string { return "down since " + v.o.Stamp(at) + ": " + why }
}

// explainOrder publishes why the operator, or a resolver, keeps a replica out. v.mu is
// held.
func (v *Availability) explainOrder(s ledger.Subject) {
	m, ok := v.member(s)
	o := v.overrides[s]
	switch {
	case ok && v.unresolved[m]:
		v.reasons.orders.Store(s, words("its target is not resolved yet"))
	case o != nil && o.drainedAt(v.o.Now()):
		at, why := o.drainAt, " by "+o.drain.By
		if o.drain.Why != "" {
			why += ": " + o.drain.Why
		}
		v.reasons.orders.Store(s, reason(func() string { return "drained since " + v.o.Stamp(at) + why }))
	case o != nil && o.routing != nil && *o.routing:
		v.reasons.orders.Store(s, words(""))
	case o != nil && o.routing != nil:
		v.reasons.orders.Store(s, words("global endpoint routing switched off by "+o.routingBy))
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
		why = said.(reason)() //nolint:forcetypeassert // nothing else is stored
	} else if !c.Compiled.Routed[m.Registry].Has(m.Region) {
		why = routingOff
	}
	e := c.Compiled.EndpointOf(m)
	if e < 0 {
		return why
	}
	unwell := ""
	if said, ok := v.reasons.endpoints.Load(c.Compiled.Endpoints[e].Key); ok {
		unwell = said.(reason)() //nolint:forcetypeassert // nothing else is stored
	}
	if why != "" && unwell != "" {
		why += "; "
	}
	return why + unwell
}
