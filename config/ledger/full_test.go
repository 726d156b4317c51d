//go:build linux

package ledger

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fillUp appends until nothing fits any more, and demands that what failed left no
// trace: state and log are as after the last append that did not.
func fillUp(t *testing.T, f *File) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		before := mustState(t, f)
		batch := make([]Event, 8)
		for i := range batch {
			batch[i] = randomEvent(r, time.Now())
			batch[i].Why = strings.Repeat("w", MaxText)
		}
		_, err := f.Append(t.Context(), 0, batch...)
		if err == nil {
			continue
		}
		if !strings.Contains(err.Error(), f.path) {
			t.Errorf("%v: does not name the file", err)
		}
		if d := diffState(before, mustState(t, f)); d != "" {
			t.Errorf("state after %v:\n%s", err, d)
		}
		if d := diffState(before, refold(t, f)); d != "" {
			t.Errorf("log after %v:\n%s", err, d)
		}
		if _, err := f.Append(t.Context(), 0, batch...); err == nil {
			t.Error("the next one fits")
		}
		return
	}
	t.Fatal("there is no end of room")
}

// andOn demands that there is room again.
func andOn(t *testing.T, f *File, o Options) {
	t.Helper()
	before := mustState(t, f)
	stored := mustAppend(t, f, Event{Kind: Start, Why: "room again"})
	if stored[0].Seq != before.Seq+1 {
		t.Errorf("event %d follows %d", stored[0].Seq, before.Seq)
	}
	want := mustState(t, f)
	mustClose(t, f)
	if d := diffState(want, mustState(t, mustOpen(t, f.path, o))); d != "" {
		t.Errorf("after a restart:\n%s", d)
	}
}

// mountTmpfs mounts a small file system; the caller has to be root.
func mountTmpfs(t *testing.T, size string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root; TestFileSizeLimit does not")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID, "size="+size); err != nil {
		t.Skipf("cannot mount: %v; TestFileSizeLimit needs no mount", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestFullDisk(t *testing.T) {
	dir := mountTmpfs(t, "2m")
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	o := Options{Now: time.Now}
	f := mustOpen(t, filepath.Join(dir, "ledger.db"), o)
	if err := f.PutHolds(t.Context(), []byte("the table")); err != nil {
		t.Fatal(err)
	}
	fillUp(t, f)
	if err := f.PutHolds(t.Context(), make([]byte, 1<<20)); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("saved table: %v", err)
	}
	if b, _, err := f.Holds(t.Context()); string(b) != "the table" || err != nil {
		t.Errorf("saved table is %q, %v", b, err)
	}
	if watched := f.Watch(t.Context(), 1); true {
		receive(t, watched, 1)
	}
	// A server starts on a full disk: it remembers, though it can learn nothing.
	want := mustState(t, f)
	mustClose(t, f)
	f = mustOpen(t, f.path, o)
	if d := diffState(want, mustState(t, f)); d != "" {
		t.Error(d)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	andOn(t, f, o)
}

func TestReadOnlyDisk(t *testing.T) {
	dir := mountTmpfs(t, "2m")
	path := filepath.Join(dir, "ledger.db")
	mustClose(t, mustOpen(t, path, Options{}))
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Skip(err)
	}
	for _, path := range []string{path, filepath.Join(dir, "new", "ledger.db")} {
		if _, err := Open(path, Options{Now: time.Now}); !errors.Is(err, unix.EROFS) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

const helperLimit = "PORTOLAN_LEDGER_TEST_LIMIT"

// TestFileSizeLimit is TestFullDisk for those who are not root: the limit is on the
// size of a file. It holds for a process of its own.
func TestFileSizeLimit(t *testing.T) {
	if os.Getenv(helperLimit) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestFileSizeLimit$", "-test.v")
		cmd.Env = append(os.Environ(), helperLimit+"=1")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	signal.Ignore(unix.SIGXFSZ) // write fails with EFBIG then
	f := mustOpen(t, tempPath(t), Options{})
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	small := unix.Rlimit{Cur: 256 << 10, Max: limit.Max}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &small); err != nil {
		t.Fatal(err)
	}
	fillUp(t, f)
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	andOn(t, f, Options{})
}

// A disk that fails at once: no append succeeds, what is known stays readable.
func TestWriteError(t *testing.T) {
	f := mustOpen(t, tempPath(t), Options{})
	mustAppend(t, f, Event{Kind: Start})
	if err := f.file.Close(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := f.Append(context.Background(), 0, Event{Kind: Start}); !errors.Is(err, os.ErrClosed) {
			t.Errorf("got %v", err)
		}
	}
	if events, err := f.Events(t.Context(), 0, 0); len(events) != 1 || err != nil {
		t.Errorf("%v %v", events, err)
	}
	if s := mustState(t, f); s.Seq != 1 {
		t.Errorf("seq %d", s.Seq)
	}
}
