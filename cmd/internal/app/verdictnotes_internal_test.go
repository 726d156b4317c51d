package app

import (
	"testing"
	"time"

	"portolan.dev/config/ledger"
)

// What is noted is taken up unless the ledger has it already.
func TestNotedVerdictsThatAreKnown(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	event := func(kind ledger.Kind, after time.Duration) ledger.Event {
		return ledger.Event{Kind: kind, Endpoint: "e", DecidedAt: at.Add(after)}
	}
	down, up, passing := event(ledger.Down, 0), event(ledger.Up, time.Minute), event(ledger.Passing, time.Minute)
	again := event(ledger.Down, 2*time.Minute)
	for _, test := range []struct {
		name  string
		has   []ledger.Event
		e     ledger.Event
		known bool
	}{
		{"a death that is new", nil, down, false},
		{"a death that is written", []ledger.Event{down}, down, true},
		{"a death before it was up", []ledger.Event{down, up}, down, true},
		{"it is up", []ledger.Event{down}, up, false},
		{"it was up", []ledger.Event{down, up}, up, true},
		{"it died after it was up", []ledger.Event{down, up}, again, false},
		{"it works", []ledger.Event{down}, passing, false},
		{"it works, and its death is noted", nil, passing, false},
		{"that it works is written", []ledger.Event{down, passing}, passing, true},
		{"it died after it had worked", []ledger.Event{down, passing}, again, false},
		{"an order", nil, event(ledger.Drain, 0), true},
	} {
		var state ledger.State
		for i, e := range test.has {
			e.Seq = uint64(i) + 1
			state.Apply(e)
		}
		if got := known(&state, &test.e); got != test.known {
			t.Errorf("%s: known is %v", test.name, got)
		}
	}
}
