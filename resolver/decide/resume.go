package decide

// Active reports whether a unit that is known as e is active at now, in Unix seconds: it
// was seen within the idle time, or is held.
func (p Policy) Active(e Entry, now uint32) bool {
	return now <= e.LastSeen+p.Idle || now < e.Until
}

// Outlasts reports whether what a unit was given still binds at now, for clients that go
// by another unit since a moment: it was active then and the hold that begins with such
// a change is not over, or it has been held all along. Times are Unix seconds.
func (p Policy) Outlasts(e Entry, since, now uint32) bool {
	return since <= e.LastSeen+p.Idle && now < since+p.Hold || now < e.Until
}

// Resume returns what [Holds.Serve] would for a unit whose entry is e, and the entry as
// it would be.
func (s *Situation) Resume(e Entry, base uint8, now uint32) (region uint8, after Entry, held bool) {
	if s.Stable[base] == e.Region {
		return base, e, false
	}
	region, held, _ = s.resolve(&e, base, now)
	return region, e, held
}
