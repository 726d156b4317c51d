package probe

import (
	"context"
	"crypto/tls"
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
	certificate := s.certificate()
	if !certificate.NotAfter.IsZero() {
		detail += ", certificate until " + certificate.NotAfter.UTC().Format(time.DateOnly)
	}
	r := pass(detail)
	r.Certificate = certificate
	return r
}
