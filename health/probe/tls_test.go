package probe

import (
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	"portolan.dev/health"
)

var epoch = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

func TestTLS(t *testing.T) {
	const name = "myregistry.example.io"
	const century = 100 * 365 * 24 * time.Hour
	good, roots := certificate(t, epoch, century, name)
	expired, expiredRoots := certificate(t, epoch, 24*time.Hour, name)
	goodAt, expiredAt := secure(t, good, status(200)), secure(t, expired, status(200))
	plainAt, silentAt := web(t, status(200)), raw(t, untilClosed)
	resetAt := raw(t, func(c net.Conn) { tcp, _ := c.(*net.TCPConn); _ = tcp.SetLinger(0) })
	tests := []struct {
		name    string
		spec    Spec
		verdict health.Verdict
		detail  string
	}{
		{"verified", Spec{Address: goodAt, ServerName: name, Verify: true, Roots: trusts(roots)}, health.Pass, ""},
		{"another name", Spec{Address: goodAt, ServerName: "other.example.io", Verify: true, Roots: trusts(roots)}, health.Fail, "not other.example.io"},
		{"no name for the address", Spec{Address: goodAt, Verify: true, Roots: trusts(roots)}, health.Fail, "127.0.0.1"},
		{"unknown root", Spec{Address: goodAt, ServerName: name, Verify: true, Roots: trusts(expiredRoots)}, health.Fail, "unknown authority"},
		{"not verified", Spec{Address: goodAt, ServerName: "other.example.io"}, health.Pass, ""},
		{"expired", Spec{Address: expiredAt, ServerName: name, Verify: true, Roots: trusts(expiredRoots)}, health.Fail, "certificate is valid only from 2020-01-01 until 2020-01-02"},
		{"expired, not verified", Spec{Address: expiredAt, ServerName: name}, health.Pass, ""},
		{"plain HTTP", Spec{Address: plainAt}, health.Fail, "tls: "},
		{"silence", Spec{Address: silentAt}, health.Fail, "tls: timeout"},
		{"reset", Spec{Address: resetAt}, health.Fail, "reset"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for typ, detail := range map[Type]string{TLS: "TLS 1.3, certificate until 2", HTTPS: "200 OK", Registry: "200 OK"} {
				if tt.detail != "" {
					detail = tt.detail
				}
				tt.spec.Type, tt.spec.TLS = typ, typ == Registry
				got := tryFor(t, tt.spec, patience(tt.detail))
				want(t, got, tt.verdict, detail)
				if shown := got.Certificate; tt.verdict == health.Pass && (shown.NotAfter.Before(epoch) || !shown.NotBefore.Equal(epoch)) {
					t.Errorf("%s: the certificate is valid from %v until %v", typ, shown.NotBefore, shown.NotAfter)
				}
			}
		})
	}
}

func TestTCP(t *testing.T) {
	want(t, try(t, Spec{Type: TCP, Address: raw(t, func(net.Conn) {})}), health.Pass, "connected")
	// A reset and no FIN: that would leave TIME_WAIT here.
	end := make(chan error, 1)
	address := raw(t, func(c net.Conn) { _, err := c.Read(make([]byte, 1)); end <- err })
	want(t, try(t, Spec{Type: TCP, Address: address}), health.Pass, "connected")
	if err := <-end; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the target saw %v, want a reset", err)
	}
}
