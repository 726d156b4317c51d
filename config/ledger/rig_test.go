package ledger

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// long asks for the counts that take minutes.
func long() bool { return os.Getenv("PORTOLAN_LONG") != "" }

// clock is a clock that moves when it is told to.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock {
	return &clock{t: time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.FixedZone("CET", 3600))}
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func tempPath(tb testing.TB) string {
	tb.Helper()
	return filepath.Join(tb.TempDir(), "ledger.db")
}

func mustOpen(tb testing.TB, path string, o Options) *File {
	tb.Helper()
	if o.Now == nil {
		o.Now = newClock().now
	}
	f, err := Open(path, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { f.Close() })
	return f
}

func mustAppend(tb testing.TB, f *File, events ...Event) []Event {
	tb.Helper()
	stored, err := f.Append(tb.Context(), 0, events...)
	if err != nil {
		tb.Fatal(err)
	}
	return stored
}

func mustState(tb testing.TB, f *File) State {
	tb.Helper()
	s, err := f.State(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func mustClose(tb testing.TB, f *File) {
	tb.Helper()
	if err := f.Close(); err != nil {
		tb.Fatal(err)
	}
}

// poll waits for a condition that comes true by itself.
func poll(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatalf("waited in vain: %s", what)
		}
	}
}

// randomEvent makes events of all kinds about few enough subjects that they meet.
func randomEvent(r *rand.Rand, at time.Time) Event {
	kinds := []Kind{Down, Down, Up, Up, Passing, Drain, Undrain, Routing, Effective, Config, GeoData, Failback, Start, "promote"}
	e := Event{Kind: kinds[r.IntN(len(kinds))], DecidedAt: at, By: "somebody", Why: "<because> \"& so\""}
	switch e.Kind {
	case Down, Up, Passing:
		e.Endpoint, e.Flaps = fmt.Sprintf("192.0.2.%d:443", r.IntN(6)), r.IntN(3)
	case Drain, Undrain, Routing, Failback, Effective:
		e.Registry, e.Region = fmt.Sprintf("registry%d", r.IntN(2)), fmt.Sprintf("region%d", r.IntN(3))
	case Config, GeoData:
		e.Detail = fmt.Sprintf("sha256:%x", r.Uint64())
	case Start:
	}
	switch {
	case e.Kind == Routing && r.IntN(3) > 0:
		on := r.IntN(2) == 0
		e.Routing = &on
	case e.Kind == Effective:
		e.Of = 1 + r.Uint64N(300)
	case e.Kind == Drain:
		e.Now = r.IntN(2) == 0
		e.EffectiveAt = at.Add(15 * time.Second)
		e.Deadline, e.Until = at.Add(time.Hour), at.Add(2*time.Hour)
	}
	if e.Registry != "" && r.IntN(2) == 0 {
		e.Name = e.Registry + ".example.io."
	}
	if r.IntN(2) == 0 {
		e.Ahead = time.Duration(r.Int64N(int64(2*time.Hour))) - time.Hour
	}
	return e
}
