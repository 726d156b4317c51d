package health

import (
	"slices"
	"time"
)

// CheckRecord is what is known of a check, for the next process. What a process needs
// no memory of is not there: a check that has long passed, for endpoints that are up,
// starts the same without one.
type CheckRecord struct {
	Key      string    `json:"key"`
	State    State     `json:"state"`
	Since    time.Time `json:"since"`
	Passes   int       `json:"passes,omitempty"`
	Fails    int       `json:"fails,omitempty"`
	RunStart time.Time `json:"run_start,omitzero"`
	// The last result, and when it came.
	Verdict Verdict       `json:"verdict"`
	Fault   Fault         `json:"fault,omitempty"`
	Detail  string        `json:"detail,omitempty"`
	Took    time.Duration `json:"took"`
	LastAt  time.Time     `json:"last_at,omitzero"`
}

// Records returns what [Monitor.Recall] of the next process has to know so that a
// row of failures or passes that is under way is not counted from one again.
func (m *Monitor) Records() []CheckRecord {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []CheckRecord
	for _, c := range m.checks {
		s := c.state
		waited := slices.ContainsFunc(c.watchers, func(e *endpoint) bool { return e.state.state != Up })
		if s.lastAt.IsZero() || s.state == Up && s.fails == 0 && !waited {
			continue
		}
		out = append(out, CheckRecord{
			Key: c.spec.Key, State: s.state, Since: s.since, Passes: s.passes, Fails: s.fails, RunStart: s.runStart,
			Verdict: s.last.Verdict, Fault: s.last.Fault, Detail: s.last.Detail, Took: s.last.Took, LastAt: s.lastAt,
		})
	}
	return out
}

// Recall takes over what another Monitor knew of checks, by their keys. It must come
// before the first [Monitor.Set].
func (m *Monitor) Recall(records []CheckRecord) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.recalled = make(map[string]checkState, len(records))
	for i := range records {
		r := &records[i]
		if other, ok := m.recalled[r.Key]; ok && other.lastAt.After(r.LastAt) {
			continue
		}
		m.recalled[r.Key] = checkState{
			state: r.State, since: r.Since, passes: r.Passes, fails: r.Fails, runStart: r.RunStart,
			last: Result{Verdict: r.Verdict, Fault: r.Fault, Detail: r.Detail, Took: r.Took}, lastAt: r.LastAt,
		}
	}
}
