package app

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"portolan.dev/cmd/internal/admin"
	"portolan.dev/cmd/internal/availability"
	"portolan.dev/cmd/internal/version"
	"portolan.dev/health"
	"portolan.dev/resolver/compile"
)

// Status implements [admin.API].
func (a *App) Status() admin.Status {
	w := a.world.Load()
	s := w.Compiled.Snapshot
	act, lately := a.activity(), a.shares.latest()
	st := admin.Status{
		Node: s.Identity, Version: version.Version(), Generation: s.Generation, Started: a.started,
		GeoSource: w.Table.Source(), GeoBuilt: w.Table.Built(), Ledger: a.record.seq.Load(), Units: len(act.entries),
		Sandbox: string(a.confined), Prober: a.prober(), UnitsAtRisk: a.saving.risk(),
		Registries: make([]admin.RegistryStatus, 0, len(s.Registries)),
	}
	a.clock.show(&st.Started)
	if err := a.record.err(); err != nil {
		st.LedgerError = err.Error()
	}
	for i := range s.Registries {
		r := &s.Registries[i]
		reg := admin.RegistryStatus{Registry: r.Key, Name: r.Name, Holds: r.Policy.Hold > 0, NoHolds: noHolds(w, i, w.said.registries[i].wantsHolds)}
		for region := range uint8(len(s.Regions)) {
			if r.Configured.Has(region) {
				reg.Replicas = append(reg.Replicas, a.replicaStatus(w.availability, compile.Member{Registry: i, Region: region}, act, lately))
			}
		}
		st.Registries = append(st.Registries, reg)
	}
	return st
}

// HoldWarnings names the registries that hold nobody although nothing in the file
// says so.
func HoldWarnings(w *World) []string {
	var keys []string
	for i := range w.Config.Registries {
		if wants := w.Config.Registries[i].Sticky.Hold > 0; wants && noHolds(w, i, wants) != "" {
			keys = append(keys, w.Config.Registries[i].Key)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("holds are off for %d registries (%s): %s", len(keys), strings.Join(keys[:min(len(keys), 5)], ", "), severalServers)}
}

// severalServers is why holds are off by default, and what to do.
const severalServers = "the zone has several name servers that share no ledger: use one, or a longer sticky.ttl (120s to 300s)"

// noHolds says why a registry holds nobody; "" if it does.
func noHolds(w *World, registry int, wanted bool) string {
	switch {
	case w.Compiled.Snapshot.Registries[registry].Policy.Hold > 0:
		return ""
	case !wanted:
		return "sticky.hold is 0"
	}
	return severalServers
}

// addressStatuses describes the addresses of a replica that has several; nil for any other.
func (a *App) addressStatuses(c *compile.Result, m compile.Member, st *health.Status) []admin.AddressStatus {
	if len(st.Checks) < 2 {
		return nil
	}
	leftOut := c.LeftOut(m)
	out := make([]admin.AddressStatus, 0, len(st.Checks))
	for i := range st.Checks {
		check := &st.Checks[i]
		s := admin.AddressStatus{Address: check.Address, State: check.State.String(), Since: optional(check.Since), Last: check.Last.Detail}
		if ap, err := netip.ParseAddrPort(check.Address); err == nil {
			s.LeftOut = slices.Contains(leftOut, ap.Addr())
		}
		a.clock.show(s.Since)
		out = append(out, s)
	}
	return out
}

// replicaStatus describes one replica of c.
func (a *App) replicaStatus(c *availability.Configuration, m compile.Member, act *clients, lately recent) admin.ReplicaStatus {
	s := c.Compiled.Snapshot
	r := &s.Registries[m.Registry]
	masks := s.Live[m.Registry].Masks()
	rs := admin.ReplicaStatus{
		Region: s.Regions[m.Region].Label, State: "unprobed",
		// The switch, not the mask: a drain is told as a drain, so that the two are
		// never taken for one another.
		Registry: r.Key, Routed: c.Compiled.Routed[m.Registry].Has(m.Region), Up: masks.Up.Has(m.Region),
		LastResort: masks.LastResort().Has(m.Region),
	}
	if st, ok := a.health(c, m); ok {
		rs.State, rs.Last, rs.Flaps = st.State.String(), st.Last.Detail, st.Flaps
		rs.Since, rs.UnseenSince = optional(st.Since), optional(st.UnseenSince)
		if st.State == health.Recovering {
			rs.EligibleAt = optional(st.EligibleAt)
		}
		a.clock.show(rs.Since, rs.EligibleAt, rs.UnseenSince)
		rs.Addresses = a.addressStatuses(c.Compiled, m, &st)
		rs.CertificateEnds, rs.CertificateEndsSoon = shownCertificate(st.Certificate), st.Certificate.EndsSoon(a.clock.wall())
	}
	first, n := s.Replicas[r.First].Slot, uint32(r.Configured.Count())
	slot := s.Replicas[s.ReplicaNumber(m.Registry, m.Region)].Slot
	rs.Target = a.targetStatus(c.Compiled, m)
	rs.Share1m, rs.Share10m = share(lately.one, first, n, slot), share(lately.ten, first, n, slot)
	d, current, m, ok := a.availability.Decided(c, m)
	if !ok {
		return rs
	}
	if d.Returning {
		rs.State = health.Recovering.String()
	}
	if d.Routing != nil {
		rs.Routed, rs.RoutingBy = *d.Routing, d.RoutingBy
	}
	if d.Next != nil {
		rs.Pending = &admin.PendingRouting{
			Routed: current.Compiled.Routed[m.Registry].Has(m.Region), EffectiveAt: d.NextAt, By: d.Next.By, Reason: d.Next.Why,
		}
		if d.Next.Routing != nil {
			rs.Pending.Routed = *d.Next.Routing
		}
		a.clock.show(&rs.Pending.EffectiveAt)
	}
	past, _ := a.caches.of(r.Name)
	now := a.o.Now()
	rs.OldAddressesUntil = upcoming(oldAddresses(&past, rs.Region, now), now)
	a.clock.show(rs.OldAddressesUntil)
	if d.Drain != nil {
		drain := a.shown(a.drainStatus(current, m, d.Drain, act))
		rs.Drain, rs.Held = &drain, drain.Held
	}
	return rs
}

// health returns what health knows of a replica of c; false if it is not probed.
func (a *App) health(c *availability.Configuration, m compile.Member) (health.Status, bool) {
	e := c.Compiled.EndpointOf(m)
	if e < 0 {
		return health.Status{}, false
	}
	return a.monitor.Status(c.Compiled.Endpoints[e].Key)
}

// Endpoints implements [admin.API].
func (a *App) Endpoints(registry string) (admin.Endpoints, error) {
	w := a.world.Load()
	i, ok := w.Compiled.Snapshot.FindRegistry(registry)
	if !ok {
		return admin.Endpoints{}, fmt.Errorf("registry %q is %w: name its key or its global name", registry, admin.ErrNotFound)
	}
	r, f := &w.Compiled.Snapshot.Registries[i], &w.said.registries[i]
	out := admin.Endpoints{
		LoginServer: trimDot(r.Name), DataEndpoints: []admin.Endpoint{}, RegionalEndpoints: []admin.Endpoint{},
	}
	for n := range w.Compiled.Snapshot.Regions {
		label := w.Compiled.Snapshot.Regions[n].Label
		if f.data && r.Configured.Has(uint8(n)) {
			out.DataEndpoints = append(out.DataEndpoints, admin.Endpoint{Region: label, Endpoint: f.replicaName(r.Name, label, "data")})
		}
		if f.regional && r.Configured.Has(uint8(n)) {
			out.RegionalEndpoints = append(out.RegionalEndpoints, admin.Endpoint{Region: label, Endpoint: f.replicaName(r.Name, label, "geo")})
		}
	}
	return out, nil
}

func trimDot(name string) string { return name[:len(name)-1] }
