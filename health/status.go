package health

import "time"

// State is where an endpoint or a check stands.
type State uint8

// The states. A check is never Recovering.
const (
	Unknown    State = iota // not probed often enough to say; counts as up
	Up                      // works
	Down                    // failed
	Recovering              // down, passing again, and waiting for the recovery hold to end
)

// String returns "unknown", "up", "down" or "recovering".
func (s State) String() string {
	switch s {
	case Up:
		return "up"
	case Down:
		return "down"
	case Recovering:
		return "recovering"
	default:
		return "unknown"
	}
}

// Eligible says whether an endpoint in this state may be given to clients.
func (s State) Eligible() bool { return s == Unknown || s == Up }

// Status is where an endpoint stands, as operators see it.
type Status struct {
	Endpoint string // its Key
	State    State
	Since    time.Time // when it entered State
	// DownAt is when it last stopped being eligible, UpAt when it last recovered;
	// zero if never.
	DownAt, UpAt time.Time
	// Passing is set while it is not eligible and works: from its first pass until all
	// its checks have failed Fall times in a row.
	Passing bool
	// EligibleAt is, while Recovering, the earliest time it may be up; zero otherwise.
	EligibleAt time.Time
	// Flaps counts the times in a row that it went down within [FlapWindow] of a
	// recovery. Each doubles the recovery hold.
	Flaps int
	// UnseenSince is when the newest result came that says something of the endpoint,
	// or when probing began, if faults here have since kept all its checks from seeing
	// anything, each for as many probes as take it down; zero while one of them sees.
	// State stands as it was then, however long that lasts.
	UnseenSince time.Time
	// Certificate is the one that ends first of those that its checks have seen last; the
	// zero value for none.
	Certificate Certificate
	Last        Result    // the newest result of its checks, of those that fail if any does
	LastAt      time.Time // when that came; zero if none did
	Checks      []CheckStatus
}

// CheckStatus is where one check stands.
type CheckStatus struct {
	Key, Name, Address string
	State              State
	Since              time.Time // when it entered State
	Last               Result
	LastAt             time.Time // zero before the first result
	// Out is as in [Parts].
	Out bool
	// Passes and Fails count the results in a row; one of them is zero.
	Passes, Fails int
	NextAt        time.Time // when the next probe is due
}

// Stats are counters of the Monitor itself.
type Stats struct {
	Endpoints, Checks int
	Probing           int // probes under way within their timeout
	Overdue           int // probes that ignore their timeout and have not returned
	Waiting           int // checks that are due and wait for one of [Options.Concurrency]
	Probes            uint64
	// Late is the longest that a probe began after it was due, in the last minute
	// or two. Above 100 ms, detection takes longer than interval x fall + timeout.
	Late time.Duration
}
