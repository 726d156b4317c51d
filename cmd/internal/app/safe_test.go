package app_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"portolan.dev/cmd/internal/admin"
	"portolan.dev/cmd/internal/app"
)

// shifted is a server whose clock a test moves.
type shifted struct {
	*server

	ahead atomic.Int64
}

func (s *shifted) now() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }

func (s *shifted) move(d time.Duration) { s.ahead.Add(int64(d)) }

// open makes the server that the configuration describes, in the folder of s.
func (s *shifted) open(tb testing.TB) {
	tb.Helper()
	s.goOn(tb, s.now)
}

func startShifted(tb testing.TB, text string) *shifted {
	tb.Helper()
	s := &shifted{server: newServer(tb, text, app.Options{})}
	s.stop(tb) // its clock is not ours
	s.open(tb)
	return s
}

func (s *shifted) restart(tb testing.TB) {
	tb.Helper()
	s.stop(tb)
	s.open(tb)
}

// take reloads a configuration.
func (s *shifted) take(tb testing.TB, text string) {
	tb.Helper()
	s.write(tb, text)
	s.reload(tb)
}

// ttlServer has a replica in westus whose last answer can be told to the second.
const ttlServer = `
server: {listen: ["127.0.0.1:0"], workers: 1}
admin: {socket: DIR/admin.sock}
state: {dir: DIR/state, grace: 15s}
geo: {database: DIR/city.mmdb}
zones: {example.io: {nameservers: {ns1: [192.0.2.53]}}}
registries:
  myregistry:
    sticky: {ttl: TTL, hold: 0s}
    regional_ttl: 300s
    replicas:
      westus: {addresses: [192.0.2.1]}
      eastus: {addresses: [192.0.2.2]}
`

func ttl(span string) string { return strings.Replace(ttlServer, "TTL", span, 1) }

// kept is how much longer than the TTL a cache is taken to keep an answer.
const kept = 3 * time.Second

// The longest TTL that a cache may still go by decides when a drain is safe, however
// it came to be another one, and the last answer counted, however long before the drain
// took effect it was given.
func TestSafeAtGoesByWhatCachesHold(t *testing.T) {
	t.Parallel()
	answered := func(t *testing.T, s *shifted) time.Time {
		t.Helper()
		t.Helper()
		at := s.now()
		s.expect(t, pusher, "192.0.2.1")
		return at
	}
	for _, tt := range []struct {
		name string
		run  func(t *testing.T, s *shifted) (safe time.Time)
	}{
		{"nothing changed", func(t *testing.T, s *shifted) time.Time {
			t.Helper()
			return answered(t, s).Add(300 * time.Second)
		}},
		{"lowered after the last answer", func(t *testing.T, s *shifted) time.Time {
			t.Helper()
			at := answered(t, s)
			s.take(t, ttl("60s"))
			return at.Add(300 * time.Second)
		}},
		{"lowered before the last answer", func(t *testing.T, s *shifted) time.Time {
			t.Helper()
			answered(t, s)
			lowered := s.now()
			s.take(t, ttl("60s"))
			s.move(10 * time.Second)
			answered(t, s)
			return lowered.Add(300 * time.Second)
		}},
		{"lowered long before the last answer", func(t *testing.T, s *shifted) time.Time {
			t.Helper()
			s.take(t, ttl("60s"))
			s.move(280 * time.Second)
			return answered(t, s).Add(60 * time.Second)
		}},
		{"lowered twice", func(t *testing.T, s *shifted) time.Time {
			t.Helper()
			at := answered(t, s)
			s.take(t, ttl("60s"))
			s.take(t, ttl("1s"))
			return at.Add(300 * time.Second)
		}},
		{"raised", func(t *testing.T, s *shifted) time.Time {
			t.Helper()
			s.take(t, ttl("600s"))
			return answered(t, s).Add(600 * time.Second)
		}},
		{"lowered by a restart", func(t *testing.T, s *shifted) time.Time {
			t.Helper()
			answered(t, s)
			s.write(t, ttl("60s"))
			at := s.now()
			s.restart(t)
			return at.Add(300 * time.Second)
		}},
		{"lowered, and two restarts", func(t *testing.T, s *shifted) time.Time {
			t.Helper()
			answered(t, s)
			lowered := s.now()
			s.take(t, ttl("60s"))
			s.move(100 * time.Second)
			s.restart(t)
			s.move(100 * time.Second)
			s.restart(t)
			return lowered.Add(300 * time.Second)
		}},
		{"the registry was away", func(t *testing.T, s *shifted) time.Time {
			t.Helper()
			at := answered(t, s)
			s.take(t, strings.Replace(ttl("60s"), "  myregistry:", "  other:", 1))
			s.take(t, ttl("60s"))
			return at.Add(300 * time.Second)
		}},
		{"the registry was away over a restart", func(t *testing.T, s *shifted) time.Time {
			t.Helper()
			at := answered(t, s)
			s.take(t, strings.Replace(ttl("60s"), "  myregistry:", "  other:", 1))
			s.move(30 * time.Second)
			s.write(t, ttl("60s"))
			s.restart(t)
			return at.Add(300 * time.Second)
		}},
		{"a region was added after the last answer", func(t *testing.T, s *shifted) time.Time {
			t.Helper()
			s.move(20 * time.Minute) // what the start assumes is over
			at := answered(t, s)
			s.take(t, ttl("300s")+"      westeurope: {addresses: [192.0.2.3]}\n")
			return at.Add(300 * time.Second)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := startShifted(t, ttl("300s"))
			want := tt.run(t, s).Add(kept)
			if _, err := s.Drain(t.Context(), west("")); err != nil {
				t.Fatal(err)
			}
			if d := s.drained(t); d.SafeAt != nil || d.Bound.Before(want.Add(-time.Second)) {
				t.Errorf("before it takes effect: %+v, want safe at %v", d, want)
			}
			s.move(15 * time.Second)
			s.reload(t) // which wakes what waits for its time
			var d admin.DrainStatus
			eventually(t, "nobody new is led there", func() bool { d = s.drained(t); return d.SafeAt != nil })
			if d.SafeAt.Before(want.Add(-time.Second)) || d.SafeAt.After(d.Bound) {
				t.Errorf("as it takes effect: safe at %v, bound %v, want %v or later", d.SafeAt, d.Bound, want)
			}
			s.move(5 * time.Second)
			// Answers are counted in whole seconds; a slow machine takes its time for a restart.
			if d = s.drained(t); d.SafeAt.Before(want.Add(-time.Second)) || d.SafeAt.After(want.Add(5*time.Second)) {
				t.Errorf("safe at %v, %v from %v; last answer %v, bound %v", d.SafeAt, d.SafeAt.Sub(want), want, d.LastAnswer, d.Bound)
			}
		})
	}
}

// The record of what was served is damaged, or cannot be written: nothing stops, and
// the log says so.
func TestServedRecordTrouble(t *testing.T) {
	t.Parallel()
	s := startShifted(t, ttl("300s"))
	name := filepath.Join(s.dir, "state", "ledger.db.served")
	s.stop(t)
	writeFile(t, name, "damaged")
	s.open(t)
	if n := len(s.logs.records(t, "what was served before is not known; safe_at goes by the TTLs of now")); n != 1 {
		t.Errorf("%d lines", n)
	}
	s.restart(t)
	if n := len(s.logs.records(t, "what was served before is not known; safe_at goes by the TTLs of now")); n != 1 {
		t.Errorf("%d lines after the start that replaced it", n)
	}
	// A folder in the place of the file cannot be replaced.
	if err := os.Mkdir(name+".new", 0o700); err != nil {
		t.Fatal(err)
	}
	s.take(t, ttl("600s"))
	if n := len(s.logs.records(t, "what is served is not saved; after a restart with lower TTLs safe_at may be too early")); n != 1 {
		t.Errorf("%d lines of a record that is not saved", n)
	}
	before := fileSize(t, name)
	if err := os.Remove(name + ".new"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	s.take(t, strings.Replace(ttl("600s"), "192.0.2.2", "192.0.2.22, 192.0.2.2", 1))
	if after := fileSize(t, name); after <= before {
		t.Errorf("%d octets after %d: it is not saved again", after, before)
	}
}

func fileSize(tb testing.TB, name string) int64 {
	tb.Helper()
	info, err := os.Stat(name)
	if err != nil {
		tb.Fatal(err)
	}
	return info.Size()
}

// What is saved before a reload takes up lower TTLs has no end yet: that is saved behind it,
// or a restart years later would take the reload for one of just now.
func TestServedRecordIsCompleted(t *testing.T) {
	t.Parallel()
	s := startShifted(t, ttl("300s"))
	name := filepath.Join(s.dir, "state", "ledger.db.served")
	s.take(t, ttl("60s"))
	open, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end is saved", func() bool {
		now, err := os.ReadFile(name)
		return err == nil && !bytes.Equal(now, open)
	})
}
