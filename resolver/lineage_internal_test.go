package resolver

import (
	"testing"

	"portolan.dev/geo"
)

// Units of versions that told sites apart by their names never said whether they speak
// for all clients of an asker.
func TestUnitsByNameSpeakForNobodyElse(t *testing.T) {
	for _, tt := range []struct {
		p    Partition
		want uint64
	}{{Partition{}, ofAll}, {Partition{ECS: true}, 0}, {Partition{ByName: true}, 0}} {
		if got := tt.p.asked(); got != tt.want {
			t.Errorf("%+v: %x, want %x", tt.p, got, tt.want)
		}
	}
}

// Clients of other networks, or who changed at other moments, have other names: networks
// and seconds are numbered one after the other.
func TestNamesOfLineagesDiffer(t *testing.T) {
	seen := make(map[geo.Unit][3]uint64)
	for _, shift := range []int{0, 16, 48} { // IPv4, and IPv6 by /64 to /48
		for network := range uint64(60) {
			for second := range uint32(60) {
				for next := range uint64(3) {
					u := follow(geo.Unit{Hi: (655_360 + network) << shift, Lo: 1}, 1_800_000_000+second, geo.Unit{Hi: 8_323_072 + next, Lo: 1})
					is := [3]uint64{network<<8 | uint64(shift), uint64(second), next}
					if was, taken := seen[u]; taken && (network != 0 || is != was) {
						t.Fatalf("%v and %v have one name", was, is)
					}
					seen[u] = is
				}
			}
		}
	}
}
