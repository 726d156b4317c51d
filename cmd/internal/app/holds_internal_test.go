package app

import (
	"testing"

	"portolan.dev/resolver/decide"
)

// What is saved is read again, and so is what a version wrote that knew only whether a
// unit had been met in two different seconds: it keeps its way.
func TestSavedUnits(t *testing.T) {
	key := decide.NewKey(1, 7, 2, 3)
	read := func(units []byte) (e decide.Entry) {
		t.Helper()
		n := 0
		(&savedHolds{units: units}).each(func(k decide.Key, got decide.Entry) {
			if k != key {
				t.Errorf("unit %x, want %x", k, key)
			}
			e = got
			n++
		})
		if n != 1 {
			t.Errorf("%d units, want 1", n)
		}
		return e
	}
	for _, standing := range []decide.Standing{decide.Newcomer, decide.Returned, decide.Qualified} {
		want := decide.Entry{LastSeen: 1_800_000_000, Until: 1_800_000_900, Region: 63, Renewals: 15, Standing: standing}
		units := appendUnit(nil, key, want)
		if got := read(units); got != want || len(units) != unitSize {
			t.Errorf("%+v is read from %d octets as %+v", want, len(units), got)
		}
	}
	for last, want := range map[byte]decide.Standing{0: decide.Newcomer, 1: decide.Qualified} {
		units := appendUnit(nil, key, decide.Entry{LastSeen: 1_800_000_000})
		units[unitSize-1] = last
		if got := read(units).Standing; got != want {
			t.Errorf("the older version's %d is read as standing %d, want %d", last, got, want)
		}
	}
}
