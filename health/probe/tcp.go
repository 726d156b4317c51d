package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"time"

	"portolan.dev/health"
)

// tcpProber opens a connection and gives it up.
type tcpProber struct{ dialer *dialer }

// Probe implements [health.Prober].
func (p *tcpProber) Probe(ctx context.Context) health.Result {
	s, err := p.dialer.open(ctx)
	if err != nil {
		return failed(err)
	}
	s.close()
	return pass("connected")
}

// tlsProber shakes hands.
type tlsProber struct{ dialer *dialer }

// Probe implements [health.Prober].
func (p *tlsProber) Probe(ctx context.Context) health.Result {
	s, err := p.dialer.open(ctx)
	if err != nil {
		return failed(err)
	}
	defer s.close()
	c, ok := s.Conn.(*tls.Conn)
	if !ok {
		return fail("no TLS")
	}
	state := c.ConnectionState()
	detail := tls.VersionName(state.Version)
	if len(state.PeerCertificates) > 0 {
		detail += ", certificate until " + lastDay(state.PeerCertificates[0])
	}
	return pass(detail)
}

func lastDay(c *x509.Certificate) string { return c.NotAfter.UTC().Format(time.DateOnly) }
