package server

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// proxied returns a header: version and command, family and transport, and what
// follows the length.
func proxied(command, family byte, body ...byte) []byte {
	h := append([]byte(proxySignature), command, family)
	return append(binary.BigEndian.AppendUint16(h, uint16(len(body))), body...)
}

func inet4(src string) []byte {
	a := netip.MustParseAddrPort(src)
	body := append(a.Addr().AsSlice(), 192, 0, 2, 53)
	return proxied(0x21, 0x12, append(body, byte(a.Port()>>8), byte(a.Port()), 0, 53)...)
}

func inet6(src string) []byte {
	a := netip.MustParseAddrPort(src)
	a16 := a.Addr().As16()
	body := append(a16[:], netip.MustParseAddr("2001:db8::53").AsSlice()...)
	return proxied(0x21, 0x21, append(body, byte(a.Port()>>8), byte(a.Port()), 0, 53)...)
}

func TestParseProxy(t *testing.T) {
	v4, v6 := inet4("198.51.100.7:4242"), inet6("[2001:db8::7]:4242")
	extra := proxied(0x21, 0x11, append(v4[16:], 4, 0, 3, 1, 2, 3)...)
	for _, tt := range []struct {
		name   string
		header []byte
		ok     bool
		from   string // "" for the peer itself
	}{
		{"IPv4", v4, true, "198.51.100.7:4242"},
		{"IPv6", v6, true, "[2001:db8::7]:4242"},
		{"IPv4 in IPv6 form", inet6("[::ffff:198.51.100.7]:9"), true, "198.51.100.7:9"},
		{"additional fields", extra, true, "198.51.100.7:4242"},
		{"the balancer itself", proxied(0x20, 0x00), true, ""},
		{"the balancer itself, with an address", proxied(0x20, 0x11, v4[16:]...), true, ""},
		{"not known", proxied(0x21, 0x00), true, ""},
		{"not known, with octets", proxied(0x21, 0x00, 1, 2, 3), true, ""},
		{"nothing", nil, false, ""},
		{"version 1", []byte("PROXY TCP4 198.51.100.7 192.0.2.53 4242 53\r\n"), false, ""},
		{"another version", proxied(0x31, 0x12, v4[16:]...), false, ""},
		{"another command", proxied(0x22, 0x12, v4[16:]...), false, ""},
		{"a unix socket", proxied(0x21, 0x31, make([]byte, 216)...), false, ""},
		{"another family", proxied(0x21, 0x41, v6[16:]...), false, ""},
		{"too short for IPv4", proxied(0x21, 0x12, v4[16:27]...), false, ""},
		{"too short for IPv6", proxied(0x21, 0x21, v6[16:51]...), false, ""},
		{"too long", proxied(0x21, 0x12, make([]byte, maxProxy)...), false, ""},
		{"no address", inet4("0.0.0.0:9"), false, ""},
		{"a multicast address", inet6("[ff02::1]:9"), false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			from, n, ok := parseProxy(append(slices.Clip(tt.header), "query"...))
			if ok != tt.ok {
				t.Fatalf("ok %v, want %v", ok, tt.ok)
			}
			if !ok {
				return
			}
			if got := from.String(); n != len(tt.header) || from.IsValid() != (tt.from != "") || from.IsValid() && got != tt.from {
				t.Errorf("%s, %d octets, want %s, %d", got, n, tt.from, len(tt.header))
			}
		})
	}
	for cut := range v6 {
		if _, _, ok := parseProxy(v6[:cut]); ok {
			t.Errorf("good when cut after %d octets", cut)
		}
	}
}

func FuzzParseProxy(f *testing.F) {
	f.Add(inet4("198.51.100.7:4242"))
	f.Add(inet6("[2001:db8::7]:4242"))
	f.Add(proxied(0x20, 0x00))
	f.Add(proxied(0x21, 0x31, make([]byte, 216)...))
	f.Fuzz(func(t *testing.T, data []byte) {
		from, n, ok := parseProxy(data)
		if ok && (n < proxyFixed || n > len(data) || n > maxProxy) {
			t.Errorf("a header of %d octets in %d", n, len(data))
		}
		if !ok && from.IsValid() {
			t.Errorf("an address from a bad header: %v", from)
		}
		if from.IsValid() && (from.Addr().Is4In6() || from.Addr().IsUnspecified()) {
			t.Errorf("address %v", from)
		}
	})
}

// whoAsks answers with the address a query came from.
type whoAsks struct{ from []netip.AddrPort }

func (w *whoAsks) Reset()                             { w.from = w.from[:0] }
func (w *whoAsks) Read(_ []byte, from netip.AddrPort) { w.from = append(w.from, from) }
func (*whoAsks) Look()                                {}
func (w *whoAsks) Answer(dst []byte, i int, _ int64) []byte {
	return append(dst, w.from[i].String()...)
}

type whoAsksStream struct{}

func (whoAsksStream) Answer(dst, _ []byte, from netip.AddrPort, _ int64) []byte {
	return append(dst, from.String()...)
}

func TestProxyFromAllowedNetworks(t *testing.T) {
	o := Options{
		Limits: roomy, ProxyFrom: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		UDP: func() BatchAnswerer { return new(whoAsks) }, TCP: func() Answerer { return whoAsksStream{} },
	}
	s := startWith(t, o)
	query := "a query of DNS"
	ask := func(network, to string, msg []byte, silent bool) string {
		conn, err := net.Dial(network, to)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(deadline())
		if silent && network == "udp" { // that nothing comes takes its time
			_ = conn.SetDeadline(time.Now().Add(500 * time.Millisecond))
		}
		_, _ = conn.Write(msg)
		b := make([]byte, 100)
		n, err := conn.Read(b)
		if err != nil {
			return ""
		}
		if network == "tcp" {
			b = b[2:]
			n -= 2
		}
		if text := string(b[:n]); text != conn.LocalAddr().String() {
			return text
		}
		return "the peer"
	}
	for _, tt := range []struct{ name, header, v4, v6 string }{
		{"a client behind IPv4", string(inet4("198.51.100.7:4242")), "198.51.100.7:4242", "the peer"},
		{"a client behind IPv6", string(inet6("[2001:db8::7]:4242")), "[2001:db8::7]:4242", "the peer"},
		{"the balancer itself", string(proxied(0x20, 0)), "the peer", "the peer"},
		{"no header", "", "", "the peer"},
		{"a bad header", string(proxied(0x2f, 0)), "", "the peer"},
	} {
		for i, a := range s.Addrs() {
			want, to := []string{tt.v4, tt.v6}[i], a.String()
			if got := ask("udp", to, []byte(tt.header+query), want == ""); got != want {
				t.Errorf("%s over UDP to %s: from %q, want %q", tt.name, to, got, want)
			}
			if i == 1 { // elsewhere a header is a length that no query has
				tt.header = ""
			}
			if got := ask("tcp", to, append([]byte(tt.header), framed(query)...), want == ""); got != want {
				t.Errorf("%s over TCP to %s: from %q, want %q", tt.name, to, got, want)
			}
		}
	}
	for end := deadline(); s.Stats().BadProxy.Load() != 4; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d bad headers are counted, want 4", s.Stats().BadProxy.Load())
		}
	}
}

func TestPortZeroIsDropped(t *testing.T) {
	s := &Server{}
	if _, _, ok := s.unwrap([]byte("x"), netip.MustParseAddrPort("192.0.2.1:0")); ok || s.stats.BadSource.Load() != 1 {
		t.Error("a datagram from port 0 is answered")
	}
	for _, port := range []string{"7", "19", "53", "123"} {
		if _, _, ok := s.unwrap([]byte("x"), netip.MustParseAddrPort("192.0.2.1:"+port)); !ok {
			t.Errorf("a datagram from port %s is dropped", port)
		}
	}
}

// fragile panics at a query that begins with 'p', in the step that its second octet
// names.
type fragile struct{ echoes }

func (f *fragile) Read(msg []byte, from netip.AddrPort) {
	if string(msg) == "pr" {
		panic("read")
	}
	f.echoes.Read(msg, from)
}

func (f *fragile) Look() {
	for _, m := range f.msgs {
		if string(m) == "pl" {
			panic("look")
		}
	}
}

func (f *fragile) Answer(dst []byte, i int, now int64) []byte {
	if string(f.msgs[i]) == "pa" {
		panic("answer")
	}
	return f.echoes.Answer(dst, i, now)
}

type fragileStream struct{}

func (fragileStream) Answer(dst, msg []byte, from netip.AddrPort, now int64) []byte {
	if msg[0] == 'p' {
		panic("answer")
	}
	return echo{}.Answer(dst, msg, from, now)
}

// A query that cannot be taken is dropped alone: those that came with it, and those
// of other connections, are answered.
func TestPanicDropsOneQuery(t *testing.T) {
	var told atomic.Int64
	s := startWith(t, Options{
		Limits: roomy, Panicked: func(v any, stack []byte) {
			if v == nil || len(stack) == 0 {
				t.Error("nothing is said of a panic")
			}
			told.Add(1)
		},
		UDP: func() BatchAnswerer { return new(fragile) }, TCP: func() Answerer { return fragileStream{} },
	}, "127.0.0.1:0")
	conn, err := net.Dial("udp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(deadline())
	for _, bad := range []string{"pr", "pl", "pa"} {
		for range 20 { // so that some come in one batch
			for _, m := range []string{"a", bad, "b"} {
				_, _ = conn.Write([]byte(m))
			}
		}
		got := map[string]int{}
		b := make([]byte, 10)
		for range 40 {
			n, err := conn.Read(b)
			if err != nil {
				t.Fatalf("%s: %v, after %v", bad, err, got)
			}
			got[string(b[:n])]++
		}
		if got["a"] != 20 || got["b"] != 20 {
			t.Errorf("%s: %v", bad, got)
		}
	}
	if n := s.Stats().Panics.Load(); n < 60 {
		t.Errorf("%d counted, %d told, want both at least 60", n, told.Load())
	}
	bad, good := dialTCP(t, s), dialTCP(t, s)
	_, _ = bad.Write(framed("p"))
	expectClosed(t, bad, "a panic")
	_, _ = good.Write(framed("x"))
	if _, err := io.ReadFull(good, make([]byte, 3)); err != nil {
		t.Error(err)
	}
}
