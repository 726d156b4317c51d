package health

import (
	"time"
)

// Parts says which checks of an endpoint with several of them are out: those of dead
// addresses, of an endpoint that others may keep up. Bit i is for check i of
// [Endpoint.Checks]; further ones than 32 have no part in it.
type Parts struct {
	Endpoint string // its Key
	// Out are the checks that are down, or have been and have not passed for as long as
	// the recovery hold of the endpoint since.
	Out uint32
	// Passing are those of Out that work.
	Passing uint32
	At      time.Time
	// Reason is what the newest result of a check that is out says; "" without one.
	Reason string
}

// partsLocked finds out which checks of an endpoint are out, and tells what has changed.
func (m *Monitor) partsLocked(e *endpoint, now time.Time) {
	if len(e.checks) < 2 || m.opts.OnParts == nil {
		return
	}
	p := Parts{Endpoint: e.key, At: now}
	var newest time.Time
	for i, c := range e.checks[:min(len(e.checks), 32)] {
		bit := uint32(1) << i
		// Like an endpoint a check comes back on a pass, after a time without a failure; what
		// it has flapped does not count: clients stay with the replica in either case.
		held := c.state.lastAt.Sub(c.state.runStart) >= e.hold
		if c.state.state != Down && (e.parts.Out&bit == 0 || c.state.passes >= c.spec.Rise && held) {
			continue
		}
		p.Out |= bit
		if c.state.passes > 0 {
			p.Passing |= bit
		}
		if c.state.lastAt.After(newest) {
			newest, p.Reason = c.state.lastAt, c.state.last.Detail
		}
	}
	if p.Out == e.parts.Out && p.Passing == e.parts.Passing {
		return
	}
	e.parts = p
	m.parts = append(m.parts, p)
	signal(m.changed)
}
