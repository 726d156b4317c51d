package availability

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"portolan.dev/config/ledger"
	"portolan.dev/resolver/decide"
)

func TestOrdersTakeEffectAfterTheGraceTime(t *testing.T) {
	needTable(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, base, nil)
		r.drain(DrainOrder{Selector: west()})
		r.want("westus", decide.Nearest)
		time.Sleep(15 * time.Second)
		r.want("eastus", decide.Nearest)
		if _, _, err := r.Undrain(west(), "ann", ""); err != nil {
			t.Error(err)
		}
		r.want("eastus", decide.Nearest)
		time.Sleep(15 * time.Second)
		r.want("westus", decide.Nearest)
		off := false
		if _, _, err := r.SetRouting(RoutingOrder{Registry: "myregistry", Region: "westus", On: &off}); err != nil {
			t.Error(err)
		}
		time.Sleep(15 * time.Second)
		r.want("eastus", decide.Nearest)
		if got := r.disk.kinds(); got != "drain effective undrain effective routing effective" {
			t.Errorf("written: %s", got)
		}
	})
}

// What took effect is a fact: the clock of the next process may say what it likes.
func TestAnOrderInForceStaysSo(t *testing.T) {
	off := false
	for name, order := range map[string]func(r *rig) error{
		"drain": func(r *rig) error { _, _, err := r.Drain(DrainOrder{Selector: west()}); return err },
		"routing": func(r *rig) error {
			_, _, err := r.SetRouting(RoutingOrder{Registry: "myregistry", Region: "westus", On: &off})
			return err
		},
	} {
		for _, ahead := range []time.Duration{-time.Hour, -10 * time.Second, 0, time.Hour} {
			t.Run(name+ahead.String(), func(t *testing.T) {
				needTable(t)
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, base, nil)
					if err := order(r); err != nil {
						t.Fatal(err)
					}
					time.Sleep(20 * time.Second)
					r.want("eastus", decide.Nearest)
					r.restart(base, ahead)
					r.wantNow("eastus", decide.Nearest)
					time.Sleep(time.Hour)
					r.want("eastus", decide.Nearest)
				})
			})
		}
	}
}

// What has not taken effect does so at the latest after the grace time that it was
// given, whatever the clock of the next process says.
func TestAnOrderThatWaitsWaitsNoLonger(t *testing.T) {
	for _, ahead := range []time.Duration{-time.Hour, 0, time.Hour} {
		t.Run(ahead.String(), func(t *testing.T) {
			needTable(t)
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, base, nil)
				r.drain(DrainOrder{Selector: west(), For: time.Hour})
				time.Sleep(5 * time.Second)
				r.restart(base, ahead)
				if ahead <= 0 {
					r.wantNow("westus", decide.Nearest)
				}
				time.Sleep(16 * time.Second)
				if ahead <= 0 {
					r.want("eastus", decide.Nearest)
				}
				time.Sleep(time.Hour)
				r.want("westus", decide.Nearest) // and its end comes, too
			})
		})
	}
}

func TestAnUndrainThatWaitsIsKeptOverARestart(t *testing.T) {
	needTable(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, base, nil)
		r.drain(DrainOrder{Selector: west()})
		time.Sleep(time.Minute)
		if _, _, err := r.Undrain(west(), "", ""); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		r.restart(base, -30*time.Minute)
		r.want("eastus", decide.Nearest)
		time.Sleep(16 * time.Second)
		r.want("westus", decide.Nearest)
		r.restart(base, -30*time.Minute) // has it been undone?
		r.want("westus", decide.Nearest)
	})
}

// An order that waits for the disk for longer than its grace time takes effect when it
// is durable, and that is what operators are told, and what the next process knows of the
// clients that were answered meanwhile.
func TestAnOrderThatWaitedForTheDisk(t *testing.T) {
	needTable(t)
	for name, first := range map[string]bool{"drain": false, "undrain": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, base, nil)
				was, is := "westus", "eastus"
				order := func() error { _, _, err := r.Drain(DrainOrder{Selector: west()}); return err }
				if first {
					if err := order(); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Hour)
					was, is = is, was
					order = func() error { _, _, err := r.Undrain(west(), "", ""); return err }
				}
				r.disk.stall()
				done := make(chan error, 1)
				go func() { done <- order() }()
				time.Sleep(time.Minute)
				r.want(was, decide.Nearest)
				r.disk.goOn()
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				effective := r.now()
				r.want(is, decide.Nearest)
				check := func() {
					t.Helper()
					if c, members, err := r.Drained(west()); !first && err == nil {
						d, _, _, _ := r.Decided(c, members[0])
						if !d.Drain.InForce || !d.Drain.EffectiveAt.Equal(effective) {
							t.Errorf("%+v, want one that took effect at %v", d.Drain, effective)
						}
					}
					var changes []decide.Change
					r.config.Compiled.Snapshot.Live[0].History.Since(uint32(effective.Unix())-50, func(c decide.Change) bool {
						changes = append(changes, c)
						return true
					})
					if len(changes) == 0 || changes[0].At != uint32(effective.Unix()) {
						t.Errorf("%+v, want a change at %d", changes, effective.Unix())
					}
				}
				check()
				time.Sleep(5 * time.Second)
				r.restart(base, 0)
				check()
			})
		})
	}
}

func TestTheLastReplicaIsNotDrained(t *testing.T) {
	needTable(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, base, nil)
		if _, _, err := r.Drain(DrainOrder{Selector: Selector{Region: "*"}}); !errors.Is(err, ErrRefused) {
			t.Errorf("all: %v", err)
		}
		if _, _, err := r.Drain(DrainOrder{Selector: Selector{Region: "nowhere"}}); !errors.Is(err, ErrNotFound) {
			t.Errorf("nowhere: %v", err)
		}
		if _, _, err := r.Drain(DrainOrder{Selector: Selector{Region: "["}}); !errors.Is(err, ErrInvalid) {
			t.Errorf("no pattern: %v", err)
		}
		results := make(chan error, 3)
		for _, region := range []string{"westus", "eastus", "westeurope"} {
			go func() {
				_, _, err := r.Drain(DrainOrder{Selector: Selector{Region: region}})
				results <- err
			}()
		}
		refused := 0
		for range 3 {
			if err := <-results; errors.Is(err, ErrRefused) {
				refused++
			} else if err != nil {
				t.Error(err)
			}
		}
		if refused != 1 {
			t.Errorf("%d of three drains were refused", refused)
		}
	})
}

func TestAScheduledChangeDoesNotWaitForAStalledDisk(t *testing.T) {
	needTable(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, base, nil)
		r.drain(DrainOrder{Selector: west()})
		r.disk.stall()
		defer r.disk.goOn()
		time.Sleep(15*time.Second + savePatience + time.Second)
		r.want("eastus", decide.Nearest)
	})
}

// renamedBase is base with another key for its registry, which keeps its name.
func renamedBase() string {
	return strings.Replace(base, "  myregistry:\n", "  other:\n    name: myregistry\n", 1)
}

// keyChanges are the ways in which a registry gets another key.
var keyChanges = map[string]func(*rig, string){
	"reload":  (*rig).serve,
	"restart": func(r *rig, text string) { r.restart(text, 0) },
	"kill": func(r *rig, text string) { // before anything of it is written
		r.disk.fill(errFull)
		r.restart(text, 0)
		r.stop()
		r.disk.fill(nil)
		r.start(text)
	},
}

// A registry is the same under another key: its drains stay in force, and its replicas
// that are down stay so, be the key changed by a reload or between two processes.
func TestAnotherKeyForARegistry(t *testing.T) {
	needTable(t)
	for name, change := range keyChanges {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, base, nil)
				r.drain(DrainOrder{Selector: west(), By: "ann"})
				r.down("eastus")
				time.Sleep(time.Minute)
				r.want("westeurope", decide.Nearest)
				change(r, renamedBase())
				r.want("westeurope", decide.Nearest)
				r.restart(renamedBase(), 0)
				r.want("westeurope", decide.Nearest)
				if why := r.excluded("westus"); !strings.Contains(why, "by ann") {
					t.Errorf("%q", why)
				}
				if got := r.Absent(Selector{}); len(got) != 0 {
					t.Errorf("drains that nobody ordered: %+v", got)
				}
				if _, _, err := r.Undrain(Selector{Registry: "other"}, "", ""); err != nil {
					t.Error(err)
				}
				time.Sleep(16 * time.Second)
				r.want("westus", decide.Nearest)
				r.restart(renamedBase(), 0)
				r.want("westus", decide.Nearest)
			})
		})
	}
}

// So do orders that have not taken effect, and switches of routing; and two registries may
// change keys with one another.
func TestOrdersFollowTheName(t *testing.T) {
	needTable(t)
	off := false
	for name, change := range keyChanges {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, base, nil)
				if _, _, err := r.SetRouting(RoutingOrder{Registry: "myregistry", Region: "westus", On: &off}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				r.drain(DrainOrder{Selector: Selector{Region: "eastus"}})
				time.Sleep(5 * time.Second)
				change(r, renamedBase())
				r.want("eastus", decide.Nearest)
				time.Sleep(16 * time.Second)
				r.want("westeurope", decide.Nearest)
				r.restart(renamedBase(), 0)
				r.want("westeurope", decide.Nearest)
			})
			synctest.Test(t, func(t *testing.T) {
				const two = base + `
  second: {zone: example.io, replicas: {westus: {addresses: [192.0.2.11]}, eastus: {addresses: [192.0.2.12]}, westeurope: {addresses: [192.0.2.13]}}}
`
				swapped := strings.NewReplacer("  myregistry:\n", "  second:\n    name: myregistry\n", "  second: {", "  myregistry: {name: second, ").Replace(two)
				r := newRig(t, two, nil)
				r.drain(DrainOrder{Selector: Selector{Registry: "myregistry", Region: "westus"}, By: "ann"})
				r.drain(DrainOrder{Selector: Selector{Registry: "second", Region: "eastus"}, By: "bob"})
				time.Sleep(time.Minute)
				change(r, swapped)
				for range 2 {
					got := make(map[string]string)
					c, members, err := r.Drained(Selector{})
					if err != nil {
						t.Fatal(err)
					}
					for _, m := range members {
						d, _, _, _ := r.Decided(c, m)
						s := c.Compiled.Snapshot
						got[s.Registries[m.Registry].Name+" "+s.Regions[m.Region].Label] = d.Drain.By
					}
					if len(got) != 2 || got["myregistry.example.io. westus"] != "ann" || got["second.example.io. eastus"] != "bob" {
						t.Errorf("%v", got)
					}
					synctest.Wait()
					r.restart(swapped, 0)
				}
			})
		})
	}
}

func TestDrainsOfReplicasThatAreGone(t *testing.T) {
	needTable(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, base, nil)
		r.drain(DrainOrder{Selector: west(), By: "ann"})
		time.Sleep(time.Minute)
		r.serve(strings.Replace(base, "      westus: {addresses: [192.0.2.1], probe: tcp}\n", "", 1))
		got := r.Absent(Selector{})
		if len(got) != 1 || got[0].Subject != (ledger.Subject{Registry: "myregistry", Region: "westus"}) || !got[0].InForce || got[0].By != "ann" {
			t.Fatalf("%+v", got)
		}
		if _, _, err := r.Undrain(west(), "", ""); err != nil {
			t.Error(err)
		}
		time.Sleep(16 * time.Second)
		r.serve(base)
		r.want("westus", decide.Nearest)
		synctest.Wait()
	})
}

// An upgrade waits for what was decided, and holds back what is not.
func TestOrdersArePaused(t *testing.T) {
	needTable(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, base, nil)
		r.disk.stall()
		r.down("westus")
		resumed := make(chan func())
		go func() { resumed <- r.Pause(t.Context()) }()
		synctest.Wait()
		select {
		case <-resumed:
			t.Error("what was decided is not durable")
		default:
		}
		r.disk.goOn()
		resume := <-resumed
		drained := make(chan error, 1)
		go func() {
			_, _, err := r.Drain(DrainOrder{Selector: Selector{Region: "eastus"}})
			drained <- err
		}()
		r.stop()
		resume()
		if err := <-drained; !errors.Is(err, errStopped) {
			t.Errorf("an order for a process that has gone: %v", err)
		}
		if got := r.disk.kinds(); got != "down" {
			t.Errorf("written: %s", got)
		}
	})
}

// Asking again merges: what an order does not speak of stays as an earlier one has it, and
// nobody's end or deadline goes unsaid.
func TestRepeatedDrainsMerge(t *testing.T) {
	needTable(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, base, nil)
		now := r.now()
		at := now.Add
		for i, step := range []struct {
			order           DrainOrder
			deadline, until time.Time
			reason, by      string
			now             bool
			written         int // events so far
		}{
			{DrainOrder{Selector: west(), By: "ann", Reason: "disk", For: 2 * time.Hour}, time.Time{}, at(2 * time.Hour), "disk", "ann", false, 1},
			{DrainOrder{Selector: west(), By: "bob"}, time.Time{}, at(2 * time.Hour), "disk", "ann", false, 1},
			{DrainOrder{Selector: west(), By: "bob", Deadline: 10 * time.Minute}, at(10 * time.Minute), at(2 * time.Hour), "disk", "bob", false, 2},
			{DrainOrder{Selector: west(), By: "bob", Deadline: None, For: time.Hour}, time.Time{}, at(time.Hour), "disk", "bob", false, 3},
			{DrainOrder{Selector: west(), By: "bob", For: None, Deadline: None}, time.Time{}, time.Time{}, "disk", "bob", false, 4},
			{DrainOrder{Selector: west(), By: "bob", For: None}, time.Time{}, time.Time{}, "disk", "bob", false, 4},
			{DrainOrder{Selector: west(), By: "cid", Reason: "fan", Now: true}, time.Time{}, time.Time{}, "fan", "cid", true, 5},
			{DrainOrder{Selector: west(), By: "cid"}, time.Time{}, time.Time{}, "fan", "cid", true, 5},
			{DrainOrder{Selector: west(), By: "dan", For: 3 * time.Hour}, time.Time{}, at(3 * time.Hour), "fan", "dan", true, 6},
		} {
			r.drain(step.order)
			c, members, err := r.Drained(Selector{})
			if err != nil || len(members) != 1 {
				t.Fatal(members, err)
			}
			d, _, _, _ := r.Decided(c, members[0])
			if got := d.Drain; !got.Deadline.Equal(step.deadline) || !got.Until.Equal(step.until) || got.Reason != step.reason || got.By != step.by || got.Now != step.now {
				t.Errorf("step %d: %+v", i, got)
			}
			drains := 0
			for _, e := range r.disk.written() {
				if e.Kind == ledger.Drain {
					drains++
				}
			}
			if drains != step.written {
				t.Errorf("step %d: %d drains are written, want %d", i, drains, step.written)
			}
		}
		time.Sleep(3*time.Hour + 20*time.Second)
		r.want("westus", decide.Nearest)
	})
}

// An order that makes nothing worse is not refused: one that is repeated, and any while all
// replicas are down that leaves one to be answered.
func TestOrdersThatMakeNothingWorse(t *testing.T) {
	needTable(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, base, nil)
		drain := func(region string, force, refused bool) {
			t.Helper()
			if _, _, err := r.Drain(DrainOrder{Selector: Selector{Region: region}, Force: force, Reason: region}); errors.Is(err, ErrRefused) != refused {
				t.Errorf("%s: %v", region, err)
			}
		}
		drain("*us", false, false)
		drain("westeurope", false, true)
		drain("westeurope", true, false)
		drain("westeurope", false, false) // again
		if _, _, err := r.Undrain(Selector{}, "", ""); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		for _, region := range []string{"westus", "eastus", "westeurope"} {
			r.down(region)
		}
		drain("westus", false, false)
		if _, _, err := r.SetRouting(RoutingOrder{Registry: "myregistry", Region: "eastus", On: new(bool)}); err != nil {
			t.Error(err)
		}
		drain("westeurope", false, true) // nothing would be answered at all
		if _, _, err := r.SetRouting(RoutingOrder{Registry: "myregistry", Region: "eastus"}); err != nil {
			t.Error(err)
		}
		drain("westeurope", false, false)
		if _, _, err := r.Undrain(Selector{Region: "west*"}, "", ""); err != nil {
			t.Error(err)
		}
	})
}

// Failback names all that come back: replicas that share a probe do so together.
func TestFailbackNamesWhatSharesTheProbe(t *testing.T) {
	needTable(t)
	synctest.Test(t, func(t *testing.T) {
		var text strings.Builder
		text.WriteString(base)
		for i := range 8 {
			fmt.Fprintf(&text, "  other%d: {zone: example.io, replicas: {westus: {addresses: [192.0.2.1], probe: tcp}, eastus: {addresses: [192.0.2.2], probe: tcp}}}\n", i)
		}
		r := newRig(t, text.String(), nil)
		r.down("westus")
		r.passes("westus", true)
		c, members, err := r.Failback(Selector{Registry: "myregistry", Region: "westus"}, "ann", "")
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, m := range members {
			names = append(names, c.Compiled.Snapshot.Registries[m.Registry].Key)
		}
		if len(names) != 9 || names[0] != "myregistry" || !slices.Contains(names, "other7") {
			t.Errorf("%v", names)
		}
		written := r.disk.written()
		i := slices.IndexFunc(written, func(e ledger.Event) bool { return e.Kind == ledger.Failback })
		if want := "also, with the same probe: other0/westus, other1/westus, other2/westus, other3/westus, other4/westus, and 3 more"; written[i].Detail != want {
			t.Errorf("%q, want %q", written[i].Detail, want)
		}
	})
}
