package cached

import (
	"slices"
	"time"
)

// Record is what was answered of one registry, and what caches may hold of it besides.
type Record struct {
	// Name is the global name.
	Name string
	// TTL is that of the global answers, in seconds; 0 for a registry that is not
	// served any more.
	TTL uint32
	// RegionalTTL is that of the regional and data names; 0 without such names.
	RegionalTTL uint32
	// Global and Regional are the earlier times of both.
	Global, Regional Spans
	Replicas         []Replica
}

// Replica is what was answered of one replica.
type Replica struct {
	// Label is that of its region.
	Label string
	// Addresses tell apart what its names lead to: addresses and host names. They are
	// digests.
	Addresses []uint32
	// Until is when caches let go of addresses that it has no more; zero for none.
	Until time.Time
}

// Lost reports whether one of the addresses of before is not among those of now. More
// addresses, or another order, take none away.
func Lost(before, now []uint32) bool {
	return slices.ContainsFunc(before, func(a uint32) bool { return !slices.Contains(now, a) })
}

// Find returns the replica with a label; nil without one.
func (r *Record) Find(label string) *Replica {
	for i := range r.Replicas {
		if r.Replicas[i].Label == label {
			return &r.Replicas[i]
		}
	}
	return nil
}

// Past reports whether anything in r is of an earlier time.
func (r *Record) Past() bool {
	return len(r.Global) > 0 || len(r.Regional) > 0 ||
		slices.ContainsFunc(r.Replicas, func(p Replica) bool { return !p.Until.IsZero() })
}

// Follow completes next, which takes the place of r at a moment: [Open] while answers
// of r are still given. For a registry that is not served any more next has a name
// alone.
func (r *Record) Follow(next *Record, at time.Time) {
	next.Global = r.Global.Replace(r.TTL, next.TTL, at)
	next.Regional = r.Regional.Replace(r.RegionalTTL, next.RegionalTTL, at)
	for i := range r.Replicas {
		was := &r.Replicas[i]
		now := next.Find(was.Label)
		until := was.Until
		if until.Equal(Open) || now == nil || Lost(was.Addresses, now.Addresses) {
			until = r.released(was, at)
		}
		if !at.Equal(Open) && at.Sub(until) > forget {
			until = time.Time{}
		}
		switch {
		case now != nil:
			now.Until = until
		case !until.IsZero():
			next.Replicas = append(next.Replicas, Replica{Label: was.Label, Until: until})
		}
	}
}

// released returns when caches let go of addresses that a replica of r has until at.
// Regional names lead to them whatever the global name answers.
func (r *Record) released(p *Replica, at time.Time) time.Time {
	until := r.Released(at)
	if !p.Until.Equal(Open) {
		until = latest(until, p.Until)
	}
	return until
}

// Released returns when caches let go of addresses that are answered until at.
func (r *Record) Released(at time.Time) time.Time {
	return latest(r.Global.Expires(at, r.TTL), r.Regional.Expires(at, r.RegionalTTL))
}

// Merge adds what past holds of earlier times to a record of what is answered now.
func (r *Record) Merge(past *Record) {
	r.Global, r.Regional = past.Global, past.Regional
	for i := range past.Replicas {
		p := &past.Replicas[i]
		if p.Until.IsZero() {
			continue
		}
		if now := r.Find(p.Label); now != nil {
			now.Until = p.Until
		} else {
			r.Replicas = append(r.Replicas, Replica{Label: p.Label, Until: p.Until})
		}
	}
}

// Clone returns a copy that shares nothing with r that is written to.
func (r *Record) Clone() Record {
	c := *r
	c.Replicas = slices.Clone(r.Replicas)
	for i := range c.Replicas {
		c.Replicas[i].Addresses = slices.Clone(c.Replicas[i].Addresses)
	}
	return c
}
