package availability

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"portolan.dev/config/ledger"
	"portolan.dev/health"
	"portolan.dev/resolver/compile"
)

// several is base with more addresses for one replica.
func several() string {
	return strings.NewReplacer("westus: {addresses: [192.0.2.1]", `westus: {addresses: [192.0.2.1, "2001:db8::1", 192.0.2.9, "2001:db8::9", 192.0.2.11]`,
		"[192.0.2.2]", `[192.0.2.2, "2001:db8::2"]`, "[192.0.2.3]", `[192.0.2.3, "2001:db8::3"]`).Replace(base)
}

func (r *rig) westus() compile.Member {
	r.t.Helper()
	m, ok := memberOf(r.config.Compiled, ledger.Subject{Registry: "myregistry", Region: "westus"})
	if !ok {
		r.t.Fatal("no westus")
	}
	return m
}

// leftOut lists the addresses of westus that are left out.
func (r *rig) leftOut() string { return fmt.Sprint(r.config.Compiled.LeftOut(r.westus())) }

// A dead address is left out as long as another of its family lives; the last of a family
// stays, and of those that are all dead those that work, or were answered before.
func TestDeadAddressesAreLeftOut(t *testing.T) {
	needTable(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, several(), nil)
		serial := r.config.Compiled.Snapshot.Serials[0].Load()
		for i, step := range []struct {
			out, passing uint32 // by the order of the file: 4, 6, 4, 6, 4
			want         string
		}{
			{0b00001, 0, "[192.0.2.1]"},
			{0b00011, 0, "[192.0.2.1 2001:db8::1]"},
			{0b01011, 0, "[192.0.2.1 2001:db8::1]"},       // the last of IPv6 stays
			{0b11111, 0, "[192.0.2.1 2001:db8::1]"},       // as do those of IPv4 that were left
			{0b11111, 0b00010, "[192.0.2.1 2001:db8::9]"}, // one works: not long enough to be back
			{0b11111, 0b00001, "[2001:db8::9 192.0.2.9 192.0.2.11]"},
			{0b00010, 0b00010, "[2001:db8::1]"},
			{0, 0, "[]"},
		} {
			time.Sleep(time.Second)
			r.Parted([]health.Parts{{Endpoint: r.key("westus"), Out: step.out, Passing: step.passing, At: r.now(), Reason: "timeout"}})
			got := r.config.Compiled.LeftOut(r.westus())
			text := strings.Fields(strings.Trim(fmt.Sprint(got), "[]"))
			want := strings.Fields(strings.Trim(step.want, "[]"))
			slices.Sort(text)
			slices.Sort(want)
			if !slices.Equal(text, want) {
				t.Errorf("step %d: %v, want %v", i, text, want)
			}
		}
		if now := r.config.Compiled.Snapshot.Serials[0].Load(); now <= serial {
			t.Errorf("serial %d after %d", now, serial)
		}
		if log := r.log.String(); !strings.Contains(log, "are dead and left out") || !strings.Contains(log, "left_out=[192.0.2.1]") || !strings.Contains(log, "are back") {
			t.Errorf("logged: %s", log)
		}
	})
}

// Whatever happens, no family that a replica has is without an address, no address that is
// well is left out, and a reload changes nothing.
func TestNoFamilyGoes(t *testing.T) {
	needTable(t)
	for seed := range uint64(50) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			r := newRig(t, several(), nil)
			for range 30 {
				out := rng.Uint32N(32)
				passing := out & rng.Uint32N(32)
				r.Parted([]health.Parts{{Endpoint: r.key("westus"), Out: out, Passing: passing, At: r.now()}})
				if rng.IntN(4) == 0 {
					before := r.leftOut()
					r.serve(several() + fmt.Sprintf("# %d\n", rng.Uint32()))
					if r.leftOut() != before {
						t.Fatalf("seed %d: a reload leaves out %s, not %s", seed, r.leftOut(), before)
					}
				}
				left := r.config.Compiled.LeftOut(r.westus())
				v4, v6 := 0, 0
				for _, a := range left {
					if a.Is4() {
						v4++
					} else {
						v6++
					}
				}
				if v4 == 3 || v6 == 2 {
					t.Fatalf("seed %d: a family is gone: %v", seed, left)
				}
				for i, a := range []string{"192.0.2.1", "2001:db8::1", "192.0.2.9", "2001:db8::9", "192.0.2.11"} {
					if out>>i&1 == 0 && strings.Contains(fmt.Sprint(left)+" ", a+" ") {
						t.Fatalf("seed %d: %s is well and left out: %v", seed, a, left)
					}
				}
			}
		})
	}
}
