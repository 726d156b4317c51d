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
	} {
		if got := healthText(&tc.replica, now); got != tc.want {
			t.Errorf("%q, want %q", got, tc.want)
		}
	}
}
