package server

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// heirOf starts a server on the sockets of another.
func heirOf(t *testing.T, s *Server, o Options) *Server {
	t.Helper()
	sockets, err := s.Sockets()
	if err != nil {
		t.Fatal(err)
	}
	o.Inherit = func(u Use, addr netip.AddrPort) (files []*os.File) {
		for i := range sockets {
			if c := &sockets[i]; c.File != nil && c.Use == u && c.Addr == addr {
				files = append(files, c.File)
				c.File = nil
			}
		}
		return files
	}
	var listen []string
	for _, a := range s.Addrs() {
		listen = append(listen, a.String())
	}
	heir := startWith(t, o, listen...)
	for _, c := range sockets {
		if c.File != nil {
			t.Errorf("%s %s was not taken over", c.Use, c.Addr)
		}
	}
	return heir
}

// signed answers like echo, with its name first.
type signed string

func (n signed) Answer(dst, msg []byte, _ netip.AddrPort, _ int64) []byte {
	return append(append(dst, n...), msg...)
}

func named(name string) Options {
	return Options{Limits: roomy, TCP: func() Answerer { return signed(name) }}
}

// ask writes a query to a stream in two parts and returns the answer.
func ask(t *testing.T, conn net.Conn, query string, between func()) string {
	t.Helper()
	_ = conn.SetDeadline(deadline())
	msg := append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...)
	if _, err := conn.Write(msg[:3]); err != nil {
		t.Fatal(err)
	}
	between()
	if _, err := conn.Write(msg[3:]); err != nil {
		t.Fatal(err)
	}
	return answerOn(t, conn)
}

func answerOn(t *testing.T, conn net.Conn) string {
	t.Helper()
	var head [2]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, binary.BigEndian.Uint16(head[:]))
	if _, err := io.ReadFull(conn, body); err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// Connections go on in the next process: idle ones, and one in the middle of a query.
func TestConnectionsArePassedOn(t *testing.T) {
	for _, addr := range loopback("127.0.0.1:0", "[::1]:0") {
		t.Run(addr, func(t *testing.T) {
			before := startWith(t, named("old "), addr)
			heir := heirOf(t, before, named("new "))
			dial := func() net.Conn {
				conn, err := net.Dial("tcp", before.Addrs()[0].String())
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = conn.Close() })
				return conn
			}
			idle, half := dial(), dial()
			old := func(c net.Conn) bool { return ask(t, c, "ab", func() {}) == "old ab" }
			for !old(idle) { // either may take a new connection
				idle = dial()
			}
			for !old(half) {
				half = dial()
			}
			var adopted atomic.Int32
			got := ask(t, half, "whole", func() {
				if err := before.Retire(t.Context(), func() {}, func(c Connection) error {
					adopted.Add(1)
					return heir.Adopt(c)
				}); err != nil {
					t.Error(err)
				}
			})
			if got != "new whole" {
				t.Errorf("the query under way was answered %q", got)
			}
			if got := ask(t, idle, "xy", func() {}); got != "new xy" {
				t.Errorf("the idle connection was answered %q", got)
			}
			if n := adopted.Load(); n < 2 {
				t.Errorf("%d connections were passed on, at least 2 were open", n)
			}
			if got := ask(t, dial(), "zz", func() {}); got != "new zz" {
				t.Errorf("a new connection was answered %q", got)
			}
			if before.Stats().TimedOut.Load() > 0 {
				t.Error("a connection that was passed on counts as timed out")
			}
		})
	}
}

// A connection that cannot be passed on is served to its end.
func TestConnectionStays(t *testing.T) {
	var said atomic.Int32
	o := named("old ")
	o.Log = func(string, error) { said.Add(1) }
	s := startWith(t, o, "127.0.0.1:0")
	conn, err := net.Dial("tcp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := ask(t, conn, "ab", func() {}); got != "old ab" {
		t.Fatalf("%q", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	tried := make(chan struct{})
	ended := make(chan error)
	go func() {
		ended <- s.Retire(ctx, func() {}, func(c Connection) error {
			_ = c.File.Close()
			close(tried) // once: it stays for good
			return errors.New("nobody takes it")
		})
	}()
	<-tried
	if got := ask(t, conn, "cd", func() {}); got != "old cd" {
		t.Errorf("%q", got)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("%v: the connection is still open", err)
	}
	if said.Load() != 1 {
		t.Errorf("said %d times", said.Load())
	}
}

// Nothing is lost between two processes, whenever the first one ends: over UDP and
// over connections that are always busy.
func TestNothingIsLostBetween(t *testing.T) {
	endless := roomy
	endless.Pipeline = 0
	s := startWith(t, Options{Limits: endless}, loopback("127.0.0.1:0", "[::1]:0")...)
	stop := make(chan struct{})
	var asking sync.WaitGroup
	var asked, lost atomic.Int64
	for _, addr := range s.Addrs() {
		for _, network := range []string{"udp", "tcp"} {
			conn, err := net.Dial(network, addr.String())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close() })
			asking.Go(func() {
				var in [16]byte
				for i := byte(1); ; i++ {
					select {
					case <-stop:
						return
					default:
					}
					msg := []byte{0, 2, 1, i} // a datagram of four octets, or a query of two
					if network == "udp" {
						msg[0] = 1
					}
					_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
					if _, err := conn.Write(msg); err != nil {
						lost.Add(1)
						return
					}
					if n, err := conn.Read(in[:]); err != nil || n != len(msg) || in[3] != i {
						t.Errorf("%s %s: %d octets, %v", network, addr, n, err)
						lost.Add(1)
						return
					}
					asked.Add(1)
				}
			})
		}
	}
	for range 10 {
		next := heirOf(t, s, Options{Limits: endless})
		for before := asked.Load(); asked.Load() < before+100 && lost.Load() == 0; {
			time.Sleep(time.Millisecond) // both serve
		}
		if err := s.Retire(t.Context(), func() {}, next.Adopt); err != nil {
			t.Fatal(err)
		}
		s = next
	}
	close(stop)
	asking.Wait()
	if lost.Load() > 0 || asked.Load() == 0 {
		t.Errorf("%d of %d lost", lost.Load(), asked.Load())
	}
}

// whence answers with the address of the client.
type whence string

func (n whence) Answer(dst, _ []byte, from netip.AddrPort, _ int64) []byte {
	return append(append(dst, n...), from.String()...)
}

// A connection whose PROXY header is still awaited goes over with the client's address,
// one over TLS stays to its end, and its client is told to go.
func TestPassingOnByProtocol(t *testing.T) {
	var told atomic.Int64
	o := Options{
		Limits: roomy, ListenTLS: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")},
		TLS:       &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{selfSigned(t)}},
		ProxyFrom: []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")},
		Idle:      func(d time.Duration) { told.Store(int64(d)) },
		TCP:       func() Answerer { return whence("old ") },
	}
	before := startWith(t, o, "127.0.0.1:0")
	o.TCP, o.Idle = func() Answerer { return whence("new ") }, nil
	heir := startWith(t, o, "127.0.0.1:0")
	balancer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	proxied, err := balancer.Dial("tcp", before.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer proxied.Close()
	secure, err := tls.Dial("tcp", before.AddrsTLS()[0].String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer secure.Close()
	client := secure.LocalAddr().String()
	if got := ask(t, secure, "ab", func() {}); got != "old "+client {
		t.Errorf("over TLS before: %q", got)
	}
	for begin := time.Now(); before.Open() < 2; time.Sleep(time.Millisecond) {
		if time.Since(begin) > patience {
			t.Fatal("two connections are not open")
		}
	}
	ended, passed := make(chan error), make(chan struct{})
	go func() {
		ended <- before.Retire(t.Context(), func() {}, func(c Connection) error {
			defer close(passed) // one is all there is
			return heir.Adopt(c)
		})
	}()
	for begin := time.Now(); !before.deaf.Load(); time.Sleep(time.Millisecond) {
		if time.Since(begin) > patience {
			t.Fatal("the server has not retired")
		}
	}
	if _, err := proxied.Write(inet4("198.51.100.7:4242")); err != nil {
		t.Fatal(err)
	}
	<-passed
	if got := ask(t, proxied, "cd", func() {}); got != "new 198.51.100.7:4242" {
		t.Errorf("behind the balancer: %q", got)
	}
	if got := ask(t, secure, "ef", func() {}); got != "old "+client {
		t.Errorf("over TLS: %q", got)
	}
	if got := told.Load(); got != 0 {
		t.Errorf("clients are told to stay for %v", time.Duration(got))
	}
	_ = secure.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A service manager opens one socket for each address; all workers use it.
func TestOneSocketForSeveralWorkers(t *testing.T) {
	packet, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := packet.LocalAddr().(*net.UDPAddr).AddrPort()
	f, err := Descriptor(packet.(*net.UDPConn))
	if err != nil {
		t.Fatal(err)
	}
	_ = packet.Close()
	given := map[Use][]*os.File{UDP: {f}}
	s := startWith(t, Options{Limits: roomy, Inherit: func(u Use, _ netip.AddrPort) []*os.File {
		files := given[u]
		delete(given, u)
		return files
	}}, addr.String())
	if len(s.udp) != 2 {
		t.Errorf("%d receive loops, want one for each worker", len(s.udp))
	}
	for range 50 { // from ports that the system would spread among sockets
		conn, err := net.Dial("udp", addr.String())
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(deadline())
		if _, err := conn.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(make([]byte, 2)); err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
	}
}

func TestWhatCannotBeInherited(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for _, u := range []Use{UDP, TCP, TLS} {
		_, err := New(Options{
			Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, ListenTLS: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")},
			Workers: 1, Limits: roomy, TCP: func() Answerer { return echo{} }, Now: time.Now, Log: func(string, error) {},
			Inherit: func(asked Use, _ netip.AddrPort) []*os.File {
				if asked != u {
					return nil
				}
				f, err := os.Open(os.DevNull)
				if err != nil {
					t.Fatal(err)
				}
				return []*os.File{f}
			},
		})
		if err == nil {
			t.Errorf("%s: a server on /dev/null", u)
		}
	}
	s := start(t, roomy, "127.0.0.1:0")
	if err := s.Adopt(Connection{File: null}); err == nil {
		t.Error("a connection over /dev/null")
	}
}
