package ledger

// Apply folds the next event of the log into s. It is deterministic, looks at no
// clock, and changes only the one entry of s the event is about:
//
//   - Down marks the endpoint down; a Down while it is down keeps the first, so
//     that "down since" stays true, and takes its Flaps.
//   - Up ends that and notes when it was decided.
//   - Drain replaces an earlier Drain of the replica, Undrain removes it. Until is
//     not looked at: a drain ends by an Undrain alone.
//   - Routing replaces an earlier Routing; without a value it removes it.
//   - Effective marks the Drain or Routing it is about as in force, if that is there
//     still, and moves the moment since when it is, if the order had to wait.
//   - Passing marks an endpoint that is down; Down and Up end that.
//   - Config and GeoData replace the last.
//   - Failback, Start and kinds that are not known move Seq and nothing else.
//
// Events must come in the order of the log; one whose Seq is not above s.Seq is
// passed over, so that a caller may apply an overlapping piece of it.
// The zero State is the state of an empty log.
func (s *State) Apply(e Event) {
	if e.Seq <= s.Seq {
		return
	}
	s.Seq = e.Seq
	e = e.clone()
	switch e.Kind {
	case Down, Up, Passing:
		s.applyHealth(e)
	case Drain:
		r := s.Replicas[e.Subject()]
		r.Drain = &e
		s.setReplica(e.Subject(), r)
	case Undrain:
		r := s.Replicas[e.Subject()]
		r.Drain = nil
		s.setReplica(e.Subject(), r)
	case Routing:
		r := s.Replicas[e.Subject()]
		r.Routing = nil
		if e.Routing != nil {
			r.Routing = &e
		}
		s.setReplica(e.Subject(), r)
	case Effective:
		s.applyEffective(e)
	case Config:
		s.Config = &e
	case GeoData:
		s.GeoData = &e
	case Failback, Start:
	}
}

func (s *State) applyHealth(e Event) {
	h := s.Health[e.Endpoint]
	if e.Kind == Passing {
		if h.Passing = h.Down != nil; h.Passing {
			s.setHealth(e.Endpoint, h)
		}
		return
	}
	h.Flaps, h.Seq, h.Passing = e.Flaps, e.Seq, false
	switch {
	case e.Kind == Up:
		h.Down, h.UpAt, h.UpAhead = nil, e.DecidedAt, e.Ahead
	case h.Down == nil:
		h.Down = &e
	}
	s.setHealth(e.Endpoint, h)
}

func (s *State) applyEffective(e Event) {
	r := s.Replicas[e.Subject()]
	for _, order := range []**Event{&r.Drain, &r.Routing} {
		if *order != nil && (*order).Seq == e.Of {
			*order = cloneEvent(*order) // others may hold the state before
			(*order).InForce = true
			if at := e.EffectiveAt.Add((*order).Ahead - e.Ahead); at.After((*order).EffectiveAt) {
				(*order).EffectiveAt = at
			}
		}
	}
	s.setReplica(e.Subject(), r)
}

func (s *State) setHealth(endpoint string, h HealthState) {
	if h == (HealthState{}) {
		delete(s.Health, endpoint)
		return
	}
	if s.Health == nil {
		s.Health = make(map[string]HealthState)
	}
	s.Health[endpoint] = h
}

// setReplica keeps the map free of replicas nothing is ordered for.
func (s *State) setReplica(k Subject, r ReplicaState) {
	if r == (ReplicaState{}) {
		delete(s.Replicas, k)
		return
	}
	if s.Replicas == nil {
		s.Replicas = make(map[Subject]ReplicaState)
	}
	s.Replicas[k] = r
}
