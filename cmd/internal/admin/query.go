package admin

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxEvents is the most events that one request returns.
const maxEvents = 100_000

// params reads the query of a URL. A name that is not allowed, or that comes
// twice, is refused: a misspelled filter must not select everything.
func params(r *http.Request, allowed ...string) (url.Values, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, fmt.Errorf("%w: the query of the URL: %w: encode it", ErrInvalid, err)
	}
	for name, values := range q {
		if !slices.Contains(allowed, name) {
			return nil, fmt.Errorf("%w: parameter %.64q is not known: use %s", ErrInvalid, name, orNone(allowed))
		}
		if len(values) > 1 {
			return nil, fmt.Errorf("%w: parameter %s is given %d times: give it once", ErrInvalid, name, len(values))
		}
	}
	return q, nil
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// Check reports whether the patterns of s can be matched at all. The error wraps
// [ErrInvalid].
func (s Selector) Check() error {
	for _, p := range []struct{ what, pattern string }{{"registry", s.Registry}, {"region", s.Region}} {
		if _, err := path.Match(p.pattern, ""); err != nil {
			return fmt.Errorf("%w: %s %.64q is no pattern: write a name, or a glob such as west* or *", ErrInvalid, p.what, p.pattern)
		}
	}
	return nil
}

// selector reads a Selector from the parameters registry and region.
func selector(q url.Values) (Selector, error) {
	s := Selector{Registry: q.Get("registry"), Region: q.Get("region")}
	return s, s.Check()
}

// eventQuery reads which events are asked for, and whether later ones too.
func eventQuery(r *http.Request) (e EventQuery, follow bool, err error) {
	q, err := params(r, "registry", "region", "kind", "from", "since", "limit", "follow")
	if err != nil {
		return e, false, err
	}
	if e.Selector, err = selector(q); err != nil {
		return e, false, err
	}
	e.Kind = q.Get("kind")
	if v := q.Get("from"); v != "" {
		if e.From, err = strconv.ParseUint(v, 10, 64); err != nil {
			return e, false, fmt.Errorf("%w: from %.64q is no sequence number: give one that an event has", ErrInvalid, v)
		}
	}
	if v := q.Get("since"); v != "" {
		t, err := time.Parse(time.RFC3339, v)
		if err != nil {
			return e, false, fmt.Errorf("%w: since %.64q is no time: write it like 2026-01-02T15:04:05Z", ErrInvalid, v)
		}
		e.Since = &t
	}
	if v := q.Get("limit"); v != "" {
		if e.Limit, err = strconv.Atoi(v); err != nil || e.Limit < 1 || e.Limit > maxEvents {
			return e, false, fmt.Errorf("%w: limit %.64q: give a number from 1 to %d", ErrInvalid, v, maxEvents)
		}
	}
	switch v := q.Get("follow"); v {
	case "", "0":
	case "1":
		follow = true
	default:
		return e, false, fmt.Errorf("%w: follow %.64q: give 1, or leave it out", ErrInvalid, v)
	}
	return e, follow, nil
}

// values is the other direction of eventQuery.
func (q *EventQuery) values() url.Values {
	v := q.Selector.values()
	if q.Kind != "" {
		v.Set("kind", q.Kind)
	}
	if q.From > 0 {
		v.Set("from", strconv.FormatUint(q.From, 10))
	}
	if q.Since != nil {
		v.Set("since", q.Since.UTC().Format(time.RFC3339Nano))
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	return v
}

func (s Selector) values() url.Values {
	v := url.Values{}
	if s.Registry != "" {
		v.Set("registry", s.Registry)
	}
	if s.Region != "" {
		v.Set("region", s.Region)
	}
	return v
}

// matches reports whether e is one of the events that q asks for, but for limit.
func (q *EventQuery) matches(e *Event) bool {
	if e.Seq < q.From || q.Kind != "" && e.Kind != q.Kind || q.Since != nil && e.DecidedAt.Before(*q.Since) {
		return false
	}
	return glob(q.Registry, e.Registry) && glob(q.Region, e.Region)
}

func glob(pattern, name string) bool {
	if pattern == "" {
		return true
	}
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}

// Clients reads who asks from the words of an operator: client is an address or
// a prefix that stands for the client subnet, resolver the address that asks.
// A client address without a length is cut as resolvers cut it, to /24 or /56
// (RFC 7871 section 11.1). With only one of the two, the other follows from it:
// the client asks by itself, or the resolver sends no subnet.
func Clients(client, resolver string) (asker netip.Addr, subnet netip.Prefix, err error) {
	if resolver != "" {
		if asker, err = netip.ParseAddr(resolver); err != nil {
			return asker, subnet, fmt.Errorf("resolver %q is no address: write it like 192.0.2.53", resolver)
		}
	}
	if client == "" {
		if resolver == "" {
			return asker, subnet, errors.New("nobody asks: name a client address or prefix, or a resolver")
		}
		return asker, subnet, nil
	}
	if subnet, err = netip.ParsePrefix(client); err != nil {
		a, aerr := netip.ParseAddr(client)
		if aerr != nil {
			return asker, netip.Prefix{}, fmt.Errorf("client %q is no address or prefix: write it like 192.0.2.7 or 192.0.2.0/24", client)
		}
		bits := 56
		if a = a.Unmap(); a.Is4() {
			bits = 24
		}
		subnet = netip.PrefixFrom(a, bits)
	}
	subnet = subnet.Masked()
	if !asker.IsValid() {
		asker = subnet.Addr()
	}
	return asker, subnet, nil
}
