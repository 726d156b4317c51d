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
	names   *Names      // nil where address is an IP address
	tls     *tls.Config // nil for plain TCP
	// connect is that of a net.Dialer; tests put a pipe in its place.
	connect func(ctx context.Context, network, address string) (net.Conn, error)
}

// newDialer returns a dialer for a host and port. An IP address is where the
// operator sent us, whatever it is. What a host name leads to is in the hands of
// whoever serves that name, so it may not lead to the addresses of [forbidden].
func (s *Spec) newDialer(address string, config *tls.Config) *dialer {
	return newDialerExcept(forbidden, s.Names, address, config)
}

// newDialerExcept is newDialer with another rule for what a name leads to.
func newDialerExcept(forbid func(address string) error, names *Names, address string, config *tls.Config) *dialer {
	d := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: false}, KeepAlive: -1}
	host, _, _ := net.SplitHostPort(address)
	if _, err := netip.ParseAddr(host); err == nil {
		return &dialer{address: address, tls: config, connect: d.DialContext}
	}
	d.Control = func(_, address string, _ syscall.RawConn) error { return forbid(address) }
	if names == nil {
		names = NewNames(nil)
	}
	return &dialer{address: address, names: names, tls: config, connect: d.DialContext}
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
	c := tls.Client(raw, d.tls)
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

// newTLSConfig returns the client side of TLS that s asks for. Sessions are not
// resumed: each probe sees the certificate. The key exchanges are those of any
// client, the costly ones too: what a target accepts must not depend on who asks.
func (s *Spec) newTLSConfig(protocols ...string) *tls.Config {
	name := s.ServerName
	if name == "" {
		name, _, _ = net.SplitHostPort(s.Address)
	}
	return &tls.Config{
		ServerName:             name,
		RootCAs:                s.CA,
		InsecureSkipVerify:     !s.Verify, //nolint:gosec // the operator says whether certificates are part of health
		MinVersion:             tls.VersionTLS12,
		NextProtos:             protocols,
		SessionTicketsDisabled: true,
	}
}
