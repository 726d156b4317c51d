package app

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"portolan.dev/config"
)

// TestDigestOfRegistry alters each field of a registry and wants another digest each
// time, and fails when there are fields it does not know.
func TestDigestOfRegistry(t *testing.T) {
	one, two := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	full := func() *config.Registry {
		return &config.Registry{Replicas: []config.Replica{{Addresses: []netip.Addr{one}, Data: &config.DataEndpoint{Addresses: []netip.Addr{one}}}}}
	}
	alter := []func(r *config.Registry, p *config.Replica){
		func(r *config.Registry, _ *config.Replica) { r.Name = "x" },
		func(r *config.Registry, _ *config.Replica) { r.Zone = "x" },
		func(r *config.Registry, _ *config.Replica) { r.Home = "x" },
		func(r *config.Registry, _ *config.Replica) { r.RegionalEndpoints = true },
		func(r *config.Registry, _ *config.Replica) { r.DataEndpoints = true },
		func(r *config.Registry, _ *config.Replica) { r.Answer = "x" },
		func(r *config.Registry, _ *config.Replica) { r.Families = "x" },
		func(r *config.Registry, _ *config.Replica) { r.RegionalTTL = 1 },
		func(r *config.Registry, _ *config.Replica) { r.Sticky.TTL = 1 },
		func(r *config.Registry, _ *config.Replica) { r.Sticky.Idle = 1 },
		func(r *config.Registry, _ *config.Replica) { r.Sticky.Hold = 1 },
		func(r *config.Registry, _ *config.Replica) { r.Sticky.Renewals = 1 },
		func(r *config.Registry, _ *config.Replica) { r.Sticky.HoldWritten = true },
		func(r *config.Registry, _ *config.Replica) { r.RecoveryHold = 1 },
		func(r *config.Registry, _ *config.Replica) { r.AllDown = "x" },
		func(r *config.Registry, _ *config.Replica) { r.Failback = "x" },
		func(r *config.Registry, p *config.Replica) { r.Replicas = append(r.Replicas, *p) },
		func(r *config.Registry, _ *config.Replica) { r.Replicas = nil },
		func(_ *config.Registry, p *config.Replica) { p.Region = "x" },
		func(_ *config.Registry, p *config.Replica) { p.Addresses[0] = two },
		func(_ *config.Registry, p *config.Replica) { p.Addresses = append(p.Addresses, two) },
		func(_ *config.Registry, p *config.Replica) { p.Target = "x" },
		func(_ *config.Registry, p *config.Replica) { p.Probe = "x" },
		func(_ *config.Registry, p *config.Replica) { p.ProbeTarget = "x" },
		func(_ *config.Registry, p *config.Replica) { p.GlobalEndpointRouting = true },
		func(_ *config.Registry, p *config.Replica) { p.Data = nil },
		func(_ *config.Registry, p *config.Replica) { p.Data.Addresses[0] = two },
		func(_ *config.Registry, p *config.Replica) { p.Data.Target = "x" },
	}
	r := full()
	digest := func(r *config.Registry) string {
		sums := []uint64{new(digester).settings(r)}
		for i := range r.Replicas {
			sums = append(sums, new(digester).replica(&r.Replicas[i]))
		}
		return fmt.Sprint(sums)
	}
	seen := map[string]int{digest(r): -1}
	for i, f := range alter {
		r := full()
		f(r, &r.Replicas[0])
		d := digest(r)
		if other, dup := seen[d]; dup {
			t.Errorf("alterations %d and %d give one digest", other, i)
		}
		seen[d] = i
	}
	r = full()
	r.Pos, r.Replicas[0].Pos = config.Pos{Line: 1}, config.Pos{Line: 2}
	if _, same := seen[digest(r)]; !same {
		t.Error("where a registry stands is part of its digest")
	}
	for what, want := range map[string]int{
		fmt.Sprintf("%#v", config.Registry{}):     15 + 5 + 3,
		fmt.Sprintf("%#v", config.Replica{}):      8 + 3,
		fmt.Sprintf("%#v", config.DataEndpoint{}): 2,
	} {
		if n := strings.Count(strings.ReplaceAll(what, "config.", ""), ":"); n != want {
			t.Errorf("%d fields, want %d: see that the digest has them all: %s", n, want, what)
		}
	}
}
