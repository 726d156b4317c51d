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
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"portolan.dev/health"
)

// raw runs serve for each connection to a listener on loopback.
func raw(t testing.TB, serve func(net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
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
	t.Cleanup(func() { l.Close(); running.Wait() })
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
func web(t testing.TB, h http.HandlerFunc) (address string) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// try probes once and checks that nothing is left running.
func try(t *testing.T, s Spec) health.Result { t.Helper(); return tryFor(t, s, 5*time.Second) }

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
	if took := time.Since(began); took > timeout+time.Second {
		t.Errorf("took %v with a timeout of %v", took, timeout)
	}
	if r.Detail == "" || len(r.Detail) > maxDetail || strings.ContainsFunc(r.Detail, func(r rune) bool { return r < ' ' || r > '~' }) {
		t.Errorf("detail %q is not for an operator", r.Detail)
	}
	return r
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
	before := runtime.NumGoroutine()
	m.Run()
	for range 500 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	stacks := make([]byte, 1<<20)
	panic("left running:\n" + string(stacks[:runtime.Stack(stacks, true)]))
}

// certificate makes a self-signed one for names, valid from and for the times given.
func certificate(t testing.TB, from time.Time, lasts time.Duration, names ...string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: names,
		NotBefore: from, NotAfter: from.Add(lasts), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
}

// secure serves h over TLS with a certificate.
func secure(t testing.TB, cert tls.Certificate, h http.HandlerFunc) (address string) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	s.Config.ErrorLog = nil
	s.StartTLS()
	t.Cleanup(s.Close)
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
