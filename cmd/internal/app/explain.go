package app

import (
	"fmt"
	"net/netip"
	"time"

	"portolan.dev/cmd/internal/admin"
	"portolan.dev/cmd/internal/version"
	"portolan.dev/health"
	"portolan.dev/resolver"
	"portolan.dev/resolver/compile"
)

// Explain implements [admin.API] for a running server.
func (a *App) Explain(registry string, asker netip.Addr, subnet netip.Prefix) (admin.Explanation, error) {
	return Explain(a.resolver.Snapshot(), registry, asker, subnet, a.o.Now())
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

// Status implements [admin.API].
func (a *App) Status() admin.Status {
	w := a.world.Load()
	s := w.Compiled.Snapshot
	st := admin.Status{
		Node: s.Identity, Version: version.Version(), Generation: s.Generation, Started: a.started,
		GeoSource: w.Table.Source(), GeoBuilt: w.Table.Built(),
	}
	for i := range s.Registries {
		r := &s.Registries[i]
		reg := admin.RegistryStatus{Registry: r.Key, Name: r.Name}
		masks := s.Live[i].Masks()
		for region := range s.Regions {
			if r.Configured.Has(uint8(region)) {
				rs := a.replicaStatus(compile.Member{Registry: i, Region: uint8(region)})
				rs.Region = s.Regions[region].Label
				rs.Routed, rs.Up = masks.Routed.Has(uint8(region)), masks.Up.Has(uint8(region))
				reg.Replicas = append(reg.Replicas, rs)
			}
		}
		st.Registries = append(st.Registries, reg)
	}
	return st
}

func (a *App) replicaStatus(m compile.Member) admin.ReplicaStatus {
	st, ok := a.availability.status(m)
	if !ok {
		return admin.ReplicaStatus{State: "unprobed"}
	}
	rs := admin.ReplicaStatus{State: st.State.String(), Last: st.Last.Detail}
	if !st.Since.IsZero() {
		rs.Since = &st.Since
	}
	if st.State == health.Recovering {
		rs.EligibleAt = &st.EligibleAt
	}
	return rs
}
