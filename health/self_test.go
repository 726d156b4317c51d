package health

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// fleet is a number of endpoints with one check each.
func fleet(n int) (targets []*target, endpoints []Endpoint) {
	for i := range n {
		targets = append(targets, passing())
		key := strconv.Itoa(i)
		endpoints = append(endpoints, Endpoint{Key: key, Checks: []Check{checkOf(key, targets[i])}})
	}
	return targets, endpoints
}

// bound is how long a check of the rig takes to go down, at most.
const bound = 3*10*time.Second + 2*time.Second + 100*time.Millisecond

// impairments returns what the prober said of itself: "impaired: why" or "well".
func (r *rig) impairments() (out []string) {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.selves {
		if s.Impaired {
			out = append(out, "impaired: "+s.Reason)
		} else {
			out = append(out, "well")
		}
	}
	return out
}

func wantImpairments(t *testing.T, r *rig, want ...string) {
	t.Helper()
	if got := r.impairments(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the prober said %q, want %q", got, want)
	}
}

func TestLocalFaultsTakeNothingDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		targets, endpoints := fleet(3)
		r := start(t, Options{}, endpoints...)
		time.Sleep(time.Minute)
		lost := time.Now()
		for _, p := range targets {
			p.blame(Fail, Local) // a prober may leave the verdict to the monitor
		}
		time.Sleep(time.Hour)
		wantSaid(t, r)
		wantImpairments(t, r, "impaired: 2 of 3 checks fail here: said fail")
		if s := r.SelfCheck(); !s.Impaired || s.LocalShare != 1 || s.Since.Sub(lost) > 10*time.Second {
			t.Errorf("%+v", s)
		}
		for key := range 3 {
			s := wantState(t, r, strconv.Itoa(key), Up)
			if d := lost.Sub(s.UnseenSince); d < 0 || d > 10*time.Second+batch {
				t.Errorf("unseen since %v before the loss", d)
			}
		}
		if got := len(r.Unseen()); got != 3 {
			t.Errorf("%d endpoints are unseen", got)
		}
		for _, p := range targets {
			p.blame(Pass, Answered)
		}
		time.Sleep(time.Minute)
		wantSaid(t, r)
		wantImpairments(t, r, "impaired: 2 of 3 checks fail here: said fail", "well")
		if s := wantState(t, r, "1", Up); !s.UnseenSince.IsZero() || len(r.Unseen()) != 0 {
			t.Errorf("unseen since %v though it passes", s.UnseenSince)
		}
		if len(r.sights) != 6 {
			t.Errorf("%d endpoints were lost or seen again, want 3 and 3", len(r.sights))
		}
	})
}

// TestOneLocalFaultIsNotBlindness: a passing shortage keeps what is known of a check.
func TestOneLocalFaultIsNotBlindness(t *testing.T) {
	v4, v6 := thresholds{3, 3}, checkState{state: Up}
	v6 = v6.step(Result{Verdict: Neutral, Fault: Local}, epoch(), v4)
	e := endpointState{state: Up}
	down := checkState{state: Down}
	if e, _ = e.step(view{}.add(down, v4).add(v6, v4), epoch(), 0, causeFail); e.state != Up {
		t.Error("down by one local fault")
	}
	for range 2 {
		v6 = v6.step(Result{Verdict: Neutral, Fault: Local}, epoch(), v4)
	}
	v := view{}.add(down, v4).add(v6, v4)
	if got, _ := e.step(v, epoch(), 0, causeOther); got.state != Up {
		t.Error("a fault here takes the endpoint down")
	}
	if got, _ := e.step(v, epoch(), 0, causeFail); got.state != Down {
		t.Error("a check that cannot be seen keeps a dead endpoint up")
	}
}

// TestDeathOnAMachineWithoutIPv6: an address that was never seen from here must not
// hide the death of the other one, however it dies.
func TestDeathOnAMachineWithoutIPv6(t *testing.T) {
	for _, way := range []Fault{Answered, Silent, Unreachable} {
		synctest.Test(t, func(t *testing.T) {
			v4, v6 := passing(), passing()
			v6.blame(Neutral, Local)
			r := start(t, Options{}, Endpoint{Key: "e", Checks: []Check{checkOf("v4", v4), checkOf("v6", v6)}})
			time.Sleep(30 * time.Minute)
			wantImpairments(t, r)
			v4.blame(Fail, way)
			time.Sleep(bound)
			wantSaid(t, r, "e down: 1 of 2 checks are down, 1 cannot be seen from here, the last is test v4: 3 of 3 failed: said fail")
			wantImpairments(t, r)
		})
	}
}

func TestMostFailHere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		targets, endpoints := fleet(5)
		r := start(t, Options{}, endpoints...)
		time.Sleep(time.Minute)
		for _, p := range targets[:3] {
			p.blame(Neutral, Local)
		}
		time.Sleep(10 * time.Second)
		targets[3].blame(Fail, Silent)
		targets[4].blame(Fail, Answered)
		time.Sleep(bound)
		wantSaid(t, r, "4 down: 3 of 3 failed: said fail")
		// What has been so for long is the normal state of the machine.
		time.Sleep(sudden + time.Minute)
		wantSaid(t, r, "4 down: 3 of 3 failed: said fail", "3 down: 3 of 3 failed: said fail")
		wantImpairments(t, r, "impaired: 3 of 5 checks fail here: said neutral", "well")
	})
}

func TestAllUnreachable(t *testing.T) {
	for n, want := range map[int]int{1: 1, 2: 2, 3: 0, 5: 0} {
		synctest.Test(t, func(t *testing.T) {
			targets, endpoints := fleet(n)
			r := start(t, Options{}, endpoints...)
			time.Sleep(time.Minute)
			for _, p := range targets {
				p.blame(Fail, Unreachable)
			}
			time.Sleep(10 * time.Minute)
			if got := len(r.said()); got != want {
				t.Errorf("%d of %d are down, want %d", got, n, want)
			}
			if n < fewest {
				return
			}
			targets[0].blame(Pass, Answered)
			time.Sleep(bound + 10*time.Second)
			if got := len(r.said()); got != n-1 {
				t.Errorf("%d of %d are down once another is reached", got, n)
			}
		})
	}
}

// anchored starts a rig with anchors.
func anchored(t *testing.T, anchors []*target, endpoints ...Endpoint) *rig {
	t.Helper()
	r := start(t, Options{}, endpoints...)
	var given []Anchor
	for i, p := range anchors {
		given = append(given, Anchor{Name: "anchor " + strconv.Itoa(i), Prober: p})
	}
	r.SetAnchors(given)
	return r
}

// hang makes targets take longer than any timeout.
func hang(targets ...*target) {
	for _, p := range targets {
		p.takes.Store(int64(24 * time.Hour))
	}
}

// TestSilentLossOfTheUplink: packets vanish, nothing fails here. The first failure of a
// check would take it down, at whatever moment.
func TestSilentLossOfTheUplink(t *testing.T) {
	for _, others := range []time.Duration{time.Hour, time.Second} {
		synctest.Test(t, func(t *testing.T) {
			targets, endpoints := fleet(20)
			for i := range endpoints {
				endpoints[i].Checks[0].Fall = 1
			}
			slow := checkOf("other", passing())
			slow.Interval, slow.Timeout = others, min(others, 2*time.Second)
			endpoints = append(endpoints, Endpoint{Key: "other", Checks: []Check{slow}})
			anchors := []*target{passing(), passing()}
			anchors[1].blame(Fail, Answered) // refuses: that is an answer
			r := anchored(t, anchors, endpoints...)
			time.Sleep(time.Minute)
			for range 30 {
				time.Sleep(777 * time.Millisecond)
				hang(targets...)
				hang(anchors...)
				time.Sleep(20 * time.Second)
				for _, p := range append(slices.Clip(targets), anchors...) {
					p.takes.Store(0)
				}
				time.Sleep(15 * time.Second)
			}
			wantSaid(t, r)
			if got := r.impairments(); len(got) != 60 || got[0] != "impaired: no anchor answers: anchor 0, anchor 1" || got[1] != "well" {
				t.Errorf("%d changes of the prober, %q", len(got), got)
			}
		})
	}
}

// TestSilentDeathWithAnchors: while one anchor answers, a silent death is found in time.
func TestSilentDeathWithAnchors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		targets, endpoints := fleet(1)
		anchors := []*target{passing(), passing()}
		hang(anchors[1])
		anchors[0].takes.Store(int64(30 * time.Millisecond))
		r := anchored(t, anchors, endpoints...)
		time.Sleep(time.Minute)
		hang(targets...)
		time.Sleep(bound + 200*time.Millisecond + anchorTimeout)
		wantSaid(t, r, "0 down: 3 of 3 failed: gave up")
		wantImpairments(t, r)
	})
}

// TestRealDeathWhileImpaired: what a target itself says counts without the anchors.
func TestRealDeathWhileImpaired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		targets, endpoints := fleet(3)
		anchors := []*target{passing()}
		r := anchored(t, anchors, endpoints...)
		time.Sleep(time.Minute)
		hang(targets[0], targets[1], anchors[0])
		time.Sleep(20 * time.Second)
		targets[2].set(Fail)
		time.Sleep(bound)
		wantSaid(t, r, "2 down: 3 of 3 failed: said fail")
	})
}

// TestAnchorsThatAreGone must not block failover for ever.
func TestAnchorsThatAreGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		targets, endpoints := fleet(3)
		anchors := []*target{passing()}
		r := anchored(t, anchors, endpoints...)
		time.Sleep(time.Minute)
		hang(anchors...)
		time.Sleep(30 * time.Second)
		if r.SelfCheck().Impaired {
			t.Error("impaired though all targets answer")
		}
		hang(targets[0])
		time.Sleep(bound + anchorTimeout)
		wantSaid(t, r, "0 down: 3 of 3 failed: gave up")
		// And when the way is lost as well, that is found.
		hang(targets[1:]...)
		time.Sleep(5 * time.Minute)
		wantSaid(t, r, "0 down: 3 of 3 failed: gave up")
		if !r.SelfCheck().Impaired {
			t.Error("not impaired though nothing answers any more")
		}
	})
}

func TestSetAnchors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		targets, endpoints := fleet(3)
		anchor := passing()
		hang(anchor)
		hang(targets...)
		r := anchored(t, []*target{anchor}, endpoints...)
		time.Sleep(10 * time.Minute)
		wantSaid(t, r)
		r.SetAnchors(nil)
		time.Sleep(bound)
		if got := len(r.said()); got != 3 {
			t.Errorf("%d of 3 are down without anchors", got)
		}
		if s := r.SelfCheck(); s.Impaired || len(s.Anchors) != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// TestRandomTrouble mixes failures of all kinds. No endpoint goes down in a span in which
// none of its failures counts, and each goes down in time once it answers badly itself,
// impaired or not.
func TestRandomTrouble(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 7))
			targets, endpoints := fleet(1 + rng.IntN(8))
			var anchors []*target
			for range rng.IntN(3) {
				anchors = append(anchors, passing())
			}
			r := anchored(t, anchors, endpoints...)
			time.Sleep(time.Minute)
			for range 40 {
				// A span of trouble that is ours alone, or the target's own.
				bad := map[string]bool{}
				silentToo := len(anchors) > 0 && rng.IntN(2) == 0
				for _, a := range anchors {
					a.takes.Store(0)
					if silentToo {
						hang(a)
					}
				}
				// Most must not answer, or the anchors were taken for gone.
				for i, p := range targets {
					switch n := rng.IntN(10); {
					case n == 0:
						p.blame(Fail, Answered)
						bad[strconv.Itoa(i)] = true
					case silentToo && n < 6:
						hang(p)
					case n < 9 || silentToo:
						p.blame(Fail, Local)
					default:
						p.blame(Pass, Answered)
					}
				}
				before := len(r.said())
				time.Sleep(bound + time.Duration(rng.Int64N(int64(time.Minute))))
				for _, line := range r.said()[before:] {
					if key, _, ok := strings.Cut(line, " down: "); ok && !bad[key] {
						t.Fatalf("seed %d: %s, though all its failures were ours", seed, line)
					}
				}
				for key := range bad {
					wantState(t, r, key, Down)
				}
				for _, p := range append(slices.Clip(targets), anchors...) {
					p.takes.Store(0)
					p.blame(Pass, Answered)
				}
				time.Sleep(time.Minute)
			}
		})
	}
}

// TestAnswerDuringTheWait: what a target says is newer than a silence that still waits for
// an anchor.
func TestAnswerDuringTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, anchor := passing(), passing()
		anchor.takes.Store(int64(500 * time.Millisecond))
		c := checkOf("a", p)
		c.Interval, c.Timeout, c.Fall = time.Second, time.Second, 1
		r := anchored(t, []*target{anchor}, Endpoint{Key: "e", Checks: []Check{c}})
		time.Sleep(time.Minute)
		for range 20 {
			hang(p)
			for p.now.Load() == 0 {
				time.Sleep(10 * time.Millisecond)
			}
			p.takes.Store(0)
			time.Sleep(5 * time.Second)
		}
		wantSaid(t, r)
	})
}

func TestSetEndsWhatItsChecksBegan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		targets, endpoints := fleet(3)
		for _, p := range targets {
			p.blame(Neutral, Local)
		}
		r := start(t, Options{}, endpoints...)
		time.Sleep(time.Minute)
		if !r.SelfCheck().Impaired {
			t.Fatal("not impaired though all checks fail here")
		}
		r.Set(nil)
		if s := r.SelfCheck(); s.Impaired || len(r.Unseen()) != 0 {
			t.Errorf("without checks: %+v, %q unseen", s, r.Unseen())
		}
	})
}

// TestBlindnessIsNoRecovery: the time in which an endpoint could not be seen is no part
// of its recovery hold.
func TestBlindnessIsNoRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := passing()
		p.set(Fail)
		r := start(t, Options{}, Endpoint{Key: "e", Checks: []Check{checkOf("a", p)}, RecoveryHold: 10 * time.Minute})
		time.Sleep(time.Minute)
		p.set(Pass)
		time.Sleep(2 * time.Minute)
		wantState(t, r, "e", Recovering)
		p.blame(Neutral, Local)
		time.Sleep(time.Hour)
		p.blame(Pass, Answered)
		time.Sleep(7 * time.Minute)
		wantState(t, r, "e", Recovering)
		time.Sleep(2 * time.Minute)
		wantState(t, r, "e", Up)
	})
}
