package ledger

import (
	"testing"
	"time"
)

func TestApply(t *testing.T) {
	on, off := true, false
	at := func(minute int) time.Time { return time.Date(2026, 3, 1, 12, minute, 0, 0, time.UTC) }
	who := Subject{"myregistry", "eastus"}
	drain := func(why string) Event {
		return Event{Kind: Drain, Registry: who.Registry, Region: who.Region, Why: why}
	}
	undrain := Event{Kind: Undrain, Registry: who.Registry, Region: who.Region}
	routing := func(v *bool) Event {
		return Event{Kind: Routing, Registry: who.Registry, Region: who.Region, Routing: v}
	}
	down := func(m, flaps int) Event { return Event{Kind: Down, Endpoint: "e", DecidedAt: at(m), Flaps: flaps} }
	up := func(m int) Event {
		return Event{Kind: Up, Endpoint: "e", DecidedAt: at(m), EffectiveAt: at(m + 5)}
	}
	numbered := func(e Event, seq uint64) *Event { e.Seq = seq; return &e }
	effective := func(of uint64) Event {
		return Event{Kind: Effective, Registry: who.Registry, Region: who.Region, Of: of}
	}
	inForce := func(e Event, seq uint64) *Event { e.Seq, e.InForce = seq, true; return &e }
	replica := func(r ReplicaState) State { return State{Replicas: map[Subject]ReplicaState{who: r}} }
	health := func(h HealthState) State { return State{Health: map[string]HealthState{"e": h}} }

	for _, tc := range []struct {
		name   string
		events []Event
		want   State // but for Seq
	}{
		{"nothing", nil, State{}},
		{"drain", []Event{drain("")}, replica(ReplicaState{Drain: numbered(drain(""), 1)})},
		{"a later drain replaces the first", []Event{drain("a"), drain("b")}, replica(ReplicaState{Drain: numbered(drain("b"), 2)})},
		{"undrain removes it", []Event{drain("a"), undrain}, State{}},
		{"undrain of what is not drained", []Event{undrain}, State{}},
		{"drain after undrain", []Event{drain("a"), undrain, drain("b")}, replica(ReplicaState{Drain: numbered(drain("b"), 3)})},
		{
			"an end that is past is not looked at",
			[]Event{{Kind: Drain, Registry: "myregistry", Region: "eastus", Until: at(0).Add(-24 * time.Hour)}, {Kind: Start, DecidedAt: at(0)}},
			replica(ReplicaState{Drain: &Event{Seq: 1, Kind: Drain, Registry: "myregistry", Region: "eastus", Until: at(0).Add(-24 * time.Hour)}}),
		},
		{"routing off", []Event{routing(&off)}, replica(ReplicaState{Routing: numbered(routing(&off), 1)})},
		{"the later routing wins", []Event{routing(&off), routing(&on)}, replica(ReplicaState{Routing: numbered(routing(&on), 2)})},
		{"routing back to the configuration", []Event{routing(&off), routing(nil)}, State{}},
		{"routing and drain are apart", []Event{routing(&off), drain("a"), undrain}, replica(ReplicaState{Routing: numbered(routing(&off), 1)})},
		{"routing reset leaves the drain", []Event{routing(&off), drain("a"), routing(nil)}, replica(ReplicaState{Drain: numbered(drain("a"), 2)})},
		{"down", []Event{down(1, 0)}, health(HealthState{Down: numbered(down(1, 0), 1), Seq: 1})},
		{"down since the first", []Event{down(1, 0), down(2, 3)}, health(HealthState{Down: numbered(down(1, 0), 1), Flaps: 3, Seq: 2})},
		{"up when decided", []Event{down(1, 0), up(11)}, health(HealthState{UpAt: at(11), Seq: 2})},
		{
			"down again remembers the recovery",
			[]Event{down(1, 0), up(11), down(12, 1)},
			health(HealthState{Down: numbered(down(12, 1), 3), UpAt: at(11), Flaps: 1, Seq: 3}),
		},
		{
			"down and passing",
			[]Event{down(1, 0), {Kind: Passing, Endpoint: "e"}},
			health(HealthState{Down: numbered(down(1, 0), 1), Seq: 1, Passing: true}),
		},
		{"passing ends with down", []Event{down(1, 0), {Kind: Passing, Endpoint: "e"}, down(2, 0)}, health(HealthState{Down: numbered(down(1, 0), 1), Seq: 3})},
		{"passing ends with up", []Event{down(1, 0), {Kind: Passing, Endpoint: "e"}, up(11)}, health(HealthState{UpAt: at(11), Seq: 3})},
		{"what is up does not begin to pass", []Event{{Kind: Passing, Endpoint: "e"}}, State{}},
		{"a drain in force", []Event{drain("a"), effective(1)}, replica(ReplicaState{Drain: inForce(drain("a"), 1)})},
		{
			"a drain that had to wait is in force since it was done",
			[]Event{
				{Kind: Drain, Registry: who.Registry, Region: who.Region, EffectiveAt: at(61), Ahead: time.Hour},
				{Kind: Effective, Registry: who.Registry, Region: who.Region, Of: 1, EffectiveAt: at(33), Ahead: 30 * time.Minute},
			},
			replica(ReplicaState{Drain: inForce(Event{Kind: Drain, Registry: who.Registry, Region: who.Region, EffectiveAt: at(63), Ahead: time.Hour}, 1)}),
		},
		{"a drain that replaces one in force is not", []Event{drain("a"), effective(1), drain("b")}, replica(ReplicaState{Drain: numbered(drain("b"), 3)})},
		{"an order that was replaced takes no effect", []Event{drain("a"), drain("b"), effective(1)}, replica(ReplicaState{Drain: numbered(drain("b"), 2)})},
		{"nor does one that was taken back", []Event{drain("a"), undrain, effective(1)}, State{}},
		{
			"a switch in force, and a drain that waits",
			[]Event{routing(&off), drain("a"), effective(1)},
			replica(ReplicaState{Routing: inForce(routing(&off), 1), Drain: numbered(drain("a"), 2)}),
		},
		{
			"config and geodata, the last",
			[]Event{{Kind: Config, Detail: "1"}, {Kind: GeoData, Detail: "2"}, {Kind: Config, Detail: "3"}},
			State{Config: &Event{Seq: 3, Kind: Config, Detail: "3"}, GeoData: &Event{Seq: 2, Kind: GeoData, Detail: "2"}},
		},
		{"recorded only", []Event{{Kind: Start}, {Kind: Failback, Registry: "r", Region: "x"}, {Kind: "promote", Registry: "r", Endpoint: "e"}}, State{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var s State
			for i, e := range tc.events {
				e.Seq = uint64(i + 1)
				s.Apply(e)
			}
			tc.want.Seq = uint64(len(tc.events))
			if d := diffState(tc.want, s); d != "" {
				t.Error(d)
			}
		})
	}
}

// A state that was given away is the receiver's: writing to it changes no other.
func TestCloneSharesNothing(t *testing.T) {
	off := false
	var s State
	s.Apply(Event{Seq: 1, Kind: Routing, Registry: "r", Region: "x", Routing: &off})
	s.Apply(Event{Seq: 2, Kind: Down, Endpoint: "e"})
	off = true
	want := s.Clone()
	c := s.Clone()
	*c.Replicas[Subject{"r", "x"}].Routing.Routing = true
	c.Health["e"].Down.Why = "changed"
	c.Health["f"] = HealthState{Flaps: 1}
	c.Serials["example.io."] = 1
	if d := diffState(want, s); d != "" {
		t.Error(d)
	}
	if s.Health["e"].Down.Why != "" || *c.Replicas[Subject{"r", "x"}].Routing.Routing == *s.Replicas[Subject{"r", "x"}].Routing.Routing {
		t.Error("the clone shares events")
	}
	if *s.Replicas[Subject{"r", "x"}].Routing.Routing {
		t.Error("the state follows the caller's variable")
	}
}
