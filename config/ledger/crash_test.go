package ledger

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// helperLife is the environment of the process that is killed: the number of its
// life. It works on helperFile in its working directory.
const (
	helperLife = "PORTOLAN_LEDGER_TEST_LIFE"
	helperFile = "state/ledger.db"
)

// Small, so that kills meet compaction too.
func crashOptions() Options { return Options{Now: time.Now, MaxEvents: 300} }

// TestCrashingProcess is no test: it appends from several goroutines and says on
// its output what was acknowledged, until it is killed.
func TestCrashingProcess(t *testing.T) {
	life, err := strconv.ParseUint(os.Getenv(helperLife), 10, 64)
	if err != nil {
		t.Skip("the other half of TestKilledAtAnyInstant")
	}
	fmt.Fprintln(os.Stdout, "up\t0\t")
	f, err := Open(helperFile, crashOptions())
	if err != nil {
		t.Fatal(err)
	}
	for g := range uint64(3) {
		go func() {
			r := rand.New(rand.NewPCG(life, g))
			for {
				events := make([]Event, 1+r.IntN(40))
				for i := range events {
					events[i] = randomEvent(r, time.Now())
					events[i].Why = fmt.Sprintf("%d/%d %d of %d", life, g, i, len(events))
				}
				stored, err := f.Append(context.Background(), 0, events...)
				if err != nil {
					panic(err)
				}
				last := stored[len(stored)-1]
				// One write: a line is on the pipe whole or not at all.
				fmt.Fprintf(os.Stdout, "ack\t%d\t%s\n", last.Seq, last.Why)
			}
		}()
	}
	serial := uint32(life << 16)
	for {
		serial++
		if err := f.SetSerials(context.Background(), map[string]uint32{"example.io.": serial}); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(os.Stdout, "serial\t%d\t\n", serial)
		if err := f.PutHolds(context.Background(), []byte(strings.Repeat(strconv.Itoa(int(serial)), 1000))); err != nil {
			t.Fatal(err)
		}
	}
}

// acked is what a process that is dead now had been told is durable.
type acked struct {
	why    map[uint64]string
	last   uint64
	serial uint32
}

// live starts the process, kills it so long after it has said since for the first
// time, and returns its acknowledgements.
func live(t *testing.T, dir string, life int, since string, after time.Duration) acked {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestCrashingProcess$")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), helperLife+"="+strconv.Itoa(life))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	a := acked{why: make(map[uint64]string)}
	var other []string
	var doomed bool
	for sc := bufio.NewScanner(out); sc.Scan(); {
		part := strings.Split(sc.Text(), "\t")
		if len(part) != 3 {
			other = append(other, sc.Text())
			continue
		}
		n, err := strconv.ParseUint(part[1], 10, 64)
		if err != nil {
			t.Fatalf("%q: %v", sc.Text(), err)
		}
		if part[0] == since && !doomed {
			doomed = true
			time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
		}
		switch part[0] {
		case "ack":
			a.why[n], a.last = part[2], max(a.last, n)
		case "serial":
			a.serial = uint32(n)
		}
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("life %d ended by itself: %v\n%s", life, err, strings.Join(other, "\n"))
	}
	return a
}

// TestKilledAtAnyInstant: every event that was acknowledged is there after a
// kill, batches are whole, the log has no gap, and the state is its fold.
func TestKilledAtAnyInstant(t *testing.T) {
	t.Parallel()
	kills, end := 100, time.Now().Add(12*time.Second)
	switch {
	case long():
		kills, end = 1000, time.Now().Add(5*time.Minute)
	case testing.Short():
		kills = 25
	}
	r := rand.New(rand.NewPCG(11, 12))
	dir := t.TempDir()
	var events, lives int
	var serial uint32
	for ; lives < kills && time.Now().Before(end); lives++ {
		if lives%10 == 9 { // kills during the creation, too
			dir = t.TempDir()
			serial = 0
		}
		// A process takes its time to come up, and a slow disk to acknowledge
		// anything: every fourth life may end before that, the others not.
		since := "ack"
		if lives%4 == 1 {
			since = "up"
		}
		a := live(t, dir, lives, since, time.Duration(r.IntN(40_000))*time.Microsecond)
		serial = max(serial, a.serial)
		f := mustOpen(t, filepath.Join(dir, helperFile), crashOptions())
		checkAcked(t, f, a)
		state := mustState(t, f)
		if got := state.Serials["example.io."]; got < serial {
			t.Fatalf("SOA serial %d, acknowledged %d", got, serial)
		}
		state.Serials = nil // no events change them
		if d := diffState(refold(t, f), state); d != "" {
			t.Fatal(d)
		}
		if _, _, err := f.Holds(t.Context()); err != nil {
			t.Fatal(err)
		}
		mustClose(t, f)
		events += len(a.why)
	}
	t.Logf("%d kills, %d acknowledgements", lives, events)
	// Three lives of four have at least one.
	if events < lives/2 {
		t.Errorf("%d acknowledgements in %d lives: killed too early to say anything", events, lives)
	}
}

func checkAcked(t *testing.T, f *File, a acked) {
	t.Helper()
	log, err := f.Events(t.Context(), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	state := mustState(t, f)
	if state.Seq < a.last {
		t.Fatalf("the log ends at %d, %d was acknowledged", state.Seq, a.last)
	}
	for i, e := range log {
		if want, ok := a.why[e.Seq]; ok && want != e.Why {
			t.Fatalf("event %d is %q, %q was acknowledged", e.Seq, e.Why, want)
		}
		var n, of int
		who, rest, _ := strings.Cut(e.Why, " ")
		if _, err := fmt.Sscanf(rest, "%d of %d", &n, &of); err != nil {
			t.Fatalf("event %d: %q: %v", e.Seq, e.Why, err)
		}
		if n+1 < of && (i+1 == len(log) || log[i+1].Why != fmt.Sprintf("%s %d of %d", who, n+1, of)) {
			t.Fatalf("event %d (%s) is not followed by the rest of its batch", e.Seq, e.Why)
		}
	}
}
