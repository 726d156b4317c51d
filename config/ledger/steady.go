package ledger

import "time"

// A writer that measures time by a clock that nobody can set, and stores what the clock
// on the wall says, says in [Event.Ahead] how far the two are apart. With that it gets
// back what it measured, whatever was done to the wall clock before and since.

// Wall returns e, whose moments are those of the writer's own clock, as it is stored:
// with moments of a clock that is ahead by so much.
func (e Event) Wall(ahead time.Duration) Event {
	move(&e, ahead)
	e.Ahead = ahead
	return e
}

// Steady returns e, which was stored, with moments of its writer's own clock.
func (e Event) Steady() Event {
	move(&e, -e.Ahead)
	e.Ahead = 0
	return e
}

// move makes all moments of e that are given later by d.
func move(e *Event, d time.Duration) {
	for _, t := range moments(e) {
		if !t.IsZero() {
			*t = t.Add(d)
		}
	}
}

// Steady returns a copy of s with moments of the writer's own clock. It shares nothing
// with s.
func (s *State) Steady() State {
	c := s.Clone()
	for _, r := range c.Replicas {
		steady(r.Drain)
		steady(r.Routing)
	}
	for k, h := range c.Health {
		steady(h.Down)
		if !h.UpAt.IsZero() {
			h.UpAt = h.UpAt.Add(-h.UpAhead)
		}
		h.UpAhead = 0
		c.Health[k] = h
	}
	steady(c.Config)
	steady(c.GeoData)
	return c
}

// steady is Steady in place, of an event that may be nil.
func steady(e *Event) {
	if e != nil {
		*e = e.Steady()
	}
}
