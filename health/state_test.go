package health

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

func epoch() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

// verdictOf reads the letters of the tables: P, F, N.
func verdictOf(r rune) Verdict {
	return map[rune]Verdict{'P': Pass, 'F': Fail, 'N': Neutral}[r]
}

// lone runs one check and its endpoint over letters, a minute apart, and writes
// the state of the endpoint after each: U up, D down, R recovering, ? unknown.
func lone(letters string, t thresholds, hold time.Duration, e endpointState) string {
	var c checkState
	var b strings.Builder
	now := epoch()
	for _, r := range letters {
		c = c.step(Result{Verdict: verdictOf(r)}, now, t)
		e, _ = e.step(view{}.add(c, t), now, hold, causeOf(verdictOf(r)))
		b.WriteByte("?UDR"[e.state])
		now = now.Add(time.Minute)
	}
	return b.String()
}

func TestEndpointStates(t *testing.T) {
	three := thresholds{fall: 3, rise: 3}
	tests := []struct {
		name, letters, want string
		t                   thresholds
		hold                time.Duration
		from                endpointState
	}{
		{"unknown counts as up until it fails", "FFF", "??D", three, 0, endpointState{}},
		{"rise from unknown", "PPP", "??U", three, 0, endpointState{}},
		{"one failure is none", "PPPFFPFFPF", "??UUUUUUUU", three, 0, endpointState{}},
		{"neutral ends no row", "PPPFNFNNFN", "??UUUUUUDD", three, 0, endpointState{}},
		{"neutral counts in no row", "PPPNNNNNNN", "??UUUUUUUU", three, 0, endpointState{}},
		{"neutral alone says nothing", "NNNNNNNNNN", "??????????", three, 0, endpointState{}},
		{"no hold: up at rise", "FFFPPP", "??DRRU", three, 0, endpointState{}},
		{"thresholds of one", "FPFPNF", "DUDUUD", thresholds{1, 1}, 0, endpointState{}},
		{"held from the first pass", "FFFPPPPPP", "??DRRRRRU", three, 5 * time.Minute, endpointState{}},
		{"a failure starts the hold again", "FFFPPPPFPPPPPP", "??DRRRRDRRRRRU", three, 5 * time.Minute, endpointState{}},
		{"neutral does not break the hold", "FFFPPPNNNP", "??DRRRRRRU", three, 5 * time.Minute, endpointState{}},
		{"no return without a pass", "FFFPPPNNNNNNP", "??DRRRRRRRRRU", three, 5 * time.Minute, endpointState{}},
		{"rise is needed even after the hold", "FFFPNNNNNNPP", "??DRRRRRRRRU", three, 5 * time.Minute, endpointState{}},
		{"a flap doubles", "FPPPFPPPPP", "DRRUDRRRRU", thresholds{1, 1}, 2 * time.Minute, endpointState{}},
		{"known to be down at the start", "NPPPP", "DRRRU", three, 3 * time.Minute, newEndpointState(Resume{DownAt: epoch().Add(-time.Hour)}, epoch())},
		{"recovered before the start", "NFFF", "???D", three, 0, newEndpointState(Resume{DownAt: epoch().Add(-2 * time.Hour), UpAt: epoch().Add(-time.Hour)}, epoch())},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := lone(tt.letters, tt.t, tt.hold, tt.from); got != tt.want {
				t.Errorf("%s\n got %s\nwant %s", tt.letters, got, tt.want)
			}
		})
	}
}

func TestResumeFromTheFuture(t *testing.T) {
	now := epoch()
	e := newEndpointState(Resume{DownAt: now.Add(24 * time.Hour), Flaps: -3}, now)
	if e.state != Down || e.downAt.After(now) || e.flaps != 0 {
		t.Errorf("got %+v, want down since now without flaps", e)
	}
}

func TestHoldDoubles(t *testing.T) {
	tests := []struct {
		base  time.Duration
		flaps int
		want  time.Duration
	}{
		{10 * time.Minute, 0, 10 * time.Minute},
		{10 * time.Minute, 1, 20 * time.Minute},
		{10 * time.Minute, 2, 40 * time.Minute},
		{10 * time.Minute, 3, time.Hour},
		{10 * time.Minute, math.MaxInt, time.Hour},
		{0, math.MaxInt, 0},
		{-time.Second, 4, 0},
		{2 * time.Hour, 0, 2 * time.Hour},
		{2 * time.Hour, 5, 2 * time.Hour},
		{time.Hour, 1, time.Hour},
	}
	for _, tt := range tests {
		if got := (endpointState{flaps: tt.flaps}).hold(tt.base); got != tt.want {
			t.Errorf("hold(%v) after %d flaps = %v, want %v", tt.base, tt.flaps, got, tt.want)
		}
	}
}

func TestFlapsCountRecoveriesWithinAnHour(t *testing.T) {
	down := view{checks: 1, down: 1}
	e := endpointState{state: Up}
	at := func(e endpointState, after time.Duration) int {
		e, ev := e.step(down, epoch().Add(after), 0, causeFail)
		if ev != wentDown {
			t.Fatalf("event %v, want wentDown", ev)
		}
		return e.flaps
	}
	if got := at(e, 0); got != 0 {
		t.Errorf("the first time down counts as %d flaps", got)
	}
	e.upAt, e.flaps = epoch(), 2
	if got := at(e, FlapWindow); got != 3 {
		t.Errorf("down an hour after a recovery: %d flaps, want 3", got)
	}
	if got := at(e, FlapWindow+1); got != 0 {
		t.Errorf("down later than that: %d flaps, want 0", got)
	}
}

// sample is one result of the history that the model below reads.
type sample struct {
	check   int
	verdict Verdict
	at      time.Time
}

// row returns the verdicts of one check without the neutral ones, with times.
func row(history []sample, check int) []sample {
	var out []sample
	for _, s := range history {
		if s.check == check && s.verdict != Neutral {
			out = append(out, s)
		}
	}
	return out
}

// trailing returns how many of the last results have verdict v.
func trailing(r []sample, v Verdict) int {
	n := 0
	for n < len(r) && r[len(r)-1-n].verdict == v {
		n++
	}
	return n
}

// modelCheck states the rule of a check in terms of its whole history: it is what
// the latest full row of fall failures or rise passes made it.
func modelCheck(r []sample, t thresholds) State {
	for end := len(r); end > 0; end-- {
		if trailing(r[:end], Fail) >= t.fall {
			return Down
		}
		if trailing(r[:end], Pass) >= t.rise {
			return Up
		}
	}
	return Unknown
}

// model decides from the whole history whether an endpoint that was (or was not)
// eligible still is.
type model struct {
	eligible     bool
	downAt, upAt time.Time
	flaps        int
}

func (m *model) step(history []sample, checks int, t thresholds, base time.Duration) {
	now := history[len(history)-1]
	if m.eligible {
		for c := range checks {
			if modelCheck(row(history, c), t) != Down {
				return
			}
		}
		if m.flaps++; m.upAt.IsZero() || now.at.Sub(m.upAt) > time.Hour {
			m.flaps = 0
		}
		m.eligible, m.downAt = false, now.at
		return
	}
	if now.verdict != Pass {
		return
	}
	hold := min(base<<min(m.flaps, 12), max(base, time.Hour))
	for c := range checks {
		r := row(history, c)
		n := trailing(r, Pass)
		if n < t.rise {
			continue
		}
		since := r[len(r)-n].at
		if since.Before(m.downAt) {
			since = m.downAt
		}
		if now.at.Sub(since) >= hold {
			m.eligible, m.upAt = true, now.at
			return
		}
	}
}

// TestMachineFollowsModel compares the machines with the model over random
// histories of one to three checks.
func TestMachineFollowsModel(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		th := thresholds{1 + rng.IntN(4), 1 + rng.IntN(4)}
		hold := time.Duration(rng.IntN(4)) * 7 * time.Minute
		checks := 1 + rng.IntN(3)
		states := make([]checkState, checks)
		var e endpointState
		m := model{eligible: true}
		var history []sample
		now, bad := epoch(), 0.5
		for i := range 300 {
			if rng.IntN(20) == 0 {
				bad = rng.Float64() // long good and long bad times
			}
			v := Pass
			switch x := rng.Float64(); {
			case x < 0.1:
				v = Neutral
			case x < 0.1+0.9*bad*bad:
				v = Fail
			}
			now = now.Add(time.Duration(rng.IntN(120)) * time.Second)
			s := sample{rng.IntN(checks), v, now}
			history = append(history, s)
			states[s.check] = states[s.check].step(Result{Verdict: v}, now, th)
			var all view
			for _, c := range states {
				all = all.add(c, th)
			}
			was := e
			var ev event
			e, ev = e.step(all, now, hold, causeOf(v))
			m.step(history, checks, th, hold)
			if got := states[s.check].state; got != modelCheck(row(history, s.check), th) {
				t.Fatalf("seed %d step %d: check is %v, the model says otherwise", seed, i, got)
			}
			if e.state.Eligible() != m.eligible || e.flaps != m.flaps {
				t.Fatalf("seed %d step %d: machine %+v, model %+v", seed, i, e, m)
			}
			if (ev == wentDown || ev == cameUp) != (was.state.Eligible() != e.state.Eligible()) || (ev == cameUp) && !e.state.Eligible() {
				t.Fatalf("seed %d step %d: event %v from %v to %v", seed, i, ev, was.state, e.state)
			}
			if (e.state == Recovering) && !e.passing || e.passing && e.state.Eligible() || all.failing == checks && e.passing {
				t.Fatalf("seed %d step %d: %v, passing %v, with %d of %d checks failing", seed, i, e.state, e.passing, all.failing, checks)
			}
			if was.passing && !e.passing && !e.state.Eligible() && all.failing < checks {
				t.Fatalf("seed %d step %d: it works no more with %d of %d checks failing", seed, i, all.failing, checks)
			}
			if ev == cameUp && now.Sub(e.downAt) < was.hold(hold) {
				t.Fatalf("seed %d step %d: up %v after going down, hold %v", seed, i, now.Sub(e.downAt), was.hold(hold))
			}
			if (e.state == Recovering) == e.eligibleAt.IsZero() {
				t.Fatalf("seed %d step %d: %v with eligibleAt %v", seed, i, e.state, e.eligibleAt)
			}
		}
	}
}
