package resolver

import "testing"

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
