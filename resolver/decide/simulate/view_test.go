package main

import (
	"slices"
	"testing"

	"portolan.dev/resolver/decide"
)

// commonFlips are the news of an outage of all replicas for some twenty seconds, which
// for the first goes on until the hundredth.
func commonFlips() []flip {
	flips := make([]flip, 0, 3*replicas)
	for r := range uint8(replicas) {
		flips = append(flips, flip{(1 + moment(r)) * second, r, wentDown})
	}
	for r := uint8(1); r < replicas; r++ {
		flips = append(flips, flip{(19 + moment(r)) * second, r, passes})
	}
	flips = append(flips, flip{100 * second, 0, passes})
	for r := uint8(1); r < replicas; r++ {
		flips = append(flips, flip{(619 + moment(r)) * second, r, cameUp})
	}
	return append(flips, flip{700 * second, 0, cameUp})
}

// What a name server publishes of a common outage, with the rule for it and without.
func TestViews(t *testing.T) {
	m := func(at moment, up, resort decide.Mask) publication {
		return publication{at * second, decide.Masks{Routed: 0b1111, Up: up, Resort: resort}}
	}
	entering := []publication{m(1, 0b1110, 0), m(2, 0b1100, 0), m(3, 0b1000, 0), m(4, 0, 0)}
	for name, tt := range map[string]struct {
		outages bool
		want    []publication
	}{
		"rule":    {true, []publication{m(27, 0b1110, 0), m(100, 0b1111, 0)}},
		"no rule": {false, []publication{m(620, 0b0010, 0), m(621, 0b0110, 0), m(622, 0b1110, 0), m(700, 0b1111, 0)}},
	} {
		t.Run(name, func(t *testing.T) {
			v := newView(commonFlips(), tt.outages)
			if got, want := publications(v), slices.Concat(entering, tt.want); !slices.Equal(got, want) {
				t.Errorf("got  %v\nwant %v", got, want)
			}
			if v.outage != nil || v.next() != never {
				t.Errorf("not over: %+v", v.outage)
			}
			all, _ := v.history.All()
			if free := all[len(all)-1].Free; free != tt.outages {
				t.Errorf("free: %v", free)
			}
			if died := v.history.Down(1); died == unix(2*second) == tt.outages {
				t.Errorf("died at %d", died)
			}
		})
	}
}

func TestAViewOfDrains(t *testing.T) {
	v := newView([]flip{{second, 2, drains}, {2 * second, 1, wentDown}, {3 * second, 2, undrains}}, true)
	want := []publication{
		{second, decide.Masks{Routed: 0b1011, Up: 0b1111}},
		{2 * second, decide.Masks{Routed: 0b1011, Up: 0b1101}},
		{3 * second, decide.Masks{Routed: 0b1111, Up: 0b1101}},
	}
	if got := publications(v); !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}
