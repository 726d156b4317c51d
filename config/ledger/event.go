package ledger

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Kind says what happened.
type Kind string

// The kinds this version folds or records. A log may hold others, written by a
// newer version: they are kept and returned, and [State.Apply] passes over them.
const (
	Down     Kind = "down"     // an endpoint stopped answering; needs Endpoint
	Up       Kind = "up"       // it answers again, its recovery hold is over; needs Endpoint
	Drain    Kind = "drain"    // an operator takes a replica out; needs Registry and Region
	Undrain  Kind = "undrain"  // and puts it back
	Routing  Kind = "routing"  // global endpoint routing of a replica is switched, see Event.Routing
	Config   Kind = "config"   // a configuration was taken up
	GeoData  Kind = "geodata"  // location data was taken up
	Failback Kind = "failback" // an operator lets a recovered replica back; recorded, the Up that follows is what counts
	Start    Kind = "start"    // a server started; recorded only
	// Passing: an endpoint that is down passes its probes, and counts as up for
	// registries all of whose replicas had been down.
	Passing Kind = "passing"
	// Effective: an order has taken effect, the one that Event.Of names. Whether it
	// has is a fact of the log: another process may have a clock that says otherwise.
	Effective Kind = "effective"
)

// Bounds of what an event may carry, in bytes of UTF-8.
const (
	// MaxText is where By, Why and Detail are cut.
	MaxText = 1 << 10
	// MaxName is the most that Kind, Registry, Region and Endpoint may have each.
	MaxName = 1 << 10
	// MaxAppend is the most events of one Append: more than the replicas of any
	// server, and few enough for one transaction.
	MaxAppend = 1 << 16
)

// ErrInvalid is what an event or another value that cannot be stored as it is
// comes back with. Nothing has been stored.
var ErrInvalid = errors.New("invalid value")

// Subject identifies a replica: a registry and the DNS label of a region.
type Subject struct{ Registry, Region string }

// Event is one entry of the log. Its zero times mean "not given". The names of
// its JSON members are what the file holds and what the command line prints.
type Event struct {
	// Seq is its place in the log, from 1 without gaps. Append assigns it.
	Seq  uint64 `json:"seq"`
	Kind Kind   `json:"kind"`
	// Registry and Region say which replica. For Down and Up, the first of those
	// that stand on the endpoint.
	Registry string `json:"registry,omitempty"`
	Region   string `json:"region,omitempty"`
	// Name is the name under which the registry is served, which stays when its key in the
	// configuration is another one; "" where that was not known.
	Name string `json:"name,omitempty"`
	// Endpoint is the key of a health endpoint. Down and Up only.
	Endpoint string `json:"endpoint,omitempty"`

	// DecidedAt is when the change was decided; Append fills in the present.
	DecidedAt time.Time `json:"decided_at"`
	// EffectiveAt is when it takes effect; Append fills in DecidedAt. The log does
	// not wait for it: what is not yet effective is in the state already.
	EffectiveAt time.Time `json:"effective_at"`
	// By and Why are for people. What exceeds MaxText is cut, with an ellipsis at
	// the end: a verdict must not be lost because a server's reply was long.
	By  string `json:"by,omitempty"`
	Why string `json:"why,omitempty"`

	// Routing is what the switch was set to. Nil in an event of kind Routing means
	// back to what the configuration says.
	Routing *bool `json:"routing,omitempty"`
	// Deadline is when the holds of a Drain end at the latest. Zero: when the
	// policy of the registry says.
	Deadline time.Time `json:"deadline,omitzero"`
	// Until is when a Drain shall end by itself. Zero: never. Nothing ends it but
	// an Undrain, which the caller appends when the time has come.
	Until time.Time `json:"until,omitzero"`
	// Ahead is how far the clock that the moments of the event are read from was ahead
	// of one that nobody can set, by which the writer measures time: the moments less
	// Ahead have the order and the distances that they had in truth, also when the
	// clock was set between two events. The log does not look at it.
	Ahead time.Duration `json:"ahead_ns,omitempty"`
	// Of is the Seq of the order that an Effective is about.
	Of uint64 `json:"of,omitempty"`
	// InForce is set in a Drain or Routing of a State once there is an Effective for
	// it. Append clears it.
	InForce bool `json:"in_force,omitempty"`
	// Now makes a Drain act as if the replica were down: no holds.
	Now bool `json:"now,omitempty"`
	// Flaps is the count of health.Resume after a Down or Up.
	Flaps int `json:"flaps,omitempty"`
	// Detail is the hash or description of a configuration or of location data. Cut
	// like Why.
	Detail string `json:"detail,omitempty"`
}

// Subject returns the replica the event is about.
func (e Event) Subject() Subject { return Subject{Registry: e.Registry, Region: e.Region} }

// clone returns a copy that shares nothing with e.
func (e Event) clone() Event {
	if e.Routing != nil {
		on := *e.Routing
		e.Routing = &on
	}
	return e
}

// moments are the times that e has.
func moments(e *Event) []*time.Time {
	return []*time.Time{&e.DecidedAt, &e.EffectiveAt, &e.Deadline, &e.Until}
}

// normalized returns e as it will be read back: times in UTC without a monotonic
// reading, defaults filled in, texts cut. It fails if e cannot be stored.
func (e Event) normalized(now time.Time) (Event, error) {
	e = e.clone()
	e.InForce = false
	if e.DecidedAt.IsZero() {
		e.DecidedAt = now
	}
	if e.EffectiveAt.IsZero() {
		e.EffectiveAt = e.DecidedAt
	}
	if err := settle(&e); err != nil {
		return Event{}, err
	}
	e.By, e.Why, e.Detail = cut(e.By), cut(e.Why), cut(e.Detail)
	return e, e.check()
}

// settle makes the times of events, which may be nil, what they are after a turn
// through JSON, so that they can be compared with ==. RFC 3339 has no years
// beyond 9999.
func settle(events ...*Event) error {
	for _, e := range events {
		if e == nil {
			continue
		}
		for _, t := range moments(e) {
			*t = t.Round(0).UTC()
			if y := t.Year(); y < 1 || y > 9999 {
				return fmt.Errorf("%w: %.64q event: year %d: must be 1 to 9999", ErrInvalid, string(e.Kind), y)
			}
		}
	}
	return nil
}

func (e Event) check() error {
	for _, n := range []struct{ what, s string }{
		{"kind", string(e.Kind)}, {"registry", e.Registry}, {"region", e.Region}, {"name", e.Name}, {"endpoint", e.Endpoint},
	} {
		if err := checkName(n.what, n.s); err != nil {
			return fmt.Errorf("%.64q event: %w", string(e.Kind), err)
		}
	}
	switch e.Kind {
	case "":
		return fmt.Errorf("%w: event without a kind", ErrInvalid)
	case Down, Up, Passing:
		if e.Endpoint == "" {
			return fmt.Errorf("%w: %s event without an endpoint", ErrInvalid, e.Kind)
		}
	case Drain, Undrain, Routing, Failback, Effective:
		if e.Registry == "" || e.Region == "" {
			return fmt.Errorf("%w: %s event without registry and region", ErrInvalid, e.Kind)
		}
	case Config, GeoData, Start:
	}
	return nil
}

// checkName refuses what would not make a key: names are never cut, because two
// that differ would become one.
func checkName(what, s string) error {
	switch {
	case len(s) > MaxName:
		return fmt.Errorf("%w: %s of %d bytes: at most %d", ErrInvalid, what, len(s), MaxName)
	case !utf8.ValidString(s):
		return fmt.Errorf("%w: %s %.64q is not UTF-8", ErrInvalid, what, s)
	case strings.ContainsRune(s, 0):
		return fmt.Errorf("%w: %s %.64q has a NUL", ErrInvalid, what, s)
	}
	return nil
}

const ellipsis = "…"

// cut returns s as valid UTF-8 of at most MaxText bytes.
func cut(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= MaxText {
		return s
	}
	n := MaxText - len(ellipsis)
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + ellipsis
}
