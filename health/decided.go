package health

import "time"

// What others decide of endpoints, while the Monitor runs. None of it makes a
// [Change]: who decides knows.

// LetBack makes an endpoint that is out and works up at once, although its recovery
// hold is not over, and says whether it did. Should it go down again soon, that counts
// as a flap.
func (m *Monitor) LetBack(key string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.endpoints[key]
	if !ok || !e.state.passing {
		return false
	}
	e.state = e.state.recovered(m.opts.Now())
	return true
}

// TakeDown makes an endpoint down that another process found to be so, at a moment
// and after so many flaps. One that is out already does not work any more.
func (m *Monitor) TakeDown(key string, at time.Time, flaps int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.endpoints[key]
	if !ok {
		return
	}
	if e.state.state.Eligible() {
		e.state.downAt, e.state.flaps = at, flaps
	}
	e.state.passing = false
	e.state = e.state.entered(Down, m.opts.Now())
}
