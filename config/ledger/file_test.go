package ledger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestOpenCreates(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "state", "ledger.db")
	f := mustOpen(t, path, Options{})
	for name, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700 | os.ModeDir} {
		if info, err := os.Stat(name); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v, want %v", name, info.Mode(), err, want)
		}
	}
	if d := diffState(State{}, mustState(t, f)); d != "" {
		t.Error(d)
	}
	if files, err := os.ReadDir(filepath.Dir(path)); err != nil || len(files) != 1 {
		t.Errorf("%v, %v: something was left behind", files, err)
	}
	if _, err := Open(path, Options{}); !errors.Is(err, ErrInvalid) {
		t.Errorf("without a clock: %v", err)
	}
}

func TestOpenInUse(t *testing.T) {
	path := tempPath(t)
	f := mustOpen(t, path, Options{})
	_, err := Open(path, Options{Now: time.Now, Timeout: time.Millisecond})
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "state.dir") {
		t.Fatal(err)
	}
	mustAppend(t, f, Event{Kind: Start})
	mustClose(t, f)
	if s := mustState(t, mustOpen(t, path, Options{})); s.Seq != 1 {
		t.Errorf("seq %d", s.Seq)
	}
}

// The pages of a file that another process is writing are not looked at: what does
// not fit together there is no damage.
func TestOpenInUseBeforeItIsChecked(t *testing.T) {
	path := tempPath(t)
	settled(t, mustOpen(t, path, Options{}))
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteAt(make([]byte, 64), int64(os.Getpagesize())); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, Options{Now: time.Now, Timeout: time.Millisecond}); !errors.Is(err, ErrLocked) {
		t.Error(err)
	}
}

// Of two servers that find no file, one makes it and the other finds it in use
// or, the first being gone, full.
func TestOpenTwiceAtOnce(t *testing.T) {
	path := tempPath(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			f, err := Open(path, Options{Now: time.Now, Timeout: 20 * time.Second})
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := f.Append(context.Background(), 0, Event{Kind: Start}); err != nil {
				t.Error(err)
			}
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if s := mustState(t, mustOpen(t, path, Options{})); s.Seq != 8 {
		t.Errorf("seq %d, want 8: a file was replaced", s.Seq)
	}
}

func TestClosed(t *testing.T) {
	f := mustOpen(t, tempPath(t), Options{})
	watched := f.Watch(t.Context(), 0)
	mustClose(t, f)
	mustClose(t, f)
	if _, ok := <-watched; ok {
		t.Error("a Watch goes on")
	}
	ctx := t.Context()
	_, stateErr := f.State(ctx)
	_, appendErr := f.Append(ctx, 0, Event{Kind: Start})
	_, eventsErr := f.Events(ctx, 0, 0)
	_, _, holdsErr := f.Holds(ctx)
	_, _, targetsErr := f.Targets(ctx)
	_, _, servedErr := f.Served(ctx)
	_, statsErr := f.Stats()
	for what, err := range map[string]error{
		"State": stateErr, "Append": appendErr, "Events": eventsErr, "Holds": holdsErr, "Stats": statsErr,
		"PutHolds": f.PutHolds(ctx, nil), "Targets": targetsErr, "PutTargets": f.PutTargets(ctx, nil), "Served": servedErr, "PutServed": f.PutServed(ctx, nil), "SetSerials": f.SetSerials(ctx, nil),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, ok := <-f.Watch(ctx, 0); ok {
		t.Error("a Watch begins")
	}
}

func TestCanceledContext(t *testing.T) {
	f := mustOpen(t, tempPath(t), Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, stateErr := f.State(ctx)
	_, appendErr := f.Append(ctx, 0, Event{Kind: Start})
	for _, err := range []error{stateErr, appendErr, f.SetSerials(ctx, map[string]uint32{"a.": 1}), f.PutHolds(ctx, nil)} {
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	if s := mustState(t, f); s.Seq != 0 || len(s.Serials) != 0 {
		t.Errorf("%+v", s)
	}
}

func TestSerials(t *testing.T) {
	path := tempPath(t)
	f := mustOpen(t, path, Options{})
	for _, serials := range []map[string]uint32{{"a.": 1, "b.": 4294967295}, {"a.": 2}, {}} {
		if err := f.SetSerials(t.Context(), serials); err != nil {
			t.Fatal(err)
		}
	}
	for _, zone := range []string{"", "a\x00.", "\xff", strings.Repeat("a", MaxName+1)} {
		if err := f.SetSerials(t.Context(), map[string]uint32{zone: 1}); !errors.Is(err, ErrInvalid) {
			t.Errorf("%.9q: %v", zone, err)
		}
	}
	want := map[string]uint32{"a.": 2, "b.": 4294967295}
	if d := cmp.Diff(want, mustState(t, f).Serials); d != "" {
		t.Error(d)
	}
	mustClose(t, f)
	if d := cmp.Diff(want, mustState(t, mustOpen(t, path, Options{})).Serials); d != "" {
		t.Error(d)
	}
}

func TestHolds(t *testing.T) {
	path, clk := tempPath(t), newClock()
	f := mustOpen(t, path, Options{Now: clk.now})
	if b, at, err := f.Holds(t.Context()); b != nil || !at.IsZero() || err != nil {
		t.Errorf("none saved: %v %v %v", b, at, err)
	}
	for _, table := range []string{"first and long", "second", ""} {
		clk.move(time.Second)
		if err := f.PutHolds(t.Context(), []byte(table)); err != nil {
			t.Fatal(err)
		}
		mustClose(t, f)
		f = mustOpen(t, path, Options{Now: clk.now})
		b, at, err := f.Holds(t.Context())
		if string(b) != table || b == nil || !at.Equal(clk.now()) || err != nil {
			t.Errorf("got %q of %v, %v", b, at, err)
		}
	}
	if err := f.PutHolds(t.Context(), make([]byte, MaxHolds+1)); !errors.Is(err, ErrInvalid) {
		t.Errorf("too large: %v", err)
	}
	if err := f.PutHolds(t.Context(), make([]byte, MaxHolds)); err != nil {
		t.Error(err)
	}
	if b, _, err := f.Holds(t.Context()); len(b) != MaxHolds || err != nil {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

// A damaged table stops nothing: it is reported, and replaced.
func TestDamagedHolds(t *testing.T) {
	path := tempPath(t)
	f := mustOpen(t, path, Options{})
	if err := f.PutHolds(t.Context(), []byte("the table")); err != nil {
		t.Fatal(err)
	}
	sound, err := os.ReadFile(path + holdsFile().suffix)
	if err != nil {
		t.Fatal(err)
	}
	for i := range sound {
		damaged := append([]byte(nil), sound...)
		damaged[i] ^= 0x10
		for _, b := range [][]byte{damaged, sound[:i]} {
			if err := os.WriteFile(path+holdsFile().suffix, b, 0o600); err != nil {
				t.Fatal(err)
			}
			if table, _, err := f.Holds(t.Context()); !errors.Is(err, ErrCorrupt) || table != nil {
				t.Fatalf("%x passes as %q", b, table)
			}
		}
	}
	mustClose(t, f)
	f = mustOpen(t, path, Options{})
	if err := f.PutHolds(t.Context(), []byte("another")); err != nil {
		t.Fatal(err)
	}
	if b, _, err := f.Holds(t.Context()); string(b) != "another" || err != nil {
		t.Errorf("%q %v", b, err)
	}
}

// Many writers at once: each event is stored once, batches stay together, and of
// writers that compete by compare-and-set one wins each turn.
func TestConcurrentAppends(t *testing.T) {
	f := mustOpen(t, tempPath(t), Options{})
	const writers, rounds = 16, 20
	var wg sync.WaitGroup
	for g := range writers {
		wg.Go(func() {
			for i := range rounds {
				e := Event{Kind: Down, Endpoint: strconv.Itoa(g), Why: fmt.Sprintf("%d/%d", g, i)}
				stored, err := f.Append(context.Background(), 0, e, e)
				if err != nil || stored[1].Seq != stored[0].Seq+1 {
					t.Errorf("%v %v", stored, err)
				}
			}
		})
		wg.Go(func() {
			for won := 0; won < 3; {
				s, err := f.State(context.Background())
				if err != nil {
					t.Error(err)
					return
				}
				_, err = f.Append(context.Background(), s.Seq, Event{Kind: Config, Detail: strconv.Itoa(won)})
				if err == nil || s.Seq == 0 {
					won++
				} else if !errors.Is(err, ErrConflict) {
					t.Error(err)
					return
				}
			}
		})
		wg.Go(func() { _ = f.PutHolds(context.Background(), []byte(strconv.Itoa(g))) })
	}
	wg.Wait()
	events, err := f.Events(t.Context(), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]int)
	for i, e := range events {
		if e.Seq != uint64(i+1) {
			t.Fatalf("event %d at place %d", e.Seq, i+1)
		}
		seen[e.Why]++
	}
	for g := range writers {
		for i := range rounds {
			if n := seen[fmt.Sprintf("%d/%d", g, i)]; n != 2 {
				t.Errorf("writer %d round %d: %d events", g, i, n)
			}
		}
	}
	if d := diffState(refold(t, f), mustState(t, f)); d != "" {
		t.Error(d)
	}
}
