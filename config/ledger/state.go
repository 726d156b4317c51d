package ledger

import (
	"maps"
	"time"
)

// State is what the log comes to. Use its Apply to follow a log: a State that
// was read and the events after its Seq give the State of later.
type State struct {
	// Seq is that of the last event folded in; 0 if there is none.
	Seq uint64
	// Replicas has the replicas that differ from the configuration.
	Replicas map[Subject]ReplicaState
	// Health is by endpoint key. An endpoint that is missing is up, and was not
	// down for as long as the log reaches back: compaction forgets those, without
	// an event. One that is down stays until an Up: whoever removes an endpoint from
	// the configuration appends that.
	Health map[string]HealthState
	// Serials are the last SOA serials by zone apex. No event changes them.
	Serials map[string]uint32
	// Config and GeoData are the last events of these kinds, nil if there is none.
	Config, GeoData *Event
}

// ReplicaState is what an operator has ordered for a replica and not taken back,
// whether it is effective yet or not. At least one field is not nil.
//
// Whether it is effective is in its InForce; an order that the log of an earlier
// version holds is without. An order that was taken back is gone from here at once,
// though it ends only when the Undrain or Routing takes effect: what holds in between,
// as after a restart, is in the last events of the log.
type ReplicaState struct {
	Drain   *Event // the last Drain without an Undrain after it
	Routing *Event // the last Routing that sets a value
}

// HealthState is what is known of an endpoint that went down once.
type HealthState struct {
	Down *Event    // the event since which it is down; nil if it is up
	UpAt time.Time // when it was last decided to be up again; zero if never
	// UpAhead is the Ahead of the event that UpAt is of.
	UpAhead time.Duration
	Flaps   int    // as in the last Down or Up
	Seq     uint64 // of the last Down or Up
	// Passing is set while it is down and passes its probes, if that has counted.
	Passing bool
}

// Clone returns a copy that shares nothing with s. All its maps can be written.
func (s *State) Clone() State {
	c := State{
		Seq:      s.Seq,
		Replicas: make(map[Subject]ReplicaState, len(s.Replicas)),
		Health:   make(map[string]HealthState, len(s.Health)),
		Serials:  make(map[string]uint32, len(s.Serials)),
		Config:   cloneEvent(s.Config),
		GeoData:  cloneEvent(s.GeoData),
	}
	for k, r := range s.Replicas {
		c.Replicas[k] = ReplicaState{Drain: cloneEvent(r.Drain), Routing: cloneEvent(r.Routing)}
	}
	for k, h := range s.Health {
		h.Down = cloneEvent(h.Down)
		c.Health[k] = h
	}
	maps.Copy(c.Serials, s.Serials)
	return c
}

func cloneEvent(e *Event) *Event {
	if e == nil {
		return nil
	}
	c := e.clone()
	return &c
}
