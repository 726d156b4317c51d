package main

import (
	"container/heap"
	"math/rand/v2"
)

// simulation is one seed.
type simulation struct {
	rng    *rand.Rand
	faults *faults
	fleets [algorithmCount]*fleet
	hosts  []host
	agenda agenda
	tally  *tally
	now    moment
	// sick is, by replica, the last moment at which it was down; now while it is.
	sick [replicas]moment
	// drained is, by replica, since when it is drained; -1 while it is not.
	drained [replicas]moment
}

// simulate runs one seed from its first push to the end of its last.
func simulate(o options, seed uint64) *tally {
	rng := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // runs must repeat
	s := &simulation{rng: rng, tally: newTally(o)}
	outages := rand.New(rand.NewPCG(seed, 1<<32)) //nolint:gosec // the same
	s.faults = newFaults(s.rng, outages, o.days)
	s.tally.events = s.faults.count
	failures := s.faults.failures(outages)
	for i, a := range algorithms() {
		s.fleets[i] = newFleet(&a, s.faults, &failures, seed)
	}
	for r := range s.sick {
		s.sick[r] = -day
	}
	s.hosts = newHosts(s.rng, o)
	gap := float64(moment(o.days)*day) / float64(o.pushes)
	for start, n := moment(0), 0; n < o.pushes || len(s.agenda) > 0; {
		if n < o.pushes && (len(s.agenda) == 0 || start <= s.agenda[0].next) {
			heap.Push(&s.agenda, newPush(s.rng, &s.hosts[s.rng.IntN(len(s.hosts))], start))
			start += moment(gap * s.rng.ExpFloat64())
			n++
			continue
		}
		p := s.agenda[0]
		s.advance(p.next)
		s.request(p)
		if p.again(s.rng) {
			heap.Fix(&s.agenda, 0)
			continue
		}
		heap.Pop(&s.agenda)
		s.tally.count(p)
	}
	return s.tally
}

// advance moves the time on: what is due is published, and what is down is known.
func (s *simulation) advance(now moment) {
	s.now = now
	for i, f := range s.fleets {
		f.advance(now, s.hosts, &s.tally.returns[i])
	}
	for r := range s.sick {
		spans := &s.faults.down[r]
		for len(*spans) > 0 && (*spans)[0].to <= now {
			s.sick[r] = (*spans)[0].to
			*spans = (*spans)[1:]
		}
		if len(*spans) > 0 && (*spans)[0].from <= now {
			s.sick[r] = now
		}
		s.drain(r)
	}
}

func (s *simulation) drain(r int) {
	spans := &s.faults.drained[r]
	for len(*spans) > 0 && (*spans)[0].to <= s.now {
		*spans = (*spans)[1:]
	}
	s.drained[r] = -1
	if len(*spans) > 0 && (*spans)[0].from <= s.now {
		s.drained[r] = (*spans)[0].from
	}
}

// request resolves the name for both types through one of the host's resolvers, and
// uses both answers.
func (s *simulation) request(p *push) {
	s.tally.requests++
	h := p.host
	r := &h.resolvers[s.rng.IntN(len(h.resolvers))]
	for i := range r.cache {
		if a := &r.cache[i]; s.now >= a.expires {
			s.query(h, r.unit, a)
		}
		s.use(p, &r.cache[i], i > 0)
	}
	p.begun = true
}

// query asks one name server, the same one of each algorithm.
func (s *simulation) query(h *host, unit uint32, a *answer) {
	s.tally.queries++
	a.given, a.expires = s.now, s.now+ttl
	server := s.rng.IntN(2)
	for i, f := range s.fleets {
		n := f.servers[server%len(f.servers)]
		replica, spent := n.choose(unit, h.rank, s.now)
		resort := allDown(n.view.masks) && n.view.masks.Resort.Has(replica) // in want of a better one
		a.replica[i], a.spent[i] = replica, spent
		if since := s.drained[replica]; since >= 0 && !resort {
			s.tally.lag[i] = max(s.tally.lag[i], s.now-since)
		}
	}
}

// use connects to the replica of an answer and notes what that breaks. second says
// that the other type was used at the same moment.
func (s *simulation) use(p *push, a *answer, second bool) {
	for i, replica := range a.replica {
		moved := replica != p.replica[i] && (p.begun || second)
		switch {
		case p.broken[i] != whole:
		case s.sick[replica] >= a.given, p.begun && s.sick[p.replica[i]] >= p.last:
			p.broken[i] = death
		case moved:
			p.broken[i] = s.movedBy(i, p, a, second)
		}
		p.replica[i], p.spent[i] = replica, a.spent[i]
	}
	p.given = a.given
}

// movedBy returns what has moved a push from the answer used last to another one,
// where no replica died.
func (s *simulation) movedBy(i int, p *push, a *answer, second bool) breakage {
	t := s.fleets[i].turned(p.given, a.given)
	switch {
	case t != nil:
		return t.breakage()
	case a.spent[i] || p.spent[i]:
		return spent
	case second:
		return split
	}
	return voluntary
}
