package probe

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"

	"portolan.dev/health"
)

// dialer opens connections to one address.
type dialer struct {
	address string
	names   *Names             // nil where address is an IP address
	tls     func() *tls.Config // nil for plain TCP
	// connect is that of a net.Dialer; tests put a pipe in its place.
	connect func(ctx context.Context, network, address string) (net.Conn, error)
}

// newDialer returns a dialer for a host and port, which speaks TLS with what client
// returns, unless that is nil. An IP address is where the
// operator sent us, whatever it is. What a host name leads to is in the hands of
// whoever serves that name, so it may not lead to the addresses of [forbidden].
func (s *Spec) newDialer(address string, client func() *tls.Config) *dialer {
	return s.newDialerExcept(forbidden, address, client)
}

// newDialerExcept is newDialer with another rule for what a name leads to.
func (s *Spec) newDialerExcept(forbid func(address string) error, address string, client func() *tls.Config) *dialer {
	d := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: false}, KeepAlive: -1}
	host, _, _ := net.SplitHostPort(address)
	if to, err := netip.ParseAddr(host); err == nil {
		d.LocalAddr = s.sourceFor(to)
		return &dialer{address: address, tls: client, connect: d.DialContext}
	}
	d.Control = func(_, address string, _ syscall.RawConn) error { return forbid(address) }
	names := s.Names
	if names == nil {
		names = NewNames(nil)
	}
	connect := d.DialContext
	if len(s.Sources) > 0 {
		connect = func(ctx context.Context, network, address string) (net.Conn, error) {
			d := d
			if to, err := netip.ParseAddrPort(address); err == nil {
				d.LocalAddr = s.sourceFor(to.Addr())
			}
			return d.DialContext(ctx, network, address)
		}
	}
	return &dialer{address: address, names: names, tls: client, connect: connect}
}

// sourceFor returns where to dial an address from; nil for what the system chooses.
func (s *Spec) sourceFor(to netip.Addr) net.Addr {
	for _, a := range s.Sources {
		if a.Is4() == to.Unmap().Is4() {
			return net.TCPAddrFromAddrPort(netip.AddrPortFrom(a, 0))
		}
	}
	return nil
}

// forbidden returns an error if address is link-local, where clouds serve
// credentials to the machine that asks, or another such well-known address.
func forbidden(address string) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	ip := ap.Addr().Unmap().WithZone("")
	switch {
	case ip.IsLinkLocalUnicast(), ip.IsMulticast(), ip.IsUnspecified(),
		ip == netip.AddrFrom4([4]byte{168, 63, 129, 16}),   // Azure
		ip == netip.AddrFrom4([4]byte{100, 100, 100, 200}), // Alibaba
		ip == netip.MustParseAddr("fd00:ec2::254"),         // AWS
		ip == netip.MustParseAddr("fd20:ce::254"):          // Google
		return fmt.Errorf("a name may not lead to %v; give the address itself if it is meant", ip)
	}
	return nil
}

// session is an open connection whose reads and writes end with a context.
type session struct {
	net.Conn          // TLS or TCP
	raw      net.Conn // TCP
	stop     func() bool
}

// open connects, and shakes hands if the dialer speaks TLS.
func (d *dialer) open(ctx context.Context) (*session, error) {
	raw, err := d.dial(ctx)
	if err != nil {
		return nil, &stepError{"connect", err}
	}
	s := &session{Conn: raw, raw: raw}
	// Closing sends RST. A probe is over when its verdict is known: nothing that
	// is still under way matters. FIN would leave each of 1,000 sockets a second in
	// TIME_WAIT for a minute on this side, and those to a target that vanished in
	// the retransmission of FIN for longer. The target sees a reset after its
	// response has been read, or after a handshake nobody uses.
	if c, ok := raw.(*net.TCPConn); ok {
		_ = c.SetLinger(0)
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = raw.SetDeadline(deadline)
	}
	s.stop = context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	if d.tls == nil {
		return s, nil
	}
	c := tls.Client(raw, d.tls())
	if err := c.HandshakeContext(ctx); err != nil {
		s.close()
		return nil, &stepError{"tls", err}
	}
	s.Conn = c
	return s, nil
}

// dial connects to the address, or to one of those that its name leads to.
func (d *dialer) dial(ctx context.Context) (net.Conn, error) {
	if d.names == nil {
		c, err := d.connect(ctx, "tcp", d.address)
		if err != nil {
			to, _ := netip.ParseAddrPort(d.address)
			return nil, &dialError{to, err}
		}
		return c, nil
	}
	host, port, err := net.SplitHostPort(d.address)
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, err
	}
	addrs, err := d.names.lookUp(ctx, host)
	if err != nil {
		return nil, &lookUpError{host, err}
	}
	return d.dialAny(ctx, addrs, uint16(n))
}

// nextDelay is how long an address may take before the next one is tried beside it (RFC
// 8305 section 5).
const nextDelay = 250 * time.Millisecond

// dialAny connects to the first address that takes the connection. If none does it
// returns the error that tells most of the target: one of this machine, for want of IPv6
// say, is none of the target while another address has been tried in earnest.
func (d *dialer) dialAny(ctx context.Context, addrs []netip.Addr, port uint16) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type outcome struct {
		conn net.Conn
		err  error
	}
	outcomes := make(chan outcome, len(addrs))
	next, running := 0, 0
	start := func() {
		if next == len(addrs) {
			return
		}
		to := netip.AddrPortFrom(addrs[next], port)
		next++
		running++
		go func() {
			c, err := d.connect(ctx, "tcp", to.String())
			if err != nil {
				err = &dialError{to, err}
			}
			outcomes <- outcome{c, err}
		}()
	}
	delay := time.NewTicker(nextDelay)
	defer delay.Stop()
	var first outcome
	var fault health.Fault
	for start(); running > 0; {
		select {
		case <-delay.C:
			start()
			continue
		case o := <-outcomes:
			running--
			switch {
			case first.conn != nil && o.conn != nil: // late
				_ = o.conn.Close()
			case first.conn != nil:
			case o.conn != nil:
				first, next = o, len(addrs)
				cancel()
			default:
				if f := faultOf(o.err); first.err == nil || f < fault {
					first, fault = o, f
				}
				start()
			}
		}
	}
	return first.conn, first.err
}

// close gives the connection up. It is the TCP connection that is closed: closing
// TLS would write and wait.
func (s *session) close() {
	s.stop()
	_ = s.raw.Close()
}

// serverName is what is sent as SNI and has to be in a verified certificate.
func (s *Spec) serverName() string {
	if s.ServerName != "" {
		return s.ServerName
	}
	host, _, _ := net.SplitHostPort(s.Address)
	return host
}

// tlsClient returns what gives the client side of TLS that s asks for, for each handshake:
// authorities and the own certificate may have been renewed. Sessions are not
// resumed: each probe sees the certificate. The key exchanges are those of any
// client, the costly ones too: what a target accepts must not depend on who asks.
func (s *Spec) tlsClient(name string, protocols ...string) func() *tls.Config {
	c := &tls.Config{
		ServerName:             name,
		InsecureSkipVerify:     !s.Verify, //nolint:gosec // the operator says whether certificates are part of health
		MinVersion:             tls.VersionTLS12,
		NextProtos:             protocols,
		SessionTicketsDisabled: true,
	}
	if s.Roots == nil && s.Certificate == nil {
		return func() *tls.Config { return c }
	}
	return func() *tls.Config {
		c := c.Clone()
		if s.Roots != nil {
			c.RootCAs = s.Roots()
		}
		if s.Certificate != nil {
			own := s.Certificate()
			// Also to a target that names other authorities than that of the certificate: it
			// is for the target to refuse it.
			c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own, nil }
		}
		return c
	}
}

// certificate says how long the certificate of a connection is valid; the zero value
// without TLS. Of a chain that was verified the first to end counts, roots left out; of
// several chains, the one that lasts.
func (s *session) certificate() health.Certificate {
	c, ok := s.Conn.(*tls.Conn)
	if !ok {
		return health.Certificate{}
	}
	state := c.ConnectionState()
	if len(state.PeerCertificates) == 0 {
		return health.Certificate{}
	}
	leaf := state.PeerCertificates[0]
	out := health.Certificate{NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter}
	var last time.Time
	for _, chain := range state.VerifiedChains {
		end := leaf.NotAfter
		for _, c := range chain[1:max(1, len(chain)-1)] {
			if c.NotAfter.Before(end) {
				end = c.NotAfter
			}
		}
		if end.After(last) {
			last = end
		}
	}
	if !last.IsZero() {
		out.NotAfter = last
	}
	return out
}
