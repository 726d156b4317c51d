package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"portolan.dev/cmd/internal/admin"
)

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// steps are how a drain of two replicas goes on.
func steps() [][]admin.DrainStatus {
	draining, expiring, safe := verbsDrain("eastus"), verbsDrain("eastus"), verbsDrain("eastus")
	expiring.Held, expiring.SafeAt = 0, new(at(time.Minute))
	safe.Held, safe.SafeAt, safe.Safe = 0, new(at(-time.Second)), true
	other := safe
	other.Region = "westus"
	return [][]admin.DrainStatus{{draining, other}, {draining, other}, {expiring, other}, {safe, other}}
}

func TestWait(t *testing.T) {
	t.Run("until it is safe", func(t *testing.T) {
		got := runVerb(t.Context(), verbsServer(t, &verbsAPI{drains: steps()}), []string{"drain", "*us", "--wait", "--interval", "10ms", "--timeout", "10s"})
		golden(t, "wait", got)
	})
	t.Run("no longer than told", func(t *testing.T) {
		api := &verbsAPI{drains: steps()[:1]}
		got := runVerb(t.Context(), verbsServer(t, api), []string{"drain", "*us", "--wait", "--interval", "10ms", "--timeout", "100ms"})
		golden(t, "wait-timeout", got)
	})
	t.Run("unless somebody undrains", func(t *testing.T) {
		ended := steps()[0]
		ended[0].Drained = false
		for name, now := range map[string][]admin.DrainStatus{"not drained": ended, "gone": ended[1:]} {
			api := &verbsAPI{drains: [][]admin.DrainStatus{steps()[0], now}}
			got := runVerb(t.Context(), verbsServer(t, api), []string{"drain", "*us", "--wait", "--interval", "10ms", "--timeout", "10s"})
			if got.code != ExitFailed || got.out != "" || !strings.Contains(got.err, "has ended while it was waited for") {
				t.Errorf("%s: %+v", name, got)
			}
		}
	})
	t.Run("without a drain", func(t *testing.T) {
		got := runVerb(t.Context(), verbsServer(t, &verbsAPI{}), []string{"drains", "--wait"})
		if got.code != ExitOK || !strings.Contains(got.out, "nothing is drained") {
			t.Errorf("%+v", got)
		}
	})
}

// flaky fails now and then.
type flaky struct {
	verbsAPI
	n int
}

func (f *flaky) Drains(ctx context.Context, s admin.Selector) ([]admin.DrainStatus, error) {
	f.mu.Lock()
	f.n++
	fails := f.n == 2
	f.mu.Unlock()
	if fails {
		return nil, errors.New("starting")
	}
	return f.verbsAPI.Drains(ctx, s)
}

// A server that does not answer once does not end the waiting.
func TestWaitOutlastsAnError(t *testing.T) {
	got := runVerb(t.Context(), verbsServer(t, &flaky{verbsAPI: verbsAPI{drains: steps()}}), []string{"drain", "*us", "--wait", "--interval", "10ms", "--timeout", "10s"})
	if got.code != ExitOK || !strings.Contains(got.err, "starting; still trying") {
		t.Errorf("%+v", got)
	}
}

func TestBar(t *testing.T) {
	for _, tt := range []struct {
		now  time.Duration
		done bool
		want string
	}{
		{-time.Hour, false, "[------------------------------]   0%"},
		{0, false, "[------------------------------]   0%"},
		{30 * time.Minute, false, "[###############---------------]  50%"},
		{2 * time.Hour, false, "[#############################-]  99%"},
		{time.Minute, true, "[##############################] 100%"},
	} {
		if got := bar(at(0), at(time.Hour), at(tt.now), tt.done); got != tt.want {
			t.Errorf("after %s: %s, want %s", tt.now, got, tt.want)
		}
	}
}

// On a terminal the progress is one line that is drawn again, and is ended.
func TestProgressOnTerminal(t *testing.T) {
	var b bytes.Buffer
	p := progress{e: &env{err: &b, now: func() time.Time { return verbsNow }}, terminal: true}
	p.show(steps()[0])
	p.show(steps()[3])
	p.end()
	p.end()
	text := b.String()
	if strings.Count(text, clearLine) != 2 || strings.Count(text, "\n") != 1 || !strings.HasSuffix(text, "100% 0 held, 2 of 2 safe, all by 11:59:59 at the latest\n") {
		t.Errorf("%q", text)
	}
}

// watched collects what a verb prints, and tells when a text has come.
type watched struct {
	mu   sync.Mutex
	text bytes.Buffer
	want string
	n    int
	seen func()
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, err := w.text.Write(p)
	if w.seen != nil && strings.Count(w.text.String(), w.want) >= w.n {
		w.seen()
		w.seen = nil
	}
	return n, err
}

// watchedEnv is an environment whose output is looked at while the verb runs.
func watchedEnv(out io.Writer, socket string) *env {
	getenv := func(key string) string {
		if key == "PORTOLAN_SOCKET" {
			return socket
		}
		return ""
	}
	return &env{strings.NewReader(""), out, io.Discard, getenv, func() time.Time { return verbsNow }}
}

func TestStatusWatch(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	w := &watched{want: "node ns1", n: 3, seen: cancel}
	code := watchedEnv(w, verbsServer(t, &verbsAPI{})).run(ctx, []string{"status", "--watch", "--interval", "10ms"})
	if code != ExitOK || w.seen != nil {
		t.Errorf("exit code %d after\n%s", code, w.text.String())
	}
	if strings.Contains(w.text.String(), "\x1b") {
		t.Error("escapes where no terminal is")
	}
	if got := runVerb(t.Context(), "/nowhere/s", []string{"status", "--watch"}); got.code != ExitFailed {
		t.Errorf("without a server: %+v", got)
	}
}

func TestEventsFollow(t *testing.T) {
	for _, tt := range []struct{ format, want string }{
		{"table", "     6  2026-03-01T12:00:00Z  up        myregistry/eastus                 recovered"},
		{"json", `{"seq":6,"kind":"up","registry":"myregistry","region":"eastus",`},
	} {
		api := &verbsAPI{coming: make(chan admin.Event, 1)}
		api.coming <- admin.Event{Seq: 6, Kind: "up", Registry: "myregistry", Region: "eastus", DecidedAt: verbsNow, EffectiveAt: verbsNow, Reason: "recovered"}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		w := &watched{want: tt.want, n: 1, seen: cancel}
		code := watchedEnv(w, verbsServer(t, api)).run(ctx, []string{"events", "-f", "-o", tt.format})
		cancel()
		if w.seen != nil || code != ExitOK || !strings.Contains(api.asked(), "limit 10") {
			t.Errorf("%s: exit code %d, asked %q, printed\n%s", tt.format, code, api.asked(), w.text.String())
		}
		if n := strings.Count(w.text.String(), "\n"); n != 6 {
			t.Errorf("%s: %d events, want 6", tt.format, n)
		}
	}
}
