package resolver_test

import (
	"testing"
	"time"

	"github.com/miekg/dns"

	"portolan.dev/resolver"
)

// A client whose replica dies is told of once, with the replica before and after; and
// an answer does not wait for who is told.
func TestAMoveIsTold(t *testing.T) {
	s := newServer(t, contoso)
	moves := make(chan resolver.Move, 1)
	s.s.Moves = moves
	registry := 0
	for s.s.Registries[registry].Key != "atapex" {
		registry++
	}
	msg, err := question("own.example.", dns.TypeA, seattle).Pack()
	if err != nil {
		t.Fatal(err)
	}
	ask := func(at int64) { s.udp.Answer(nil, msg, loopback, at) }
	now := clock.Unix()
	ask(now)
	if len(moves) != 0 {
		t.Fatalf("told of the first answer: %+v", <-moves)
	}
	westus, westeurope := s.region("westus"), s.region("westeurope")
	s.s.SetUp(registry, westus, false, clock)
	ask(now + 1)
	got := <-moves
	if got.Before != s.s.Stable[westus] || got.After != s.s.Stable[westeurope] || got.At != now+1 {
		t.Errorf("told %+v, want from %d to %d at %d", got, s.s.Stable[westus], s.s.Stable[westeurope], now+1)
	}
	ask(now + 2)
	if len(moves) != 0 {
		t.Errorf("told again: %+v", <-moves)
	}
	moves <- resolver.Move{} // nobody takes them
	s.s.SetUp(registry, westus, true, clock.Add(2*time.Second))
	s.s.SetUp(registry, westeurope, false, clock.Add(3*time.Second))
	ask(now + 4)
}

func (s *server) region(label string) uint8 {
	s.t.Helper()
	for i := range s.s.Regions {
		if s.s.Regions[i].Label == label {
			return uint8(i)
		}
	}
	s.t.Fatalf("no region %s", label)
	return 0
}

// What was counted is still there when a snapshot brings more replicas.
func TestCountsOutliveGrowth(t *testing.T) {
	s := newServer(t, contoso)
	s.q("myregistry.example.io.", dns.TypeA, seattle)
	sums := func() (answers uint64, last int64) {
		totals := s.resolver.Totals()
		for i, n := range totals.Answers {
			answers, last = answers+n, max(last, totals.LastAnswer[i])
		}
		return answers, last
	}
	if n, last := sums(); n != 1 || last != clock.Unix() {
		t.Fatalf("%d answers, the last at %d", n, last)
	}
	s.resolver.Reserve(10_000)
	if n, last := sums(); n != 1 || last != clock.Unix() {
		t.Errorf("%d answers, the last at %d, after growing", n, last)
	}
}
