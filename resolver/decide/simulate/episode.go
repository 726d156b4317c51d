package main

import "portolan.dev/resolver/decide"

// together is how long before all replicas were down one of them may have gone down
// and still belong to that.
const together = minute

// cause is what made a name server see all replicas down.
type cause uint8

const (
	chance cause = iota // failures, recoveries and drains that coincide
	common
	blip
)

// episode is an outage of all replicas as one name server saw it. The simulation finds
// it in what was published, so that the word of package decide is not taken for it.
type episode struct {
	span // from the first death that belongs to it until what died is back

	cause cause
	all   moment // since when all are down
	// turns are the changes of masks that belong to it.
	turns []moment
	// disturbed says that something else changed meanwhile.
	disturbed bool
}

// publication is what one name server publishes.
type publication struct {
	at    moment
	masks decide.Masks
}

// publications returns all that a view is going to publish.
func publications(v *view) (all []publication) {
	for was := v.masks; v.next() != never; was = v.masks {
		at := v.next()
		v.step()
		if v.masks != was {
			all = append(all, publication{at, v.masks})
		}
	}
	return all
}

// watch finds the episodes in publications, one after the other.
type watch struct {
	faults   *faults
	was      decide.Masks
	deaths   []moment // by replica, the last
	recent   []moment // of all that was published
	open     bool
	now      episode
	members  decide.Mask // not back yet
	back     moment      // when the first was
	episodes []episode
}

// episodes returns the episodes in publications, ascending and apart.
func (f *faults) episodes(all []publication) []episode {
	w := &watch{faults: f, was: allIn(), deaths: make([]moment, replicas)}
	for _, p := range all {
		w.see(p)
	}
	w.closeBefore(never)
	return w.episodes
}

func (w *watch) see(p publication) {
	w.closeBefore(p.at)
	for r := range uint8(replicas) {
		if w.was.Up.Has(r) && !p.masks.Up.Has(r) {
			w.deaths[r] = p.at
		}
	}
	switch up := w.was.Routed & w.was.Up; {
	case up != 0 && p.masks.Routed != 0 && up&p.masks.Routed&p.masks.Up == 0:
		w.begin(p)
	case w.open && (allDown(w.was) || w.members&p.masks.Up != 0):
		w.now.turns = append(w.now.turns, p.at)
	case w.open:
		w.now.disturbed = true
	}
	if w.open && !allDown(p.masks) {
		if w.back == never {
			w.back = p.at
		}
		w.members &^= p.masks.Up
		if w.members == 0 {
			w.close(p.at)
		}
	}
	w.recent = append(w.recent, p.at)
	w.was = p.masks
}

// begin opens an episode. One that is open ends with it.
func (w *watch) begin(p publication) {
	out, last, from := p.masks.Routed&^p.masks.Up, moment(0), p.at
	for r, died := range w.deaths {
		if out.Has(uint8(r)) {
			last = max(last, died)
		}
	}
	w.members = 0
	for r, died := range w.deaths {
		w.members = w.members.With(uint8(r), out.Has(uint8(r)) && last-died <= together)
		if w.members.Has(uint8(r)) && p.at-died <= together {
			from = min(from, died)
		}
	}
	if w.open {
		w.now.disturbed = true
		w.close(from)
	}
	w.open, w.back = true, never
	w.now = episode{span: span{from: from}, all: p.at, cause: w.faults.causeOf(p.at)}
	for _, at := range w.recent {
		switch {
		case p.at-at <= together && w.diedAt(at, p.masks):
			w.now.turns = append(w.now.turns, at)
		case at < from:
		default:
			w.now.disturbed = true
		}
	}
	w.now.turns = append(w.now.turns, p.at)
}

// diedAt reports whether a member went down at a moment, or one that is out of routing:
// it is of no account for the others, and moves who is held on it.
func (w *watch) diedAt(at moment, m decide.Masks) bool {
	gone := w.members | ^(m.Routed | m.Up)
	for r, died := range w.deaths {
		if gone.Has(uint8(r)) && died == at {
			return true
		}
	}
	return false
}

// closeBefore closes an episode of which a member stays down for as long as a recovery
// hold takes.
func (w *watch) closeBefore(at moment) {
	if w.open && w.back != never && w.back+recovery < at {
		w.close(w.back + recovery)
	}
}

func (w *watch) close(at moment) {
	w.open, w.now.to = false, at
	w.episodes = append(w.episodes, w.now)
}

// causeOf returns why all replicas were down at a moment.
func (f *faults) causeOf(at moment) cause {
	for _, s := range f.common {
		if s.has(at - longestLag) {
			return common
		}
	}
	for _, s := range f.blips {
		if s.has(at - longestLag) {
			return blip
		}
	}
	return chance
}
