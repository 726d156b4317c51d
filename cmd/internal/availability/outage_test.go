package availability

import (
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"portolan.dev/resolver/decide"
)

func TestACommonOutage(t *testing.T) {
	needTable(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, base, nil)
		for _, region := range []string{"westus", "eastus", "westeurope"} {
			r.down(region)
		}
		r.want("westus", decide.AllDown)
		time.Sleep(22 * time.Second)
		r.passes("eastus", true)
		r.want("westus", decide.AllDown)
		time.Sleep(2 * time.Second)
		r.passes("westus", true)
		r.want("westus", decide.AllDown)
		time.Sleep(6 * time.Second) // the schedule goes on by itself
		r.want("westus", decide.Nearest)
		if kinds := r.disk.kinds(); strings.Count(kinds, "passing") != 2 {
			t.Errorf("written: %s", kinds)
		}
		// A restart must not take out again what works.
		r.restart(base, 0)
		r.wantNow("westus", decide.Nearest)
		time.Sleep(10 * time.Minute)
		r.up("westus")
		r.up("eastus")
		r.want("westus", decide.Nearest)
	})
}

func TestALastResort(t *testing.T) {
	needTable(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, strings.Replace(base, "zone: example.io\n", "zone: example.io\n    all_down: nodata\n", 1), nil)
		r.down("eastus")
		time.Sleep(5 * time.Minute)
		r.passes("eastus", true)
		r.down("westeurope")
		r.down("westus")
		r.want("eastus", decide.LastResort)
		r.restart(strings.Replace(base, "zone: example.io\n", "zone: example.io\n    all_down: nodata\n", 1), 0)
		r.wantNow("eastus", decide.LastResort)
		r.passes("eastus", false)
		r.want("", decide.NoneUp)
		if kinds := r.disk.kinds(); !strings.HasSuffix(kinds, "passing down") {
			t.Errorf("written: %s", kinds)
		}
	})
}

// A restart answers no replica that is known to be dead, and each that was answered
// before, whatever went down, worked again and died again.
func TestARestartKnowsWhatWorks(t *testing.T) {
	needTable(t)
	regions := []string{"westus", "eastus", "westeurope"}
	resorts := 0
	for seed := range uint64(8) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 7))
			text := base
			if seed%2 == 1 {
				text = strings.Replace(base, "zone: example.io\n", "zone: example.io\n    all_down: nodata\n", 1)
			}
			r := newRig(t, text, nil)
			works, out := make(map[string]bool), make(map[string]bool)
			for _, region := range regions {
				works[region] = true
			}
			for range 40 {
				region := regions[rng.IntN(len(regions))]
				switch works[region] = !works[region]; {
				case works[region]:
					r.passes(region, true)
				case out[region]:
					r.passes(region, false)
				default:
					r.down(region)
					out[region] = true
				}
				time.Sleep(time.Duration(rng.IntN(int(40 * time.Second))))
				if works[region] && out[region] && rng.IntN(4) == 0 {
					r.up(region)
					delete(out, region)
				}
				synctest.Wait()
				if rng.IntN(4) != 0 {
					continue
				}
				was, before := r.answered()
				r.restart(text, 0)
				is, after := r.answered()
				known := before == decide.Nearest || before == decide.LastResort
				if known && !works[was] || known && after != decide.Nearest && after != decide.LastResort ||
					!known && after == decide.Nearest || (after == decide.Nearest || after == decide.LastResort) && !works[is] {
					t.Fatalf("seed %d: %q, %v, after a restart %q, %v; works: %v, out: %v, written: %s",
						seed, was, before, is, after, works, out, r.disk.kinds())
				}
				if before == decide.LastResort {
					resorts++
				}
			}
		})
	}
	if resorts == 0 {
		t.Error("never a last resort")
	}
}

func TestADrainedReplicaIsTheLastResort(t *testing.T) {
	needTable(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, base, nil)
		r.drain(DrainOrder{Selector: west()})
		time.Sleep(time.Minute)
		r.down("eastus")
		r.down("westeurope")
		r.want("westus", decide.LastResort)
		c, members, err := r.Drained(Selector{})
		if err != nil || len(members) != 1 {
			t.Fatal(members, err)
		}
		if d, _, _, ok := r.Decided(c, members[0]); !ok || d.Drain == nil || !d.Drain.LastResort {
			t.Errorf("%+v", d.Drain)
		}
		r.restart(base, 0)
		r.wantNow("westus", decide.LastResort)
	})
}

// A replica whose probe is changed while it is down has been down since then: also for
// the next process, to which it is no member of an outage that comes much later.
func TestWhatIsDownHasBeenSinceThen(t *testing.T) {
	needTable(t)
	for _, restart := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, base, nil)
			r.down("westus")
			time.Sleep(5 * time.Minute)
			other := strings.Replace(base, "port: 443", "port: 444", 1)
			r.serve(other)
			if restart {
				r.restart(other, 0)
			}
			time.Sleep(10 * time.Second)
			r.down("eastus")
			r.down("westeurope")
			time.Sleep(time.Minute)
			r.passes("westus", true)
			time.Sleep(time.Minute)
			r.want("westus", decide.LastResort) // its recovery hold goes on
			r.passes("eastus", true)
			r.want("eastus", decide.Nearest) // has returned
		})
	}
}

// What is still to come back in an outage is published with the masks, and carried over
// restarts and reloads.
func TestMissingIsPublished(t *testing.T) {
	needTable(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, base, nil)
		missing := func(want decide.Mask) {
			t.Helper()
			synctest.Wait()
			if got := r.config.Compiled.Snapshot.Live[0].Missing(); got != want {
				t.Errorf("missing %b, want %b", got, want)
			}
		}
		r.down("eastus")
		missing(0)
		r.down("westus")
		r.down("westeurope")
		missing(0b111)
		time.Sleep(20 * time.Second)
		r.passes("westus", true)
		missing(0b111)
		time.Sleep(8 * time.Second)
		missing(0b110)
		r.serve(base + "# again\n")
		missing(0b110)
		r.restart(base, 0)
		missing(0b110)
		r.passes("eastus", true)
		r.passes("westeurope", true)
		missing(0)
	})
}

func TestAnOperatorBringsItBackNow(t *testing.T) {
	needTable(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, base, nil)
		r.down("westus")
		if _, _, err := r.Failback(west(), "ann", ""); err == nil {
			t.Error("what does not work is let back")
		}
		r.passes("westus", true)
		r.want("eastus", decide.Nearest)
		if _, _, err := r.Failback(west(), "ann", ""); err != nil {
			t.Error(err)
		}
		r.want("westus", decide.Nearest)
		r.down("westus")
		r.passes("westus", true)
		r.monitor.works[r.key("westus")] = false // and fails in that instant
		if _, _, err := r.Failback(west(), "ann", ""); err != nil {
			t.Error(err)
		}
		r.want("eastus", decide.Nearest)
		if got := r.disk.kinds(); got != "down failback up down failback up down" {
			t.Errorf("written: %s", got)
		}
	})
}

func TestManualFailback(t *testing.T) {
	needTable(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, strings.Replace(base, "zone: example.io\n", "zone: example.io\n    failback: manual\n", 1), nil)
		r.down("westus")
		r.up("westus")
		r.want("eastus", decide.Nearest)
		if why := r.excluded("westus"); why != "recovered, waits for portolan failback" {
			t.Errorf("%q", why)
		}
		r.down("eastus")
		r.down("westeurope")
		r.want("westus", decide.LastResort) // it works, and nothing else does
		synctest.Wait()
		if _, _, err := r.Failback(west(), "ann", ""); err != nil {
			t.Error(err)
		}
		r.want("westus", decide.Nearest)
	})
}
