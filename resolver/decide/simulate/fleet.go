package main

import (
	"cmp"
	"math/rand/v2"
	"slices"
)

// fleet is the name servers of one algorithm.
type fleet struct {
	servers []*nameserver
	turns   []turn // of all servers, ascending
	slack   moment // how far apart those of the servers are that belong together
}

// turn is a change of masks that belongs to an outage of all replicas.
type turn struct {
	at      moment
	cause   cause
	leaving bool // they are all down before it
}

// breakage returns what a push is broken by that is moved by it.
func (t *turn) breakage() breakage {
	switch {
	case t.cause == blip && t.leaving:
		return blipLeaving
	case t.cause == blip:
		return blipEntering
	case t.leaving:
		return leaving
	}
	return entering
}

func newFleet(a *algorithm, f *faults, failures *[replicas][]failure, seed uint64) *fleet {
	fl := &fleet{}
	flips := f.flips(failures, a.recovery)
	for i := range a.servers {
		var lag *rand.Rand
		if i > 0 {
			lag = rand.New(rand.NewPCG(seed, uint64(i))) //nolint:gosec // runs must repeat
			fl.slack = longestLag
		}
		pending := heard(flips, lag)
		n := &nameserver{view: newView(pending, a.outages)}
		n.chooser = a.make(n.view)
		n.episodes = f.episodes(publications(newView(pending, a.outages)))
		for _, e := range n.episodes {
			for _, at := range e.turns {
				fl.turns = append(fl.turns, turn{at, e.cause, at > e.all})
			}
		}
		fl.servers = append(fl.servers, n)
	}
	slices.SortFunc(fl.turns, func(a, b turn) int { return cmp.Compare(a.at, b.at) })
	return fl
}

// turned returns the turn that lies between two answers; nil if there is none.
func (f *fleet) turned(one, other moment) *turn {
	from, to := min(one, other)-f.slack, max(one, other)+f.slack
	i, _ := slices.BinarySearchFunc(f.turns, from+1, func(t turn, at moment) int { return cmp.Compare(t.at, at) })
	if i == len(f.turns) || f.turns[i].at > to {
		return nil
	}
	return &f.turns[i]
}

// advance publishes all that is due.
func (f *fleet) advance(now moment, hosts []host, r *returns) {
	for _, n := range f.servers {
		n.advance(now, hosts, r)
	}
}

// nameserver is one name server.
type nameserver struct {
	chooser

	view     *view
	episodes []episode // that are not over yet
	before   []place   // where each unit was before the first of them; nil before that
}

// place is what a unit is given at one moment.
type place struct {
	base, replica uint8
	until         moment // the end of its hold
	silent        bool   // the unit was, for so long that it has no claim to a hold
}

// returns is what has become of hosts after outages of all replicas.
type returns struct {
	outages   int // after which it was looked at
	elsewhere int // hosts that are given another replica than before
	// lost counts those that had been held, and are given what is first for them: they
	// asked while the replica was down, or it died after it had been drained.
	lost int
}

func (r *returns) add(o *returns) {
	r.outages += o.outages
	r.elsewhere += o.elsewhere
	r.lost += o.lost
}

// advance publishes all that is due, and looks where hosts are just before and just
// after an outage of all replicas.
func (n *nameserver) advance(now moment, hosts []host, r *returns) {
	for {
		at := n.view.next()
		switch e := n.episode(); {
		case n.before == nil && e.from <= min(at, now):
			n.before = n.places(hosts, e.from)
		case n.before != nil && e.to < at && e.to <= now:
			if !e.disturbed {
				r.compare(hosts, n.before, n.places(hosts, e.to), e.to)
			}
			n.before, n.episodes = nil, n.episodes[1:]
		case at <= now:
			n.view.step()
		default:
			return
		}
	}
}

// episode returns the one that is not over, or comes next.
func (n *nameserver) episode() *episode {
	if len(n.episodes) == 0 {
		return &episode{span: span{never, never}}
	}
	return &n.episodes[0]
}

// places returns what the units of all hosts would be given now, resolver by resolver.
func (n *nameserver) places(hosts []host, now moment) []place {
	out := make([]place, 0, 2*len(hosts))
	for i := range hosts {
		h := &hosts[i]
		base := n.view.base(h.rank)
		asked := make(map[uint32]moment, len(h.resolvers))
		for _, r := range h.resolvers {
			asked[r.unit] = max(asked[r.unit], r.cache[0].given, r.cache[1].given)
		}
		for _, r := range h.resolvers {
			p := place{base: base, silent: now-asked[r.unit] > moment(policy().Idle)*second}
			p.replica, p.until = n.peek(r.unit, h.rank, now)
			out = append(out, p)
		}
	}
	return out
}

// compare counts the hosts that are elsewhere than before.
func (r *returns) compare(hosts []host, before, after []place, now moment) {
	r.outages++
	for i := range hosts {
		elsewhere, lost := false, false
		for range hosts[i].resolvers {
			was, is := before[0], after[0]
			before, after = before[1:], after[1:]
			switch {
			case was.base != is.base: // it is one that stays down
			case is.replica == was.replica:
			case is.replica == is.base && (was.silent || now >= was.until):
			case is.replica == is.base:
				lost = true
			default:
				elsewhere = true
			}
		}
		if elsewhere {
			r.elsewhere++
		}
		if lost {
			r.lost++
		}
	}
}
