package availability

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"portolan.dev/config/ledger"
	"portolan.dev/resolver/compile"
	"portolan.dev/resolver/decide"
)

// A replica that is down stays so when its probe is another one, for which health knows
// nothing, be it changed by a reload or between two processes, as it is for all by a version
// that tells probes apart in another way; and what is no longer probed at all is forgotten.
func TestDownIsInherited(t *testing.T) {
	t.Run("reload", func(t *testing.T) { testDownIsInherited(t, (*rig).serve) })
	t.Run("restart", func(t *testing.T) { testDownIsInherited(t, func(r *rig, text string) { r.restart(text, 0) }) })
}

func testDownIsInherited(t *testing.T, change func(*rig, string)) {
	t.Helper()
	needTable(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, base, nil)
		r.down("westus")
		synctest.Wait()
		change(r, strings.Replace(base, "interval: 5s", "interval: 7s", 1))
		r.want("eastus", decide.Nearest)
		var down []string
		for _, e := range r.monitor.endpoints {
			if !e.Resume.DownAt.IsZero() {
				down = append(down, e.Key)
			}
		}
		if len(down) != 1 || down[0] != r.key("westus") {
			t.Errorf("health takes for down: %q", down)
		}
		if why := r.excluded("westus"); !strings.Contains(why, "when its probe was changed") {
			t.Errorf("%q", why)
		}
		r.restart(strings.Replace(base, "interval: 5s", "interval: 7s", 1), 0)
		r.wantNow("eastus", decide.Nearest)

		r.serve(strings.ReplaceAll(base, ", probe: tcp", ""))
		r.want("westus", decide.Nearest)
		for key, h := range r.disk.state.Health {
			if h.Down != nil {
				t.Errorf("the ledger has %s as down, which is not probed", key)
			}
		}
		if why := r.excluded("westus"); why != "" {
			t.Errorf("%q", why)
		}
	})
}

// What works alone is answered when its probe is another one, over a restart too.
func TestALastResortIsInherited(t *testing.T) {
	needTable(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, base, nil)
		r.down("eastus")
		time.Sleep(5 * time.Minute)
		r.passes("eastus", true)
		r.down("westus")
		r.down("westeurope")
		r.want("eastus", decide.LastResort)
		changed := strings.Replace(base, "interval: 5s", "interval: 7s", 1)
		r.serve(changed)
		r.want("eastus", decide.LastResort)
		r.restart(changed, 0)
		if region, outcome := r.answered(); region != "eastus" || outcome == decide.AllDown {
			t.Errorf("%q, %v", region, outcome)
		}
	})
}

// A reload carries the outage of a registry whose regions have other numbers then.
func TestAnOutageIsCarried(t *testing.T) {
	needTable(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, base, nil)
		for _, region := range []string{"westus", "eastus", "westeurope"} {
			r.down(region)
		}
		time.Sleep(20 * time.Second)
		r.passes("westus", true)
		lines := strings.SplitAfter(base, "\n")
		westus := lines[len(lines)-4]
		r.serve(strings.Replace(base, westus, "      brazilsouth: {addresses: [192.0.2.9], probe: tcp}\n"+westus, 1))
		time.Sleep(8 * time.Second)
		s := r.config.Compiled.Snapshot
		m, ok := memberOf(r.config.Compiled, ledger.Subject{Registry: "myregistry", Region: "westus"})
		if !ok || !s.Live[0].Masks().Up.Has(m.Region) {
			t.Errorf("westus has not returned: %+v", s.Live[0].Masks())
		}
	})
}

func TestWhatHasNoAddressIsNotAnswered(t *testing.T) {
	needTable(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, base, nil)
		m, ok := memberOf(r.config.Compiled, ledger.Subject{Registry: "myregistry", Region: "westus"})
		if !ok {
			t.Fatal("no westus")
		}
		r.Adopt(r.config, []compile.Member{m}, func() {})
		r.want("eastus", decide.Nearest)
		if why := r.excluded("westus"); why != "its target is not resolved yet" {
			t.Errorf("%q", why)
		}
		r.Resolved(r.config, m)
		r.want("westus", decide.Nearest)
		if why := r.excluded("westus"); why != "" {
			t.Errorf("%q", why)
		}
	})
}

// The moment of a replacement is one that holds clients if it can move any, and none if
// it cannot.
func TestReplacementsAreRemembered(t *testing.T) {
	needTable(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, base, nil)
		r.drain(DrainOrder{Selector: west()})
		time.Sleep(time.Minute)
		before := r.config
		r.Adopt(&Configuration{Compiled: before.Compiled, Grace: before.Grace, Sum: before.Sum, Manual: before.Manual}, nil, func() {})
		if swaps := before.Compiled.Snapshot.Swaps; len(swaps) != 0 {
			t.Errorf("%d moments of a change that is none", len(swaps))
		}
		r.serve(strings.Replace(base, "192.0.2.3", "192.0.2.4", 1))
		s := r.config.Compiled.Snapshot
		if len(s.Swaps) != 1 || int64(s.Swaps[0]) != r.now().Unix() {
			t.Errorf("moments: %v", s.Swaps)
		}
		if changes, _ := s.Live[0].History.All(); len(changes) == 0 {
			t.Error("the drain is forgotten")
		}
	})
}
