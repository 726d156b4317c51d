package availability

import (
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"portolan.dev/config/ledger"
	"portolan.dev/resolver/decide"
)

func TestADownWaitsForNoDisk(t *testing.T) {
	needTable(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, base, nil)
		r.want("westus", decide.Nearest)
		r.disk.stall()
		r.down("westus")
		r.wantNow("eastus", decide.Nearest)
		synctest.Wait()
		if !strings.Contains(string(r.left.get()), `"down"`) {
			t.Errorf("noted for the next process: %s", r.left.get())
		}
		if why := r.excluded("westus"); !strings.HasPrefix(why, "down since") {
			t.Errorf("while the disk stalls it is explained by %q", why)
		}
		r.disk.goOn()
		synctest.Wait()
		if r.left.get() != nil || r.disk.kinds() != "down" {
			t.Errorf("noted %s, written %s", r.left.get(), r.disk.kinds())
		}
	})
}

func TestAnUpWaitsForTheDisk(t *testing.T) {
	needTable(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, base, nil)
		r.down("westus")
		synctest.Wait()
		r.disk.stall()
		r.up("westus")
		r.want("eastus", decide.Nearest)
		r.down("westus") // again, before it was back
		r.disk.goOn()
		r.want("eastus", decide.Nearest)
		r.up("westus")
		r.want("westus", decide.Nearest)
		if got := r.disk.kinds(); got != "down up down up" {
			t.Errorf("written: %s", got)
		}
	})
}

// What is written later keeps the order in which it was decided, and an order waits for
// what was decided before it.
func TestTheJournalKeepsTheOrder(t *testing.T) {
	needTable(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, base, nil)
		r.disk.stall()
		r.down("westus")
		drained := make(chan error, 1)
		go func() {
			_, _, err := r.Drain(DrainOrder{Selector: Selector{Region: "eastus"}})
			drained <- err
		}()
		synctest.Wait()
		r.down("westeurope")
		select {
		case err := <-drained:
			t.Errorf("an order does not wait for the disk: %v", err)
		default:
		}
		r.disk.goOn()
		if err := <-drained; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if got := r.disk.kinds(); got != "down drain down" {
			t.Errorf("written: %s", got)
		}
	})
}

func TestAVerdictOnAFullDiskIsWrittenLater(t *testing.T) {
	needTable(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, base, nil)
		r.disk.fill(errFull)
		r.down("westus")
		r.want("eastus", decide.Nearest)
		if _, _, err := r.Drain(DrainOrder{Selector: Selector{Region: "eastus"}}); err == nil || !strings.Contains(err.Error(), "no space left") {
			t.Errorf("an order on a full disk: %v", err)
		}
		time.Sleep(time.Minute)
		r.disk.fill(nil)
		time.Sleep(2 * retryAfter)
		if got := r.disk.kinds(); got != "down" || r.left.get() != nil {
			t.Errorf("written: %q, noted %s", got, r.left.get())
		}
	})
}

// A stalled disk is waited for, one that refuses is not: what works is used again, and
// the next process knows.
func TestAnUpOnAFullDisk(t *testing.T) {
	needTable(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, base, nil)
		r.disk.fill(errFull)
		r.down("westus")
		r.up("westus")
		r.want("westus", decide.Nearest)
		noted := r.left.get()
		r.stop()
		r.left.set(noted)
		r.disk.fill(nil)
		r.start(base)
		r.wantNow("westus", decide.Nearest)
		synctest.Wait()
		if got := r.disk.kinds(); got != "down up" {
			t.Errorf("written: %q", got)
		}
	})
}

func TestAKilledServerKnowsWhatWasDown(t *testing.T) {
	needTable(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, base, nil)
		r.disk.fill(errFull) // until after the kill
		r.down("westus")
		synctest.Wait()
		noted := r.left.get()
		r.stop()
		r.left.set(noted)
		r.disk.fill(nil)
		r.start(base)
		r.wantNow("eastus", decide.Nearest)
		synctest.Wait()
		if got := r.disk.kinds(); got != "down" {
			t.Errorf("written: %q", got)
		}
		r.monitor.mu.Lock()
		defer r.monitor.mu.Unlock()
		if r.disk.state.Health[r.key("westus")].Down == nil {
			t.Error("the ledger does not know that it is down")
		}
	})
}

func TestVerdictsOfTheProcessBefore(t *testing.T) {
	needTable(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, base, nil)
		r.Inherit([]ledger.Event{{Kind: ledger.Down, Endpoint: r.key("westus"), DecidedAt: r.now(), By: "health", Why: "dead"}})
		r.wantNow("eastus", decide.Nearest)
		synctest.Wait()
		if len(r.monitor.taken) != 1 || r.disk.kinds() != "down" {
			t.Errorf("taken down: %v, written: %s", r.monitor.taken, r.disk.kinds())
		}
	})
}

// The process before may have found that a last resort does not work any more.
func TestADeathOfTheProcessBefore(t *testing.T) {
	needTable(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, strings.Replace(base, "zone: example.io\n", "zone: example.io\n    all_down: nodata\n", 1), nil)
		r.down("eastus")
		time.Sleep(5 * time.Minute)
		r.passes("eastus", true)
		r.down("westus")
		r.down("westeurope")
		r.want("eastus", decide.LastResort)
		r.Inherit([]ledger.Event{{Kind: ledger.Down, Endpoint: r.key("eastus"), DecidedAt: r.now(), By: "health", Why: "dead"}})
		r.wantNow("", decide.NoneUp)
		synctest.Wait()
		if kinds := r.disk.kinds(); len(r.monitor.taken) != 1 || !strings.HasSuffix(kinds, " passing down") {
			t.Errorf("taken down: %v, written: %s", r.monitor.taken, kinds)
		}
	})
}

func TestExplanationsTakeNoLock(t *testing.T) {
	needTable(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, base, nil)
		r.down("westus")
		r.drain(DrainOrder{Selector: Selector{Region: "eastus"}, By: "ann", Reason: "kernel"})
		time.Sleep(time.Minute)
		r.mu.Lock() // whatever holds it
		defer r.mu.Unlock()
		if why := r.excluded("westus"); !strings.Contains(why, "3 of 3 failed") {
			t.Errorf("westus: %q", why)
		}
		if why := r.excluded("eastus"); !strings.HasPrefix(why, "drained since ") || !strings.HasSuffix(why, " by ann: kernel") {
			t.Errorf("eastus: %q", why)
		}
	})
}

func TestRecoveryIsExplained(t *testing.T) {
	needTable(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, base, nil)
		r.down("westus")
		r.passes("westus", true)
		if why := r.excluded("westus"); !strings.HasPrefix(why, "recovering since ") || !strings.Contains(why, "portolan failback") {
			t.Errorf("%q", why)
		}
		r.passes("westus", false)
		if why := r.excluded("westus"); !strings.HasPrefix(why, "down since ") {
			t.Errorf("%q", why)
		}
		r.up("westus")
		synctest.Wait()
		if why := r.excluded("westus"); why != "" {
			t.Errorf("%q", why)
		}
	})
}

// What clients are led away by is noted before they are: a kill in that instant forgets
// nothing.
func TestADeathIsNotedFirst(t *testing.T) {
	needTable(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, base, nil)
		r.disk.stall()
		defer r.disk.goOn()
		var noted atomic.Bool
		f := func() {
			if region, _ := r.answered(); !noted.Swap(true) && region != "westus" {
				t.Error("published before it is noted")
			}
		}
		r.noting.Store(&f)
		r.down("westus")
		r.wantNow("eastus", decide.Nearest)
		if !noted.Load() || r.left.get() == nil {
			t.Error("nothing is noted")
		}
	})
}
