package probe

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"portolan.dev/health"
)

// raw runs serve for each connection to a listener on loopback.
func raw(tb testing.TB, serve func(net.Conn)) (address string) {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { defer c.Close(); serve(c) })
		}
	})
	tb.Cleanup(func() { l.Close(); running.Wait() })
	return l.Addr().String()
}

// says serves bytes after it has read something, and then closes.
func says(text string) func(net.Conn) {
	return func(c net.Conn) {
		_, _ = c.Read(make([]byte, 4096))
		_, _ = c.Write([]byte(text))
	}
}

// untilClosed waits for the other side.
func untilClosed(c net.Conn) {
	b := make([]byte, 4096)
	for {
		if _, err := c.Read(b); err != nil {
			return
		}
	}
}

// web serves h on loopback.
func web(tb testing.TB, h http.HandlerFunc) (address string) {
	tb.Helper()
	s := httptest.NewServer(h)
	tb.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// try probes once and checks that nothing is left running.
func try(t *testing.T, s Spec) health.Result { t.Helper(); return tryFor(t, s, patience("")) }

func tryFor(t *testing.T, s Spec, timeout time.Duration) health.Result {
	t.Helper()
	p, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	began := time.Now()
	r := p.Probe(ctx)
	// What hangs, does so for minutes.
	if took := time.Since(began); took > timeout+20*time.Second {
		t.Errorf("took %v with a timeout of %v", took, timeout)
	}
	if r.Detail == "" || len(r.Detail) > maxDetail || strings.ContainsFunc(r.Detail, func(r rune) bool { return r < ' ' || r > '~' }) {
		t.Errorf("detail %q is not for an operator", r.Detail)
	}
	return r
}

// patience is the timeout for a probe that is expected to end with detail: short if
// that is the timeout itself, else long enough for a busy machine.
func patience(detail string) time.Duration {
	if strings.HasSuffix(detail, "timeout") {
		return 500 * time.Millisecond
	}
	return 20 * time.Second
}

// want checks a result; text is a part of the detail.
func want(t *testing.T, got health.Result, verdict health.Verdict, text string) {
	t.Helper()
	if got.Verdict != verdict || !strings.Contains(got.Detail, text) {
		t.Errorf("got %v %q, want %v with %q", got.Verdict, got.Detail, verdict, text)
	}
}

// TestMain wants nothing left running when all tests have ended: their servers wait
// for their connections, and what is left after that is of a probe.
func TestMain(m *testing.M) {
	if os.Getenv(standInEnv) != "" {
		serveStandIn()
		return
	}
	before := running()
	m.Run()
	for range 2000 {
		if len(running()) <= len(before) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	panic("left running:\n" + strings.Join(running(), "\n\n"))
}

// running returns the stacks of all goroutines but the one of package os/signal, which
// fuzzing starts.
func running() []string {
	stacks := make([]byte, 1<<20)
	all := strings.Split(string(stacks[:runtime.Stack(stacks, true)]), "\n\n")
	return slices.DeleteFunc(all, func(s string) bool { return strings.Contains(s, "os/signal.") })
}

// certificate makes a self-signed one for names, valid from and for the times given.
func certificate(tb testing.TB, from time.Time, lasts time.Duration, names ...string) (tls.Certificate, *x509.CertPool) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: names,
		NotBefore: from, NotAfter: from.Add(lasts), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		tb.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
}

// secure serves h over TLS with a certificate.
func secure(tb testing.TB, cert tls.Certificate, h http.HandlerFunc) (address string) {
	tb.Helper()
	s := httptest.NewUnstartedServer(h)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	s.Config.ErrorLog = nil
	s.StartTLS()
	tb.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func status(code int, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Add(headers[i], headers[i+1])
		}
		w.WriteHeader(code)
		fmt.Fprint(w, "{}")
	}
}

// as is a login that stays.
func as(user, password string) func() Login {
	return func() Login { return Login{user, password} }
}

// trusts is a pool that stays.
func trusts(pool *x509.CertPool) func() *x509.CertPool {
	return func() *x509.CertPool { return pool }
}
