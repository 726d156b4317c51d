package decide

import (
	"math/rand/v2"
	"testing"
)

func TestChoose(t *testing.T) {
	rank := []uint8{2, 0, 1}
	for _, tt := range []struct {
		name    string
		masks   Masks
		policy  AllDownPolicy
		region  uint8
		outcome Outcome
	}{
		{"nearest", Masks{Routed: 0b111, Up: 0b111}, ServeNearest, 2, Nearest},
		{"nearest is down", Masks{Routed: 0b111, Up: 0b011}, ServeNearest, 0, Nearest},
		{"nearest is not routed", Masks{Routed: 0b011, Up: 0b111}, ServeNearest, 0, Nearest},
		{"up but not routed does not count", Masks{Routed: 0b010, Up: 0b101}, ServeNearest, 1, AllDown},
		{"all down", Masks{Routed: 0b111, Up: 0}, ServeNearest, 2, AllDown},
		{"all down, nothing served", Masks{Routed: 0b111, Up: 0}, ServeNothing, 0, NoneUp},
		{"all down but one that works", Masks{Routed: 0b111, Resort: 0b010}, ServeNearest, 1, LastResort},
		{"what works is served even so", Masks{Routed: 0b111, Resort: 0b010}, ServeNothing, 1, LastResort},
		{"a last resort need not be routed", Masks{Routed: 0b011, Up: 0b100, Resort: 0b100}, ServeNearest, 2, LastResort},
		{"one that is up goes first", Masks{Routed: 0b111, Up: 0b001, Resort: 0b110}, ServeNearest, 0, Nearest},
		{"without routing there is no last resort", Masks{Up: 0b111, Resort: 0b111}, ServeNearest, 0, NoneRouted},
		{"none routed", Masks{Routed: 0, Up: 0b111}, ServeNearest, 0, NoneRouted},
		{"none routed wins over the policy", Masks{Routed: 0, Up: 0}, ServeNothing, 0, NoneRouted},
	} {
		t.Run(tt.name, func(t *testing.T) {
			region, outcome := Choose(rank, tt.masks, tt.policy)
			if outcome != tt.outcome || outcome <= AllDown && region != tt.region {
				t.Errorf("region %d outcome %d, want %d, %d", region, outcome, tt.region, tt.outcome)
			}
		})
	}
}

// Removing a replica that is not the answer never changes the answer, and the
// answer is always a candidate: what keeps one registry's event from moving
// clients it does not concern.
func TestOnlyTheLossOfTheAnswerMoves(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		rank := make([]uint8, 1+rng.IntN(MaxRegions))
		for i, r := range rng.Perm(len(rank)) {
			rank[i] = uint8(r)
		}
		all := ^Mask(0) >> (MaxRegions - len(rank))
		m := Masks{Routed: Mask(rng.Uint64()) & all, Up: Mask(rng.Uint64()) & all}
		region, outcome := Choose(rank, m, ServeNearest)
		if outcome != Nearest {
			continue
		}
		if !(m.Routed & m.Up).Has(region) {
			t.Fatalf("region %d is not in %b & %b", region, m.Routed, m.Up)
		}
		other := uint8(rng.IntN(len(rank)))
		if other == region {
			continue
		}
		if again, _ := Choose(rank, Masks{Routed: m.Routed, Up: m.Up.With(other, false)}, ServeNearest); again != region {
			t.Fatalf("the loss of region %d moved the answer from %d to %d", other, region, again)
		}
	}
}

func TestPosition(t *testing.T) {
	m := Mask(0b1011_0000)
	for region, want := range map[uint8]int{4: 0, 5: 1, 7: 2} {
		if got := m.Position(region); got != want {
			t.Errorf("region %d is at %d, want %d", region, got, want)
		}
	}
}

func BenchmarkChoose(b *testing.B) {
	rank := make([]uint8, 60)
	for i := range rank {
		rank[i] = uint8(i)
	}
	m := Masks{Routed: 1<<15 | 1<<40, Up: ^Mask(0)}
	for b.Loop() {
		Choose(rank, m, ServeNearest)
	}
}

func TestLastResort(t *testing.T) {
	for _, tc := range []struct {
		m    Masks
		want Mask
	}{
		{m: Masks{Routed: 3, Up: 1, Resort: 2}},
		{m: Masks{Routed: 3, Up: 4, Resort: 2}, want: 2},
		{m: Masks{Routed: 3}},
		{m: Masks{Up: 1, Resort: 2}},
	} {
		if got := tc.m.LastResort(); got != tc.want {
			t.Errorf("%+v: %b, want %b", tc.m, got, tc.want)
		}
	}
}
