package health

import (
	"fmt"
	"time"
)

const (
	// FlapWindow is how soon after a recovery going down again counts as a flap.
	FlapWindow = time.Hour
	// MaxRecoveryHold is where doubling stops.
	MaxRecoveryHold = time.Hour
)

// The two machines of this file are pure: state and input in, state out.
//
//	check:     Unknown --fall fails--> Down --rise passes--> Up --fall fails--> Down
//	           Unknown --rise passes-> Up
//	endpoint:  Unknown --a check up--> Up     (no event: it counted as up before)
//	           Unknown, Up --all checks down--> Down                  (event: down)
//	           Down --a check passes--> Recovering                    (no event)
//	           Recovering --the last row of passes ends--> Down       (no event)
//	           Recovering --a pass, and held long enough--> Up        (event: up)

// thresholds are the two counts of a check, both at least 1.
type thresholds struct{ fall, rise int }

// checkState is what is known of one check.
type checkState struct {
	state State
	since time.Time
	// passes and fails count equal verdicts in a row; one of them is zero. Neutral
	// ends no row and counts in none.
	passes, fails int
	runStart      time.Time // the first pass of the row; zero unless passes > 0
	last          Result
	lastAt        time.Time
	// certificate is the last one that was shown.
	certificate Certificate
	sight       sight
}

// step returns the state after result r came in at now.
func (c checkState) step(r Result, now time.Time, t thresholds) checkState {
	c.last, c.lastAt = r, now
	if !r.Certificate.NotAfter.IsZero() {
		c.certificate = r.Certificate
	}
	if r.Verdict == Pass && c.passes > 0 && c.sight.blind(t) {
		// Nobody has seen it work meanwhile, so that is no part of a recovery hold.
		c.runStart = c.runStart.Add(now.Sub(c.sight.since))
	}
	c.sight = c.sight.step(r, now)
	switch r.Verdict {
	case Neutral:
		return c
	case Pass:
		if c.passes == 0 {
			c.runStart = now
		}
		c.passes, c.fails = c.passes+1, 0
		if c.passes >= t.rise {
			return c.entered(Up, now)
		}
	default:
		c.passes, c.fails, c.runStart = 0, c.fails+1, time.Time{}
		if c.fails >= t.fall {
			return c.entered(Down, now)
		}
	}
	return c
}

func (c checkState) entered(s State, now time.Time) checkState {
	if c.state != s {
		c.state, c.since = s, now
	}
	return c
}

// view is what an endpoint sees of its checks.
type view struct {
	checks, down, up int
	failing          int // checks that have failed often enough in a row to be down
	// blind counts those that cannot be seen from here and are not down.
	blind int
	// passingSince is the start of the longest row of passes under way, and
	// risenSince that of the longest that has reached rise; zero without one.
	passingSince, risenSince time.Time
}

// add returns v with one more check seen.
func (v view) add(c checkState, t thresholds) view {
	v.checks++
	switch c.state {
	case Up:
		v.up++
	case Down:
		v.down++
	default:
	}
	if c.fails >= t.fall {
		v.failing++
	}
	if c.state != Down && c.sight.blind(t) {
		v.blind++
	}
	if c.passes > 0 {
		v.passingSince = earliest(v.passingSince, c.runStart)
	}
	if c.passes >= t.rise {
		v.risenSince = earliest(v.risenSince, c.runStart)
	}
	return v
}

// earliest returns the earlier of two times, of which a zero one is none.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// event is what a step of an endpoint did to its eligibility.
type event uint8

const (
	nothing event = iota
	wentDown
	cameUp
)

// endpointState is what is known of one endpoint.
type endpointState struct {
	state      State
	since      time.Time
	downAt     time.Time // when it last stopped being eligible; zero if never
	upAt       time.Time // when it last recovered; zero if never
	eligibleAt time.Time // zero unless Recovering
	flaps      int
	// passing is set while it is not eligible and works: from the first pass until all
	// checks fail as often in a row as it takes to go down. One that works now and then
	// is better than one that never does.
	passing bool
}

// newEndpointState returns the state of an endpoint seen for the first time. A
// record from the future, left by a clock that was set back, is taken for one of
// now: else no hold would end.
func newEndpointState(r Resume, now time.Time) endpointState {
	e := endpointState{since: now, downAt: r.DownAt, upAt: r.UpAt, flaps: max(r.Flaps, 0)}
	down := r.DownAt.After(r.UpAt)
	if e.downAt.After(now) {
		e.downAt = now
	}
	if e.upAt.After(now) {
		e.upAt = now
	}
	if down {
		e.state, e.since, e.passing = Down, e.downAt, r.Passing
	}
	return e
}

// cause is the result that an endpoint is stepped for.
type cause uint8

const (
	causeOther cause = iota // none that counts, or a new set of checks
	causePass
	causeFail
)

func causeOf(v Verdict) cause {
	switch v {
	case Pass:
		return causePass
	case Fail:
		return causeFail
	default:
		return causeOther
	}
}

// step returns the state when the checks look like v at now, because of a result: only
// a pass lets the endpoint come up.
func (e endpointState) step(v view, now time.Time, hold time.Duration, why cause) (endpointState, event) {
	if e.state.Eligible() {
		return e.stepEligible(v, now, why)
	}
	if v.checks == 0 {
		return e.recovered(now), cameUp
	}
	if v.passingSince.IsZero() {
		e.passing = e.passing && (v.failing == 0 || v.failing+v.blind < v.checks)
		return e.entered(Down, now), nothing
	}
	e.passing = true
	e = e.entered(Recovering, now)
	e.eligibleAt = e.heldSince(v.passingSince).Add(e.hold(hold))
	if why == causePass && !v.risenSince.IsZero() && !now.Before(e.heldSince(v.risenSince).Add(e.hold(hold))) {
		return e.recovered(now), cameUp
	}
	return e, nothing
}

func (e endpointState) stepEligible(v view, now time.Time, why cause) (endpointState, event) {
	// A check that cannot be seen from here keeps nothing up: on a machine without IPv6
	// the IPv6 address of a replica would else hide the death of its IPv4 address. But
	// it is a failure of another one that takes the endpoint down, never the fault here.
	seenDown := why == causeFail && v.down > 0 && v.down+v.blind == v.checks
	switch {
	case v.checks > 0 && v.down == v.checks, seenDown:
		if !e.upAt.IsZero() && now.Sub(e.upAt) <= FlapWindow {
			e.flaps++
		} else {
			e.flaps = 0
		}
		e.downAt = now
		return e.entered(Down, now), wentDown
	case v.checks == 0 || v.up > 0:
		return e.entered(Up, now), nothing
	}
	return e, nothing
}

// heldSince returns when the recovery hold of a row of passes that began at start
// began: a check that passed already while the endpoint went down, because it
// had not reached rise, gains nothing by it.
func (e endpointState) heldSince(start time.Time) time.Time { return latest(start, e.downAt) }

func (e endpointState) recovered(now time.Time) endpointState {
	e.upAt, e.passing = now, false
	return e.entered(Up, now)
}

func (e endpointState) entered(s State, now time.Time) endpointState {
	if e.state != s {
		e.state, e.since, e.eligibleAt = s, now, time.Time{}
	}
	return e
}

// hold returns the recovery hold in force when base is the configured one.
func (e endpointState) hold(base time.Duration) time.Duration {
	if base <= 0 {
		return 0
	}
	limit := max(base, MaxRecoveryHold)
	for range e.flaps {
		if base >= limit/2 {
			return limit
		}
		base *= 2
	}
	return base
}

// whyDown words the event wentDown: c is the check whose result decided it.
func whyDown(name string, v view, c checkState, t thresholds) string {
	why := fmt.Sprintf("%d of %d failed: %s", min(c.fails, t.fall), t.fall, c.last.Detail)
	switch {
	case v.blind > 0:
		return fmt.Sprintf("%d of %d checks are down, %d cannot be seen from here, the last is %s: %s", v.down, v.checks, v.blind, name, why)
	case v.checks > 1:
		return fmt.Sprintf("all %d checks are down, the last is %s: %s", v.checks, name, why)
	}
	return why
}

// whyUp words the event cameUp of an endpoint that was before, with v in sight.
func whyUp(before endpointState, v view, now time.Time) string {
	if v.checks == 0 {
		return "it is not probed any more"
	}
	return "healthy for " + now.Sub(before.heldSince(v.risenSince)).Round(time.Second).String()
}
