package health

import "time"

// Fault says where the trouble is that a probe has met, as far as can be told from
// here. A prober that cannot tell says Answered, which always counts.
type Fault uint8

// The faults. The zero value is Answered.
const (
	// Answered: the target itself answered, and badly: it refused the connection, said
	// 503, or fell silent after it had taken the connection. So the way to it works.
	Answered Fault = iota
	// Silent: nothing came back. It may be the target, or the way to it.
	Silent
	// Unreachable: a machine on the way said that the target is not to be reached, or the
	// first one on the way is not there. It may be the target's network, or ours.
	Unreachable
	// Local: this machine could not ask: it has no route, no address, no resolver, no
	// descriptor. Says nothing of the target.
	Local
)

// String returns "answered", "silent", "unreachable" or "local".
func (f Fault) String() string {
	switch f {
	case Silent:
		return "silent"
	case Unreachable:
		return "unreachable"
	case Local:
		return "local"
	default:
		return "answered"
	}
}

// Answered says whether r came from the target itself.
func (r *Result) Answered() bool { return r.Verdict == Pass || r.Fault == Answered }

// doubtful says whether r would take a target down that has not said a word: what is
// wrong may be here.
func (r *Result) doubtful() bool { return r.Verdict == Fail && !r.Answered() }

// excused returns r as it counts when the trouble is here.
func excused(r Result) Result {
	if r.doubtful() {
		r.Verdict = Neutral
	}
	return r
}

// sight is whether a check can be seen from here.
type sight struct {
	locals   int       // local faults in a row
	since    time.Time // the first of them; zero without one
	seen     time.Time // the newest result that is none; zero before the first
	answered time.Time // the newest result that came from the target; zero before the first
}

func (s sight) step(r Result, now time.Time) sight {
	if r.Fault == Local && r.Verdict != Pass {
		if s.locals == 0 {
			s.since = now
		}
		s.locals++
		return s
	}
	s.locals, s.since, s.seen = 0, time.Time{}, now
	if r.Answered() {
		s.answered = now
	}
	return s
}

// blind says whether the check has been lost from sight: for as many probes as take it
// down, so that a passing shortage does not discard what is known.
func (s sight) blind(t thresholds) bool { return s.locals >= t.fall }

// last returns when the check was last seen, or first was not.
func (s sight) last() time.Time {
	if s.seen.IsZero() {
		return s.since
	}
	return s.seen
}

// Sight says that an endpoint is lost from sight, or seen again. Its State stays what it
// is either way.
type Sight struct {
	Endpoint string // its Key
	// UnseenSince is as in [Status]; zero when it is seen again.
	UnseenSince time.Time
	Detail      string // of the newest result
}

// lookLocked notes whether e can be seen after one of its checks has changed.
func (m *Monitor) lookLocked(e *endpoint) {
	var unseen time.Time
	var newest *check
	for _, c := range e.checks {
		if !c.state.sight.blind(c.thresholds()) {
			unseen, newest = time.Time{}, nil
			break
		}
		unseen = latest(unseen, c.state.sight.last())
		if newest == nil || c.state.lastAt.After(newest.state.lastAt) {
			newest = c
		}
	}
	if e.unseen.IsZero() == unseen.IsZero() {
		return
	}
	e.unseen = unseen
	s := Sight{Endpoint: e.key, UnseenSince: unseen}
	if newest != nil {
		s.Detail = newest.state.last.Detail
	}
	m.sights = append(m.sights, s)
	signal(m.changed)
}
