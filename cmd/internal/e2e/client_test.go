//go:build linux

package e2e

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// client asks one address over one transport, each time from a new socket.
type client struct {
	ns      *netns
	server  netip.AddrPort
	network string // udp, tcp or tls
}

func (c client) String() string {
	family := "IPv4"
	if c.server.Addr().Is6() {
		family = "IPv6"
	}
	return c.network + " " + family
}

// clients returns one client for each transport and family that is served.
func (s *server) clients() []client {
	var out []client
	for _, a := range s.addrs {
		out = append(out, client{s.ns, a, "udp"}, client{s.ns, a, "tcp"})
	}
	for _, a := range s.tls {
		out = append(out, client{s.ns, a, "tls"})
	}
	return out
}

// client returns a client over UDP and the first address served.
func (s *server) client() client { return client{s.ns, s.addrs[0], "udp"} }

// silence is how long a client waits where it expects no answer. One that is late
// is still seen by its counter.
const silence = 100 * time.Millisecond

// exchange sends bytes, whatever they are, and returns what comes back; else nil
// and why nothing did: the time is over (os.ErrDeadlineExceeded), or the server
// has closed the connection. Over TCP the length is put before them.
func (c client) exchange(t *testing.T, msg []byte, wait time.Duration) ([]byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := c.dial(ctx)
	if err != nil {
		t.Fatalf("%v: %v", c, err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(wait)); err != nil {
		t.Fatal(err)
	}
	if c.network != "udp" {
		msg = append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...)
	}
	if _, err := conn.Write(msg); err != nil {
		t.Fatalf("%v: %v", c, err)
	}
	if c.network != "udp" {
		return readMessage(conn)
	}
	answer := make([]byte, 65535)
	n, err := conn.Read(answer)
	if err != nil {
		return nil, err
	}
	return answer[:n], nil
}

// dial connects. Over TLS nobody looks at the certificate, as resolvers do not.
func (c client) dial(ctx context.Context) (net.Conn, error) {
	if c.network != "tls" {
		return c.ns.dial(ctx, c.network, c.server.String())
	}
	conn, err := c.ns.dial(ctx, "tcp", c.server.String())
	if err != nil {
		return nil, err
	}
	t := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"dot"}})
	if err := t.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return t, nil
}

// readMessage reads one message with its length from a stream.
func readMessage(r io.Reader) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	msg := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(r, msg); err != nil {
		return nil, err
	}
	return msg, nil
}

// wire sends a message and returns the bytes of the answer, which must come and
// must be one to it.
func (c client) wire(t *testing.T, m *dns.Msg) []byte {
	t.Helper()
	msg, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	answer, err := c.exchange(t, msg, patience)
	if err != nil || len(answer) < 12 || binary.BigEndian.Uint16(answer) != m.Id {
		t.Fatalf("%v: no answer to %v: %v: %x", c, m.Question, err, answer)
	}
	return answer
}

// ask sends a message and returns the answer.
func (c client) ask(t *testing.T, m *dns.Msg) *dns.Msg {
	t.Helper()
	answer := new(dns.Msg)
	if err := answer.Unpack(c.wire(t, m)); err != nil {
		t.Fatalf("%v: answer to %v: %v", c, m.Question, err)
	}
	return answer
}

// option changes a query.
type option func(*dns.Msg)

// question returns a query of class IN for a name and a type such as "A" or
// "TYPE65280".
func question(name, qtype string, options ...option) *dns.Msg {
	typ, ok := dns.StringToType[qtype]
	if !ok {
		if _, err := fmt.Sscanf(qtype, "TYPE%d", &typ); err != nil {
			panic("no type " + qtype)
		}
	}
	m := new(dns.Msg)
	m.Id = dns.Id()
	m.Question = []dns.Question{{Name: dns.Fqdn(name), Qtype: typ, Qclass: dns.ClassINET}}
	for _, o := range options {
		o(m)
	}
	return m
}

// edns adds an OPT record with a UDP size unless there is one.
func edns(size uint16) option {
	return func(m *dns.Msg) {
		if m.IsEdns0() == nil {
			m.SetEdns0(size, false)
		}
	}
}

// subnet adds a client subnet (RFC 7871): an address or a prefix.
func subnet(text string) option {
	return func(m *dns.Msg) {
		if !strings.Contains(text, "/") {
			a := netip.MustParseAddr(text)
			text = netip.PrefixFrom(a, a.BitLen()).String()
		}
		p := netip.MustParsePrefix(text).Masked()
		family := uint16(1)
		if p.Addr().Is6() {
			family = 2
		}
		edns(1232)(m)
		opt := m.IsEdns0()
		opt.Option = append(opt.Option, &dns.EDNS0_SUBNET{
			Code: dns.EDNS0SUBNET, Family: family, SourceNetmask: uint8(p.Bits()), Address: p.Addr().AsSlice(),
		})
	}
}

// optionOf returns the first EDNS option of a kind, and whether there is one.
func optionOf[O dns.EDNS0](m *dns.Msg) (option O, ok bool) {
	opt := m.IsEdns0()
	if opt == nil {
		return option, false
	}
	for _, o := range opt.Option {
		if option, ok = o.(O); ok {
			return option, true
		}
	}
	return option, false
}

// records returns the records of a section as text, one each, single spaces
// between the fields.
func records(section []dns.RR) []string {
	out := make([]string, len(section))
	for i, rr := range section {
		out[i] = strings.Join(strings.Fields(rr.String()), " ")
	}
	return out
}

// addresses returns the addresses of an answer, in order.
func addresses(m *dns.Msg) []string {
	var out []string
	for _, rr := range m.Answer {
		switch rr := rr.(type) {
		case *dns.A:
			out = append(out, rr.A.String())
		case *dns.AAAA:
			out = append(out, rr.AAAA.String())
		}
	}
	return out
}
