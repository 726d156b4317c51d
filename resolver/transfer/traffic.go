package transfer

import "sync/atomic"

// Outcome is what became of a request for a zone.
type Outcome uint8

// The outcomes of requests.
const (
	Sent         Outcome = iota // the whole zone
	Current                     // the SOA record alone: the secondary has that serial (IXFR)
	Refused                     // no such zone, not for this address, or not with this key
	BadSignature                // a TSIG record that does not hold
	Busy                        // as many transfers as may run were running
	Aborted                     // the secondary went away, or was too slow
	Outcomes
)

// String returns the outcome as a word, for labels.
func (o Outcome) String() string {
	return [Outcomes]string{"sent", "current", "refused", "bad_signature", "busy", "aborted"}[o]
}

// Traffic counts transfers, and bounds how many run at a time. One outlives the sets
// that it is shared by. The zero value is ready; it is safe for concurrent use.
type Traffic struct {
	requests [Outcomes]atomic.Uint64
	octets   atomic.Uint64
	running  atomic.Int64
}

// Totals are what a [Traffic] has counted.
type Totals struct {
	// Requests counts those that have come to their end, by outcome.
	Requests [Outcomes]uint64
	// Octets counts those of messages sent, without their length prefixes.
	Octets uint64
	// Running is how many transfers are under way.
	Running int
}

// Totals returns what has been counted.
func (t *Traffic) Totals() Totals {
	out := Totals{Octets: t.octets.Load(), Running: int(t.running.Load())}
	for i := range t.requests {
		out.Requests[i] = t.requests[i].Load()
	}
	return out
}

// begin takes the place of one transfer, of most; false if all are taken.
func (t *Traffic) begin(most int) bool {
	if t.running.Add(1) > int64(most) {
		t.end()
		return false
	}
	return true
}

// end gives the place back.
func (t *Traffic) end() { t.running.Add(-1) }
