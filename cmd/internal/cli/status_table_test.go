package cli

import (
	"testing"
	"time"

	"portolan.dev/cmd/internal/admin"
)

func TestHealthText(t *testing.T) {
	until, now := at(5*time.Minute), at(0)
	for _, tc := range []struct {
		replica admin.ReplicaStatus
		want    string
	}{
		{admin.ReplicaStatus{State: "up", Up: true}, "up"},
		{admin.ReplicaStatus{State: "recovering", EligibleAt: &until}, "recovering until " + clock(until, now)},
		{admin.ReplicaStatus{State: "recovering", EligibleAt: &until, Up: true}, "recovering, back after the outage"},
		{admin.ReplicaStatus{State: "recovering", EligibleAt: &until, LastResort: true}, "recovering, last resort"},
		{admin.ReplicaStatus{State: "up", Up: true, LastResort: true, Drain: &admin.DrainStatus{Drained: true, LastResort: true}}, "up"},
		{admin.ReplicaStatus{State: "down", Flaps: 2}, "down, 2 flaps"},
		{admin.ReplicaStatus{State: "up", Up: true, CertificateEnds: &until, CertificateEndsSoon: true}, "up, certificate ends 2026-03-01"},
		{admin.ReplicaStatus{State: "up", Up: true, CertificateEnds: &until}, "up"},
		{
			admin.ReplicaStatus{State: "up", Up: true, Addresses: []admin.AddressStatus{{Address: "192.0.2.1:443", State: "up"}, {Address: "[2001:db8::1]:443", State: "down"}}},
			"up, 1 of 2 addresses dead: [2001:db8::1]:443",
		},
		{admin.ReplicaStatus{State: "down", Addresses: []admin.AddressStatus{{Address: "a", State: "down"}, {Address: "b", State: "down"}}}, "down"},
		{
			admin.ReplicaStatus{State: "up", Up: true, Addresses: []admin.AddressStatus{{Address: "a", State: "up", LeftOut: true}, {Address: "b", State: "up"}}},
			"up, 1 of 2 addresses dead: a",
		},
	} {
		if got := healthText(&tc.replica, now); got != tc.want {
			t.Errorf("%q, want %q", got, tc.want)
		}
	}
}
