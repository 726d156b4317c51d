package notify

import (
	"bytes"
	"crypto/x509"
	"log/slog"
	"math/rand/v2"
	"net/http/httptest"
	"testing"
	"time"

	"portolan.dev/config/ledger"
)

// A certificate is verified, against the roots of the target when it has some.
func TestTLS(t *testing.T) {
	hook := httptest.NewUnstartedServer(status(200))
	hook.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	hook.StartTLS()
	defer hook.Close()
	roots := x509.NewCertPool()
	roots.AddCert(hook.Certificate())
	for want, s := range map[Outcome]Settings{
		Retried:   {URL: hook.URL},
		Delivered: {URL: hook.URL, Roots: roots},
	} {
		var text bytes.Buffer
		events := newFakeLog()
		n := New(Options{
			Events: events, From: 1, Log: slog.New(slog.NewTextHandler(&text, nil)), Now: time.Now, Wall: time.Now, Rand: rand.New(rand.NewPCG(1, 2)),
			Body: func(ledger.Event, string) any { return "x" },
		})
		n.Start([]*Target{target(t, s)})
		events.append(ledger.Event{Kind: ledger.Down})
		for end := time.Now().Add(20 * time.Second); n.Stats().Deliveries[want] == 0; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%v: %+v", want, n.Stats())
			}
		}
		n.Stop(t.Context())
		if want == Retried && !bytes.Contains(text.Bytes(), []byte("certificate")) {
			t.Errorf("logged: %s", &text)
		}
	}
}
