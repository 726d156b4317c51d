package availability

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Why a replica is out is told in the time on the wall as of the question: when that
// clock is set, moments of before are told as it has them now.
func TestReasonsAreByTheWallClock(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		t.Helper()
		r := newRig(t, base, nil)
		r.down("westus")
		since := r.now()
		r.passes("westus", true)
		r.down("eastus")
		r.drain(DrainOrder{Selector: Selector{Region: "westeurope"}, By: "ann", Force: true, Now: true})
		synctest.Wait()
		for _, wall := range []time.Duration{0, 10 * time.Minute, -time.Hour} {
			r.wall = wall
			stamp := since.Add(wall).UTC().Format(time.RFC3339)
			for region, want := range map[string]string{"westus": "recovering since ", "eastus": "down since ", "westeurope": "drained since "} {
				if why := r.excluded(region); !strings.HasPrefix(why, want+stamp) {
					t.Errorf("set by %v: %s is %q, want %q", wall, region, why, want+stamp)
				}
			}
		}
	})
}
