package ledger

import (
	"errors"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestTargets(t *testing.T) {
	path, clk := tempPath(t), newClock()
	f := mustOpen(t, path, Options{Now: clk.now})
	if got, at, err := f.Targets(t.Context()); got != nil || !at.IsZero() || err != nil {
		t.Errorf("none saved: %v %v %v", got, at, err)
	}
	for _, want := range [][]Target{
		{{Host: "a.test.", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}, ResolvedAt: clk.now()}},
		{{Host: "b.test.", ResolvedAt: clk.now().Add(-time.Hour)}, {Host: "a.test.", ResolvedAt: clk.now()}},
		{},
	} {
		clk.move(time.Second)
		if err := f.PutTargets(t.Context(), want); err != nil {
			t.Fatal(err)
		}
		mustClose(t, f)
		f = mustOpen(t, path, Options{Now: clk.now})
		got, at, err := f.Targets(t.Context())
		if d := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); d != "" || !at.Equal(clk.now()) || err != nil {
			t.Errorf("%s of %v, %v", d, at, err)
		}
	}
	if err := f.PutTargets(t.Context(), []Target{{Host: string(make([]byte, maxTargets))}}); !errors.Is(err, ErrInvalid) {
		t.Errorf("too large: %v", err)
	}
}

// What is damaged, or of another version, stops nothing: it is reported, and replaced.
func TestDamagedTargets(t *testing.T) {
	path := tempPath(t)
	f := mustOpen(t, path, Options{})
	if err := f.PutTargets(t.Context(), []Target{{Host: "a.test."}}); err != nil {
		t.Fatal(err)
	}
	s := targetsFile()
	sound, err := os.ReadFile(path + s.suffix)
	if err != nil {
		t.Fatal(err)
	}
	sealed := func(payload string) []byte {
		return seal(s.suffix, []byte(s.key), []byte("\x00\x00\x00\x00\x00\x00\x00\x01"+payload))
	}
	for what, b := range map[string][]byte{
		"a bit": append(append([]byte(nil), sound[:len(sound)-1]...), sound[len(sound)-1]^0x10), "cut": sound[:len(sound)-1], "empty": {},
		"no JSON": sealed("targets"), "a later version": sealed(`{"v":2}`), "no address": sealed(`{"v":1,"targets":[{"host":"a.","addresses":["1.2.3"]}]}`),
	} {
		if err := os.WriteFile(path+s.suffix, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, _, err := f.Targets(t.Context()); !errors.Is(err, ErrCorrupt) || got != nil {
			t.Errorf("%s passes as %v, %v", what, got, err)
		}
	}
	if err := f.PutTargets(t.Context(), []Target{{Host: "b.test."}}); err != nil {
		t.Fatal(err)
	}
	if got, _, err := f.Targets(t.Context()); len(got) != 1 || got[0].Host != "b.test." || err != nil {
		t.Errorf("%v %v", got, err)
	}
}
