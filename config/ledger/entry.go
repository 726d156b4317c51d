package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// entry names the one piece of a State that an event changes: what is written in
// the transaction of that event. name and subject are empty where they do not apply.
type entry struct {
	area    string
	subject Subject
	name    string
}

// The areas of a state, first part of the keys of its records.
const (
	areaReplica = "replica"
	areaHealth  = "health"
	areaConfig  = "config"
	areaGeoData = "geodata"
)

// entryOf returns the entry that [State.Apply] changes for e; false if none.
func entryOf(e Event) (entry, bool) {
	switch e.Kind {
	case Down, Up, Passing:
		return entry{area: areaHealth, name: e.Endpoint}, true
	case Drain, Undrain, Routing, Effective:
		return entry{area: areaReplica, subject: e.Subject()}, true
	case Config:
		return entry{area: areaConfig}, true
	case GeoData:
		return entry{area: areaGeoData}, true
	case Failback, Start:
	}
	return entry{}, false
}

// key is the area and the names, with NUL between: no name has one.
func (en entry) key() []byte {
	switch en.area {
	case areaReplica:
		return []byte(en.area + "\x00" + en.subject.Registry + "\x00" + en.subject.Region)
	case areaHealth:
		return []byte(en.area + "\x00" + en.name)
	}
	return []byte(en.area)
}

func entryOfKey(key []byte) (entry, error) {
	parts := strings.Split(string(key), "\x00")
	en := entry{area: parts[0]}
	switch {
	case en.area == areaReplica && len(parts) == 3:
		en.subject = Subject{Registry: parts[1], Region: parts[2]}
	case en.area == areaHealth && len(parts) == 2:
		en.name = parts[1]
	case (en.area == areaConfig || en.area == areaGeoData) && len(parts) == 1:
	default:
		return entry{}, fmt.Errorf("unknown record %q", key)
	}
	return en, nil
}

// move makes the entry of dst what it is in src, which may be that there is none.
func (en entry) move(dst, src *State) {
	switch en.area {
	case areaReplica:
		dst.setReplica(en.subject, src.Replicas[en.subject])
	case areaHealth:
		dst.setHealth(en.name, src.Health[en.name])
	case areaConfig:
		dst.Config = src.Config
	case areaGeoData:
		dst.GeoData = src.GeoData
	}
}

// encode returns the record of the entry; nil if s does not have it.
func (en entry) encode(s *State) ([]byte, error) {
	var v any
	switch en.area {
	case areaReplica:
		r, ok := s.Replicas[en.subject]
		if !ok {
			return nil, nil
		}
		v = replicaRecord{version{schema}, r.Drain, r.Routing}
	case areaHealth:
		h, ok := s.Health[en.name]
		if !ok {
			return nil, nil
		}
		v = healthRecord{version{schema}, h.Down, h.UpAt, h.Flaps, h.Seq, h.Passing, h.UpAhead}
	case areaConfig:
		v = eventRecord{version{schema}, *s.Config}
	case areaGeoData:
		v = eventRecord{version{schema}, *s.GeoData}
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("state of %q: %w", en.key(), err)
	}
	return b, nil
}

// decode puts the entry into s.
func (en entry) decode(s *State, payload []byte) error {
	var err error
	switch en.area {
	case areaReplica:
		var r replicaRecord
		if err = json.Unmarshal(payload, &r); err == nil {
			err = errors.Join(r.check(), settle(r.Drain, r.Routing))
			s.setReplica(en.subject, ReplicaState{Drain: r.Drain, Routing: r.Routing})
		}
	case areaHealth:
		var r healthRecord
		if err = json.Unmarshal(payload, &r); err == nil {
			err = errors.Join(r.check(), settle(r.Down))
			s.setHealth(en.name, HealthState{
				Down: r.Down, UpAt: r.UpAt.UTC(), UpAhead: r.UpAhead, Flaps: r.Flaps, Seq: r.Seq, Passing: r.Passing,
			})
		}
	case areaConfig, areaGeoData:
		var e Event
		if e, err = decodeEvent(payload); err == nil {
			en.move(s, &State{Config: &e, GeoData: &e})
		}
	}
	if err != nil {
		return fmt.Errorf("state of %q: %w", en.key(), err)
	}
	return nil
}
