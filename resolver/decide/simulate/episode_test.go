package main

import (
	"slices"
	"testing"

	"portolan.dev/resolver/decide"
)

// The episodes in what is published: where they begin and end, and what belongs to them.
func TestEpisodes(t *testing.T) {
	f := &faults{common: []span{{0, 300 * second}}, blips: []span{{9000 * second, 9060 * second}}}
	up := func(at moment, up decide.Mask) publication {
		return publication{at * second, decide.Masks{Routed: 0b1111, Up: up}}
	}
	routed := func(at moment, routed, up decide.Mask) publication {
		return publication{at * second, decide.Masks{Routed: routed, Up: up}}
	}
	for _, tt := range []struct {
		name string
		all  []publication
		want []episode
	}{
		{"none", []publication{up(1, 0b1110), up(2, 0b1100), up(3, 0b1000), up(600, 0b1111)}, nil},
		{
			"common",
			[]publication{up(1, 0b1110), up(5, 0b1000), up(20, 0), up(50, 0b1110), up(90, 0b1111), routed(95, 0b0111, 0b1111)},
			[]episode{{span{1, 90}, common, 20, []moment{1, 5, 20, 50, 90}, false}},
		},
		{
			"blip",
			[]publication{up(9010, 0b1110), up(9013, 0), up(9070, 0b1111)},
			[]episode{{span{9010, 9070}, blip, 9013, []moment{9010, 9013, 9070}, false}},
		},
		{
			"one was down long before", // its recovery is another event
			[]publication{up(10, 0b1110), up(100, 0b1000), up(110, 0), up(150, 0b0010), up(160, 0b0011), up(170, 0b1111)},
			[]episode{{span{100, 170}, common, 110, []moment{100, 110, 150, 170}, true}},
		},
		{
			"a drain meanwhile",
			[]publication{up(1, 0b1110), routed(3, 0b0111, 0b1110), routed(20, 0b0111, 0b1000), routed(50, 0b0111, 0b1111)},
			[]episode{{span{1, 50}, common, 20, []moment{1, 20, 50}, true}},
		},
		{
			"a drained one goes down too",
			[]publication{routed(0, 0b1110, 0b1111), routed(15, 0b1110, 0b1110), routed(20, 0b1110, 0b1000), routed(40, 0b1110, 0), routed(50, 0b1110, 0b1110)},
			[]episode{{span{20, 50}, common, 40, []moment{15, 20, 40, 50}, false}},
		},
		{
			"a drained one goes down meanwhile",
			[]publication{routed(0, 0b1110, 0b1111), routed(15, 0b1110, 0b1101), routed(20, 0b1110, 0b1100), routed(40, 0b1110, 0), routed(50, 0b1110, 0b1110)},
			[]episode{{span{15, 50}, common, 40, []moment{15, 20, 40, 50}, false}},
		},
		{
			"by a drain, long after the deaths",
			[]publication{up(1000, 0b1000), routed(2000, 0b0111, 0b1000), routed(2300, 0b0111, 0b1111)},
			[]episode{{span{2000, 2300}, chance, 2000, []moment{2000, 2300}, false}},
		},
		{
			"one is back before the last goes",
			[]publication{up(1, 0b1000), up(20, 0b0001), up(50, 0b1111)},
			[]episode{{span{1, 50}, common, 20, []moment{1, 20, 50}, false}},
		},
		{
			"one stays down", // and comes back as from any failure
			[]publication{up(1, 0b1000), up(20, 0), up(50, 0b0111), up(2000, 0b1111)},
			[]episode{{span{1, 650}, common, 20, []moment{1, 20, 50}, false}},
		},
		{
			"again before all are back",
			[]publication{up(3, 0), up(50, 0b0111), up(100, 0b0001), up(110, 0), up(150, 0b1111)},
			[]episode{
				{span{3, 100}, common, 3, []moment{3, 50}, true},
				{span{100, 150}, common, 110, []moment{100, 110, 150}, false},
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for i := range tt.want {
				e := &tt.want[i]
				e.from, e.to, e.all = e.from*second, e.to*second, e.all*second
				for j := range e.turns {
					e.turns[j] *= second
				}
			}
			same := func(a, b episode) bool {
				return a.span == b.span && a.cause == b.cause && a.all == b.all && a.disturbed == b.disturbed && slices.Equal(a.turns, b.turns)
			}
			if got := f.episodes(tt.all); !slices.EqualFunc(got, tt.want, same) {
				t.Errorf("got  %v\nwant %v", got, tt.want)
			}
		})
	}
}
