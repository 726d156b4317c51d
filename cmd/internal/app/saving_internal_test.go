package app

import (
	"testing"
	"time"

	"portolan.dev/resolver/decide"
)

// Without shared memory the table is saved every second or so, but never for more than
// a small part of the time; with it, now and then.
func TestPaceOfSaving(t *testing.T) {
	var shared, alone saving
	alone.unshared("a test")
	for took, want := range map[time.Duration]time.Duration{
		0: time.Second, 10 * time.Millisecond: time.Second, 100 * time.Millisecond: 5 * time.Second, time.Hour: saveEvery,
	} {
		if got := alone.next(took); got != want || alone.risk().Seconds != want.Seconds() || alone.risk().Reason != "a test" {
			t.Errorf("after %v: %v, %+v, want %v", took, got, alone.risk(), want)
		}
		if got := shared.next(took); got != saveEvery || shared.risk() != nil {
			t.Errorf("with shared memory, after %v: %v, %+v", took, got, shared.risk())
		}
	}
}

// A table is saved when it has changed in what the next process needs, and else now and
// then.
func TestWhatIsSaved(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	seen := uint32(now.Unix())
	table := func(units ...decide.Entry) *decide.Holds {
		holds := decide.NewHolds(1000)
		for i, e := range units {
			holds.Put(decide.Key(i+1), e)
		}
		return holds
	}
	one := decide.Entry{Region: 1, LastSeen: seen}
	again, later, elsewhere, held, renewed := one, one, one, one, one
	again.LastSeen++
	later.LastSeen += uint32(saveEvery / time.Second)
	elsewhere.Region = 2
	held.Until = seen + 900
	renewed.Renewals = 1
	var s saving
	s.unshared("a test")
	for i, step := range []struct {
		what  string
		table *decide.Holds
		after time.Duration
		want  bool
	}{
		{"at first", table(), 0, true},
		{"nothing", table(), time.Second, false},
		{"a new unit", table(one), time.Second, true},
		{"seen again", table(again), time.Second, false},
		{"led elsewhere", table(elsewhere), time.Second, true},
		{"held", table(held), time.Second, true},
		{"renewed", table(renewed), time.Second, true},
		{"another unit", table(renewed, one), time.Second, true},
		{"gone", table(renewed), time.Second, true},
		{"seen much later", table(later), time.Second, true},
		{"nothing for long", table(later), saveEvery, true},
	} {
		now = now.Add(step.after)
		if got := s.due(step.table, now); got != step.want {
			t.Errorf("step %d, %s: %v", i, step.what, got)
		}
	}
	holds := table(one)
	shared := new(saving)
	for range 2 {
		if !shared.due(holds, now) {
			t.Error("with shared memory the table is saved each time")
		}
	}
}

func BenchmarkTableDigest(b *testing.B) {
	holds := decide.NewHolds(activitySize)
	for i := range uint64(activitySize) {
		holds.Put(decide.Key(i*0x9e3779b97f4a7c15|1), decide.Entry{Region: 1, LastSeen: uint32(i)})
	}
	for b.Loop() {
		tableDigest(holds)
	}
}
