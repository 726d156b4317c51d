package app

import (
	"testing"
	"time"

	"portolan.dev/cmd/internal/availability"
	"portolan.dev/resolver/decide"
)

// A drained replica may have been answered until the last outage was over, although no
// hold led there any more, and a process that has just started counted no answer.
func TestAnOutageIsWhenADrainedReplicaMayBeGiven(t *testing.T) {
	begin := noon()
	now := begin.Add(30 * time.Minute)
	none, some := decide.Masks{Routed: 6}, decide.Masks{Routed: 6, Up: 4}
	ended := begin.Add(20*time.Minute + availability.PublishedBy)
	for _, tc := range []struct {
		name    string
		changes []decide.Masks // ten minutes apart
		want    time.Time
	}{
		{"nothing has changed", nil, time.Time{}},
		{"one was down", []decide.Masks{some, {Routed: 6, Up: 6}}, time.Time{}},
		{"all were down", []decide.Masks{some, none, some}, ended},
		{"all were out by order", []decide.Masks{some, {Up: 6}, some}, time.Time{}},
		{"all are down", []decide.Masks{some, none}, now},
	} {
		var h decide.History
		for i, m := range tc.changes {
			h.Note(decide.Change{At: uint32(begin.Add(time.Duration(i) * 10 * time.Minute).Unix()), Masks: m}, false)
		}
		got := lastOutage(&h, now)
		if !got.Equal(tc.want) {
			t.Errorf("%s: until %v, want %v", tc.name, got, tc.want)
		}
		d := &availability.Drain{EffectiveAt: begin, HoldsEnd: begin.Add(time.Minute)}
		if want := latest(tc.want, d.HoldsEnd); !lastPossible(d, got).Equal(want) {
			t.Errorf("%s: given until %v, want %v", tc.name, lastPossible(d, got), want)
		}
	}
}
