package app

import (
	"fmt"
	"net/netip"
	"time"

	"portolan.dev/cmd/internal/admin"
	"portolan.dev/resolver"
)

// Explain implements [admin.API] for a running server.
func (a *App) Explain(registry string, asker netip.Addr, subnet netip.Prefix) (admin.Explanation, error) {
	s := a.resolver.Snapshot()
	e, err := Explain(s, registry, asker, subnet, a.o.Now())
	if err == nil {
		number, _ := s.FindRegistry(registry)
		t := s.Trace(number, asker, subnet, a.o.Now().Unix())
		e.History = a.given.history(t.Key, a.o.Now())
		for i := range e.History {
			a.clock.show(&e.History[i].At)
		}
	}
	return e, err
}

// Explain decides for one client in a snapshot, running or not.
func Explain(s *resolver.Snapshot, registry string, asker netip.Addr, subnet netip.Prefix, now time.Time) (admin.Explanation, error) {
	number, ok := s.FindRegistry(registry)
	if !ok {
		return admin.Explanation{}, fmt.Errorf("registry %q is %w: name its key or its global name", registry, admin.ErrNotFound)
	}
	t := s.Trace(number, asker, subnet, now.Unix())
	e := admin.Explanation{
		Registry: t.Registry, Name: t.Name, Answer: t.Region, Outcome: t.Outcome.String(), TTL: t.TTL, Scope: t.Scope,
		Asker: t.Asker.String(), Client: t.Client.String(), BySubnet: t.BySubnet,
		Place: admin.Place{
			Cell: uint16(t.Place.CellID), Country: t.Place.Cell.CountryCode(), Kind: t.Place.Cell.Kind.String(),
			Latitude: t.Place.Cell.Latitude, Longitude: t.Place.Cell.Longitude, Site: t.Site, RankedBy: t.Place.Basis.String(),
		},
		Node: t.Node, Generation: t.Generation, Serial: t.Serial, Lines: t.Lines(),
	}
	e.Addresses, e.LeftOut = texts(t.Addresses), texts(t.LeftOut)
	if t.HeldUntil != 0 {
		until := time.Unix(int64(t.HeldUntil), 0).UTC()
		e.HeldUntil, e.HeldFrom = &until, t.HeldFrom
	}
	if t.Subnet.IsValid() {
		e.Subnet = t.Subnet.String()
	}
	if t.Place.Location.IsValid() {
		e.Place.Block = t.Place.Location.String()
	}
	for _, c := range t.Candidates {
		e.Candidates = append(e.Candidates, admin.Candidate(c))
	}
	return e, nil
}

// texts writes addresses.
func texts(addrs []netip.Addr) []string {
	out := make([]string, 0, len(addrs))
	for _, a := range addrs {
		out = append(out, a.String())
	}
	return out
}
