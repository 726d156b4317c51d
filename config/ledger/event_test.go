package ledger

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestNormalized(t *testing.T) {
	now := time.Now()
	got, err := Event{Kind: Start}.normalized(now)
	if err != nil {
		t.Fatal(err)
	}
	if !got.DecidedAt.Equal(now) || !got.EffectiveAt.Equal(now) {
		t.Errorf("times are %v and %v, want %v", got.DecidedAt, got.EffectiveAt, now)
	}
	if !got.Deadline.IsZero() || !got.Until.IsZero() {
		t.Errorf("%v %v, want none", got.Deadline, got.Until)
	}
}

func TestTextsAreCutAtRunes(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"as it is", strings.Repeat("a", MaxText), strings.Repeat("a", MaxText)},
		{"one too many", strings.Repeat("a", MaxText+1), strings.Repeat("a", MaxText-3) + "…"},
		{"within a rune", strings.Repeat("é", MaxText), strings.Repeat("é", (MaxText-3)/2) + "…"},
		{"not UTF-8", "a\xff\xfeb", "a\uFFFDb"},
		{"not UTF-8 and long", strings.Repeat("a\xff", MaxText), strings.Repeat("a\uFFFD", (MaxText-3)/4) + "a…"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e, err := Event{Kind: Start, By: tc.in, Why: tc.in, Detail: tc.in}.normalized(time.Now())
			if err != nil {
				t.Fatal(err)
			}
			for _, got := range []string{e.By, e.Why, e.Detail} {
				if got != tc.want || len(got) > MaxText || !utf8.ValidString(got) {
					t.Errorf("got %d bytes %.20q…%q", len(got), got, got[max(0, len(got)-9):])
				}
			}
		})
	}
}

func TestInvalidEventsAreRefused(t *testing.T) {
	f := mustOpen(t, tempPath(t), Options{})
	far := time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name string
		e    Event
		says string
	}{
		{"no kind", Event{}, "without a kind"},
		{"down of nothing", Event{Kind: Down}, "without an endpoint"},
		{"up of nothing", Event{Kind: Up, Registry: "r", Region: "x"}, "without an endpoint"},
		{"drain of a registry", Event{Kind: Drain, Registry: "r"}, "without registry and region"},
		{"routing of a region", Event{Kind: Routing, Region: "x"}, "without registry and region"},
		{"long name", Event{Kind: Down, Endpoint: strings.Repeat("e", MaxName+1)}, "1025 bytes"},
		{"NUL", Event{Kind: Drain, Registry: "r\x00", Region: "x"}, "NUL"},
		{"not UTF-8", Event{Kind: Kind("\xff")}, "UTF-8"},
		{"far away", Event{Kind: Drain, Registry: "r", Region: "x", Until: far}, "year 10000"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := f.Append(t.Context(), 0, Event{Kind: Start}, tc.e)
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %v, want ErrInvalid that says %q", err, tc.says)
			}
		})
	}
	if _, err := f.Append(t.Context(), 0, make([]Event, MaxAppend+1)...); !errors.Is(err, ErrInvalid) {
		t.Errorf("too many events: %v", err)
	}
	if s := mustState(t, f); s.Seq != 0 {
		t.Errorf("%d events stored, want all or nothing", s.Seq)
	}
}

// The worst that may be stored fits the bound that is demanded when it is read.
func TestLargestEventReadsBack(t *testing.T) {
	f := mustOpen(t, tempPath(t), Options{})
	name, text := strings.Repeat("\x01", MaxName), strings.Repeat("<", MaxText)
	want := mustAppend(t, f, Event{Kind: Drain, Registry: name, Region: name, Endpoint: name, By: text, Why: text, Detail: text})
	got, err := f.Events(t.Context(), 1, 1)
	if err != nil || len(got) != 1 || got[0] != want[0] {
		t.Fatalf("got %d events, %v", len(got), err)
	}
}
