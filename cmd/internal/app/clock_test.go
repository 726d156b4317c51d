package app_test

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"portolan.dev/cmd/internal/admin"
	"portolan.dev/cmd/internal/app"
)

// wallClock is a clock on the wall that a test sets. What has passed is as the system
// says, whatever this one does.
type wallClock struct {
	set   atomic.Int64
	began time.Time
}

func newWallClock() *wallClock { return &wallClock{began: time.Now()} }

func (w *wallClock) now() time.Time         { return time.Now().Round(0).Add(time.Duration(w.set.Load())) }
func (w *wallClock) elapsed() time.Duration { return time.Since(w.began) }
func (w *wallClock) setBy(d time.Duration)  { w.set.Add(int64(d)) }
func (w *wallClock) options() app.Options {
	return app.Options{Source: app.Source{Now: w.now}, Elapsed: w.elapsed}
}
func (w *wallClock) near(t time.Time) bool { return w.now().Sub(t).Abs() < patience }
func (w *wallClock) restarted() *wallClock { n := newWallClock(); n.set.Store(w.set.Load()); return n }

func startAt(t *testing.T, text string, w *wallClock) *server {
	t.Helper()
	s := newServer(t, text, w.options())
	s.Start()
	return s
}

// steps are by how much clocks are set.
func steps() []time.Duration {
	return []time.Duration{10 * time.Minute, -10 * time.Minute, time.Hour, -time.Hour}
}

// Secondaries check signatures by the clock on the wall, with a tolerance of minutes.
// When that was set a signed transfer works, at once.
func TestTransfersSurviveASetClock(t *testing.T) {
	t.Parallel()
	const secret = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	w := newWallClock()
	s := startAt(t, sticky("", ""), w)
	writeFile(t, filepath.Join(s.dir, "transfer.key"), `key "xfr.test" { algorithm hmac-sha256; secret "`+secret+`"; };`)
	if err := os.Chmod(filepath.Join(s.dir, "transfer.key"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.write(t, strings.Replace(sticky("", ""), "ns1: [192.0.2.53]}", "ns1: [192.0.2.53]}, transfer: {allow: [127.0.0.0/8], tsig: DIR/transfer.key}", 1))
	s.reload(t)
	transfer := func() error {
		q := new(dns.Msg)
		q.SetAxfr("example.io.")
		q.SetTsig("xfr.test.", dns.HmacSHA256, 300, w.now().Unix())
		conn, err := dns.DialTimeout("tcp", s.Addrs()[0].String(), patience)
		if err != nil {
			return err
		}
		defer conn.Close()
		conn.TsigSecret = map[string]string{"xfr.test.": secret}
		if err := conn.WriteMsg(q); err != nil {
			return err
		}
		m := new(dns.Msg)
		raw, err := conn.ReadMsgHeader(nil)
		if err != nil {
			return err
		}
		if err := m.Unpack(raw); err != nil {
			return err
		}
		sig := m.IsTsig()
		if m.Rcode != dns.RcodeSuccess || len(m.Answer) == 0 || sig == nil {
			return fmt.Errorf("refused: %v", m)
		}
		if at := time.Unix(int64(sig.TimeSigned), 0); !w.near(at) {
			t.Errorf("the answer is signed at %v, and it is %v", at, w.now())
		}
		return nil
	}
	if err := transfer(); err != nil {
		t.Fatal(err)
	}
	for _, step := range steps() {
		w.setBy(step)
		eventually(t, "a signed transfer after the clock was set by "+step.String(), func() bool { return transfer() == nil })
	}
}

// A cookie is as old as the clock on the wall says. One of before a step is good as long
// as it would be of a server that was started after it; else the client gets another.
func TestCookiesSurviveASetClock(t *testing.T) {
	t.Parallel()
	w := newWallClock()
	s := startAt(t, sticky("", ""), w)
	ask := func(cookie string) (string, time.Time) {
		t.Helper()
		m := new(dns.Msg).SetQuestion("example.io.", dns.TypeSOA)
		m.SetEdns0(1232, false)
		m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: cookie})
		msg, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		var r dns.Msg
		if err := r.Unpack(s.raw(t, msg)); err != nil || len(r.Answer) != 1 || r.IsEdns0() == nil {
			t.Fatalf("%v, %v", &r, err)
		}
		for _, o := range r.IsEdns0().Option {
			if c, ok := o.(*dns.EDNS0_COOKIE); ok {
				octets, err := hex.DecodeString(c.Cookie)
				if err != nil || len(octets) != 24 {
					t.Fatalf("cookie %s: %v", c.Cookie, err)
				}
				return c.Cookie, time.Unix(int64(binary.BigEndian.Uint32(octets[12:])), 0)
			}
		}
		t.Fatalf("no cookie: %v", &r)
		return "", time.Time{}
	}
	for _, step := range steps() {
		given, at := ask("0102030405060708")
		if !w.near(at) {
			t.Fatalf("given at %v, and it is %v", at, w.now())
		}
		w.setBy(step)
		eventually(t, "a cookie of now after the clock was set by "+step.String(), func() bool { _, at := ask("0102030405060708"); return w.near(at) })
		again, _ := ask(given)
		if kept := step == 10*time.Minute; (again == given) != kept { // RFC 9018 section 4.3
			t.Errorf("set by %v: the cookie stays: %v, want %v", step, again == given, kept)
		}
	}
}

// What is waited for takes as long as was said, and what is printed and stored is of the
// clock on the wall.
func TestWaitsSurviveASetClock(t *testing.T) {
	t.Parallel()
	for _, step := range steps() {
		t.Run(step.String(), func(t *testing.T) {
			t.Parallel()
			const grace = 3 * time.Second
			text := strings.NewReplacer("grace: 0s", "grace: 3s", "idle: 2s, hold: 2s, renewals: 2", "idle: 4s, hold: 4s, renewals: 1").Replace(sticky("", ""))
			w := newWallClock()
			s := startAt(t, text, w)
			s.expect(t, pusher, "192.0.2.1")
			decided := time.Now()
			r := west("kernel")
			r.For = admin.Duration(time.Hour)
			if _, err := s.Drain(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			w.setBy(step)
			d := s.drained(t)
			if until := d.EffectiveAt.Sub(w.now()); until > grace || until < grace-patience {
				t.Errorf("takes effect %v from now, want %v or less", until, grace)
			}
			if !w.near(d.Until.Add(-time.Hour)) || !w.near(d.Bound) {
				t.Errorf("ends at %v, bound %v, and it is %v", d.Until, d.Bound, w.now())
			}
			s.expect(t, pusher, "192.0.2.1") // who is active is held
			s.newcomers(t, "192.0.2.2")
			if waited := time.Since(decided); waited < grace-time.Second { // whole seconds count
				t.Errorf("in effect after %v, want %v", waited, grace)
			}
			s.expect(t, pusher, "192.0.2.1")
			eventually(t, "the hold ends", func() bool { return s.addresses(t, "myregistry.example.io.", pusher)[0] == "192.0.2.2" })
			if _, err := s.Undrain(t.Context(), admin.Selector{Region: "westus"}, "test", ""); err != nil {
				t.Fatal(err)
			}
			events, err := s.Events(t.Context(), admin.EventQuery{Selector: admin.Selector{Region: "westus"}})
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range events {
				before, after := e.DecidedAt.Sub(w.now().Add(-step)).Abs(), e.DecidedAt.Sub(w.now()).Abs()
				if set := e.Kind == "undrain" || e.Kind == "effective"; set && after > patience || !set && before > patience {
					t.Errorf("%s stored as of %v, and it is %v", e.Kind, e.DecidedAt, w.now())
				}
			}
			if st := s.Status(); !w.near(st.Started) {
				t.Errorf("started at %v, and it is %v", st.Started, w.now())
			}
		})
	}
}

// However the clock is set while a server runs, or set back while none does, the next
// one holds whom the last one held, also after a crash.
func TestHoldsSurviveASetClockAndARestart(t *testing.T) {
	t.Parallel()
	const silent = "128.95.4.0/24" // was there before the drain, and asks again after the restart
	for _, tt := range []struct {
		name           string
		running, while time.Duration
		crash          bool
	}{
		{"set forward then stopped", time.Hour, 0, false},
		{"set forward by minutes then stopped", 10 * time.Minute, 0, false},
		{"set back then stopped", -time.Hour, 0, false},
		{"set back by minutes then stopped", -10 * time.Minute, 0, false},
		{"set back while stopped", 0, -time.Hour, false},
		{"set back by hours while stopped", 0, -3 * time.Hour, false},
		{"set back by minutes while stopped", 0, -10 * time.Minute, false},
		{"set forward and back while stopped", 10 * time.Minute, -time.Hour, false},
		{"set back and back again while stopped", -time.Hour, -10 * time.Minute, false},
		{"set forward then killed", time.Hour, 0, true},
		{"set back then killed", -time.Hour, 0, true},
		{"set back while killed", 0, -time.Hour, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			text := strings.Replace(sticky("", ""), "idle: 2s, hold: 2s", "idle: 60s, hold: 60s", 1)
			w := newWallClock()
			s := startAt(t, text, w)
			s.expect(t, pusher, "192.0.2.1")
			s.expect(t, silent, "192.0.2.1")
			if _, err := s.Drain(t.Context(), west("kernel")); err != nil {
				t.Fatal(err)
			}
			s.newcomers(t, "192.0.2.2")
			s.expect(t, pusher, "192.0.2.1")
			w.setBy(tt.running)
			// A decision behind the step, so that events of both sides count.
			if _, err := s.Drain(t.Context(), admin.DrainRequest{Selector: admin.Selector{Region: "westeurope"}, By: "test"}); err != nil {
				t.Fatal(err)
			}
			before := s.drained(t)
			next := &server{dir: s.dir, path: s.path, logs: new(logs), seen: s.seen + 100}
			if tt.crash {
				var err error
				if next.dir, err = os.MkdirTemp("", "app"); err != nil { //nolint:usetesting // short: the path of a socket has 107 octets at most
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = os.RemoveAll(next.dir) })
				next.path = filepath.Join(next.dir, "portolan.yaml")
				eventually(t, "the clock is saved", func() bool { return tt.running == 0 || clockIsSaved(t, s, tt.running) })
				copyState(t, s.dir, next.dir)
				if err := os.Link(filepath.Join(s.dir, "city.mmdb"), filepath.Join(next.dir, "city.mmdb")); err != nil {
					t.Fatal(err)
				}
				next.write(t, text)
			} else {
				s.stop(t)
			}
			w = w.restarted()
			w.setBy(tt.while)
			o := w.options()
			o.Source, o.Log, o.Crash = source(next.path, w.now), next.logger(), true
			var err error
			if next.App, err = app.New(o); err != nil {
				t.Fatal(err)
			}
			next.Start()
			t.Cleanup(func() { next.stop(t) })
			next.expect(t, pusher, "192.0.2.1")
			next.expect(t, silent, "192.0.2.1")
			next.newcomers(t, "192.0.2.2")
			next.expect(t, pusher, "192.0.2.1")
			after := next.drained(t)
			if d := after.EffectiveAt.Sub(before.EffectiveAt.Add(tt.while)); d.Abs() > patience || !after.Drained {
				t.Errorf("in effect at %v, want about %v: %+v", after.EffectiveAt, before.EffectiveAt.Add(tt.while), after)
			}
			if st := next.Status(); !w.near(st.Started) {
				t.Errorf("started at %v, and it is %v", st.Started, w.now())
			}
		})
	}
}

// clockIsSaved reports whether what s has saved says that the clock was set by so much.
func clockIsSaved(t *testing.T, s *server, by time.Duration) bool {
	t.Helper()
	saved, err := os.ReadFile(filepath.Join(s.dir, "state", "ledger.db.holds"))
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(saved), `"ahead_ns":`)
	var ahead int64
	_, err = fmt.Sscanf(text, "%d", &ahead)
	return err == nil && (time.Duration(ahead)-by).Abs() < time.Second
}
