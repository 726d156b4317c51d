package cached

import (
	"slices"
	"time"
)

// Open is the end of answers that are still given: those of another process that has
// not gone quiet, or of the configuration that is being replaced. It is later than
// any other moment.
var Open = time.Unix(1<<40, 0) //nolint:gochecknoglobals // a constant, which Go does not have of this type

// Span is a time in which answers had one TTL.
type Span struct {
	TTL uint32 // seconds
	// Until is when the last answer of that time expires: its end plus the TTL.
	Until time.Time
}

// Spans are the times before now whose answers may be cached longer than those of now,
// oldest first. The zero value is none. A Spans is not changed once it is made.
type Spans []Span

// after is ttl seconds after a moment.
func after(at time.Time, ttl uint32) time.Time {
	if at.Equal(Open) {
		return Open
	}
	return at.Add(time.Duration(ttl) * time.Second)
}

// Expires returns when the last answer expires that was given at last or before, if
// answers have ttl now.
func (s Spans) Expires(last time.Time, ttl uint32) time.Time {
	at := after(last, ttl)
	for _, e := range s {
		at = latest(at, earliest(after(last, e.TTL), e.Until))
	}
	return at
}

// forget is how long ago the last answer of a span has expired when it is forgotten: what was
// said of it stays the same meanwhile.
const forget = time.Hour

// Replace returns the spans once answers have ttl: until at they had was. Spans that
// were open end at at.
func (s Spans) Replace(was, ttl uint32, at time.Time) Spans {
	all := make(Spans, 0, len(s)+1)
	for _, e := range s {
		if e.Until.Equal(Open) {
			e.Until = after(at, e.TTL)
		}
		all = append(all, e)
	}
	all = append(all, Span{was, after(at, was)})
	kept := slices.Clone(all[:0])
	for i, e := range all {
		covered := e.TTL <= ttl || !at.Equal(Open) && at.Sub(e.Until) > forget ||
			slices.ContainsFunc(all[i+1:], func(f Span) bool { return e.TTL <= f.TTL && !e.Until.After(f.Until) })
		if !covered {
			kept = append(kept, e)
		}
	}
	return kept
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
