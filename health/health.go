package health

import (
	"context"
	"time"
)

// Verdict is what one probe says of its target.
type Verdict uint8

// The verdicts. The zero value is Fail: a Result nobody filled in is no success.
const (
	Fail    Verdict = iota // the target does not work
	Pass                   // the target works
	Neutral                // says nothing either way, as an answer 429 does
)

// String returns "fail", "pass" or "neutral".
func (v Verdict) String() string {
	switch v {
	case Pass:
		return "pass"
	case Neutral:
		return "neutral"
	default:
		return "fail"
	}
}

// Result is the outcome of one probe.
type Result struct {
	Verdict Verdict
	// Fault says where the trouble is, of a verdict that is not Pass. One that is
	// Local never counts against the target, and one without an answer does not
	// while the prober is impaired.
	Fault Fault
	// Detail is what an operator reads: "503 Service Unavailable", "connect:
	// connection refused". Short, printable ASCII, no line ends.
	Detail string
	// Certificate is what the target has shown over TLS; the zero value for none.
	Certificate Certificate
	// Took is the time from the start of the probe to its verdict. The Monitor
	// sets it; a Prober may leave it zero.
	Took time.Duration
}

// Certificate says how long what a target has shown is valid.
type Certificate struct{ NotBefore, NotAfter time.Time }

// soon is how long before its end a certificate should have been renewed.
const soon = 14 * 24 * time.Hour

// EndsSoon reports whether a certificate ends within two weeks, or within a quarter of its
// life if that is less: those that live for days are renewed late.
func (c Certificate) EndsSoon(now time.Time) bool {
	return !c.NotAfter.IsZero() && c.NotAfter.Sub(now) < min(soon, c.NotAfter.Sub(c.NotBefore)/4)
}

// Prober looks at one target once.
//
// Probe must return soon after ctx is done (its deadline is the timeout of the
// check), keep nothing open or running afterwards, and bound what it reads: the
// target may be hostile. It is never called twice at once for one check, but
// several checks may hold the same Prober. One that ignores ctx is counted as
// failed at the deadline and not called again until it has returned.
type Prober interface {
	Probe(ctx context.Context) Result
}

// Check is one thing to probe. Zero thresholds count as 1. Interval must be
// positive; a Timeout that is zero or longer than Interval is cut to it, because
// a check has one probe under way at most.
type Check struct {
	// Key is the identity of what is probed. Checks of one [Monitor.Set] with the
	// same key, cadence and thresholds are probed once, however many endpoints
	// have them; a later Set that has the key again goes on from what is known.
	Key string
	// Name is what an operator reads: "registry 192.0.2.10:443", and Address its last
	// part, which is dialed.
	Name, Address string
	Prober        Prober
	Interval      time.Duration // from start to start
	Timeout       time.Duration
	Fall          int // failures in a row after which the check is down
	Rise          int // passes in a row after which it is up
}

// Endpoint is what goes up and down: a replica.
type Endpoint struct {
	// Key is its identity across calls of [Monitor.Set].
	Key string
	// Checks keep it up as long as one of them is; without any it is always up.
	Checks []Check
	// RecoveryHold is how long a check must have passed without a failure, after
	// the endpoint went down, before it is up again. It doubles with each flap (going
	// down within [FlapWindow] of a recovery), up to [MaxRecoveryHold] or
	// itself if that is longer. 0 means up as soon as a check is.
	RecoveryHold time.Duration
	// Resume is what a durable record says of an endpoint this Monitor has not seen
	// yet, so that a restart brings nobody back too early. The zero value is an
	// endpoint nothing is known about.
	Resume Resume
}

// Resume is the part of the state of an endpoint that outlives the process.
type Resume struct {
	DownAt time.Time // when it went down; zero if it is up or was never seen
	UpAt   time.Time // when it last recovered; zero if never
	Flaps  int       // as in [Status]
	// Passing is as in [Status], for an endpoint that is down: it is taken for working
	// until its checks say otherwise.
	Passing bool
}

// Change says that an endpoint went down or came back, or what is to be known of one
// that is out: whether it works, and when it may be back. There is none when an
// endpoint is first seen to be up, because it counted as up before.
type Change struct {
	Endpoint string // its Key
	// State is where the endpoint stands from At on: Down, Recovering or Up.
	State State
	// Was is where it stood before.
	Was State
	// Passing is set for an endpoint that is out and works, as in [Status].
	Passing bool
	At      time.Time
	// EligibleAt is, in state Recovering, when it may be up at the earliest.
	EligibleAt time.Time
	Reason     string // "3 of 3 failed: 503 Service Unavailable", "healthy for 10m0s"
	Flaps      int    // as in [Status], after the change
}
