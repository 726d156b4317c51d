package server

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"
)

// echo answers every query with its own octets; a query that begins with 0
// gets no answer.
type echo struct{}

func (echo) Answer(dst, msg []byte, _ netip.AddrPort, _ int64) []byte {
	if len(msg) == 0 || msg[0] == 0 {
		return dst
	}
	return append(dst, msg...)
}

// echoes does so for queries that came together.
type echoes struct{ msgs [][]byte }

func (e *echoes) Reset()                            { e.msgs = e.msgs[:0] }
func (e *echoes) Read(msg []byte, _ netip.AddrPort) { e.msgs = append(e.msgs, msg) }
func (*echoes) Look()                               {}
func (e *echoes) Answer(dst []byte, i int, _ int64) []byte {
	return echo{}.Answer(dst, e.msgs[i], netip.AddrPort{}, 0)
}

// loopback returns its arguments, the second only where loopback has IPv6.
func loopback(v4, v6 string) []string {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		return []string{v4}
	}
	_ = l.Close()
	return []string{v4, v6}
}

// start serves an echo on loopback, v4 and v6.
func start(t *testing.T, limits Limits, listen ...string) *Server {
	t.Helper()
	return startWith(t, Options{Limits: limits}, listen...)
}

// startWith does so with more options.
func startWith(t *testing.T, o Options, listen ...string) *Server {
	t.Helper()
	if len(listen) == 0 {
		listen = loopback("127.0.0.1:0", "[::1]:0")
	}
	o.Workers, o.Now = 2, time.Now
	if o.UDP == nil {
		o.UDP = func() BatchAnswerer { return new(echoes) }
	}
	if o.TCP == nil {
		o.TCP = func() Answerer { return echo{} }
	}
	o.TLSAnswerer = o.TCP
	if o.Log == nil {
		o.Log = func(msg string, err error) { t.Logf("%s: %v", msg, err) }
	}
	for _, a := range listen {
		o.Listen = append(o.Listen, netip.MustParseAddrPort(a))
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

// patience bounds every wait for something that has to happen.
const patience = 20 * time.Second

// roomy has limits that no test comes to by being slow: they are beyond its patience.
var roomy = Limits{Connections: 100, PerPrefix: 100, Pipeline: 1000, Idle: 3 * patience, Message: 3 * patience, Handshake: 3 * patience}

func deadline() time.Time { return time.Now().Add(patience) }

func TestUDPEchoes(t *testing.T) {
	for _, addr := range start(t, roomy).Addrs() {
		conn, err := net.Dial("udp", addr.String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for i := range 200 {
			want := []byte{1, byte(i)}
			if _, err := conn.Write(want); err != nil {
				t.Fatal(err)
			}
			_ = conn.SetReadDeadline(deadline())
			got := make([]byte, 10)
			if n, err := conn.Read(got); err != nil || string(got[:n]) != string(want) {
				t.Fatalf("%s: got %x, %v", addr, got[:n], err)
			}
		}
	}
}

// A server on the wildcard address must answer from the address that was asked,
// or clients drop the response.
func TestWildcardAnswersFromTheAddressAsked(t *testing.T) {
	s := start(t, roomy, loopback("0.0.0.0:0", "[::]:0")...)
	for i, a := range s.Addrs() {
		to := netip.AddrPortFrom(netip.MustParseAddr([]string{"127.0.0.77", "::1"}[i]), a.Port()).String()
		conn, err := net.Dial("udp", to) // connected: only answers from `to` are seen
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(deadline())
		if _, err := conn.Read(make([]byte, 10)); err != nil {
			t.Errorf("%s: %v", to, err)
		}
	}
}

func TestUDPManyClientsAtOnce(t *testing.T) {
	addr := start(t, roomy).Addrs()[0].String()
	var wg sync.WaitGroup
	for c := range 8 {
		wg.Go(func() {
			conn, err := net.Dial("udp", addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			for i := range 300 {
				msg := []byte{1, byte(c), byte(i), byte(i >> 8)}
				_, _ = conn.Write(msg)
				_ = conn.SetReadDeadline(deadline())
				got := make([]byte, 10)
				if n, err := conn.Read(got); err != nil || string(got[:n]) != string(msg) {
					t.Errorf("client %d: got %x, %v", c, got[:n], err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func dialTCP(t *testing.T, s *Server) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(deadline())
	return conn.(*net.TCPConn)
}

// framed is msg with its length prefix.
func framed(msg string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...)
}

func TestTCPPipelined(t *testing.T) {
	conn := dialTCP(t, start(t, roomy))
	var all []byte
	for i := range 50 {
		all = append(all, framed("query"+string(rune('a'+i%26)))...)
	}
	go func() {
		for i, c := range all { // in dribs, across message borders
			if _, err := conn.Write([]byte{c}); err != nil {
				t.Errorf("octet %d: %v", i, err)
				return
			}
		}
		_ = conn.CloseWrite()
	}()
	got, err := io.ReadAll(conn)
	if err != nil || string(got) != string(all) {
		t.Errorf("got %d octets, want %d, %v", len(got), len(all), err)
	}
}

func expectClosed(t *testing.T, conn net.Conn, why string) {
	t.Helper()
	got, err := io.ReadAll(conn)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		t.Errorf("%s: the connection stays open", why)
	}
	if len(got) > 0 {
		t.Errorf("%s: got %x", why, got)
	}
}

func TestTCPClosesOn(t *testing.T) {
	short := roomy
	short.Message, short.Idle = 50*time.Millisecond, 50*time.Millisecond
	for _, tt := range []struct {
		name, send string
		limits     Limits
	}{
		{"silence", "", short},
		{"a length and silence", "\x00\x05", short},
		{"part of a query", "\x00\x05ab", short},
		{"a length of 65535", "\xff\xff", roomy},
		{"a query without an answer", "\x00\x01\x00", roomy},
		{"an empty query", "\x00\x00", roomy},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conn := dialTCP(t, start(t, tt.limits))
			if _, err := conn.Write([]byte(tt.send)); err != nil {
				t.Fatal(err)
			}
			expectClosed(t, conn, tt.name)
		})
	}
}

func TestTCPIdleRunsFromTheLastAnswer(t *testing.T) {
	t.Parallel()
	limits := roomy
	limits.Idle = time.Second // enough for a slow machine to ask
	s := start(t, limits)
	conn := dialTCP(t, s)
	_, _ = conn.Write(framed("x"))
	if _, err := io.ReadFull(conn, make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	expectClosed(t, conn, "idle")
	if s.Stats().TimedOut.Load() != 1 {
		t.Error("the timeout is not counted")
	}
}

func TestTCPLimits(t *testing.T) {
	limits := roomy
	limits.PerPrefix = 2
	s := start(t, limits)
	var conns []*net.TCPConn
	for range 2 {
		c := dialTCP(t, s)
		_, _ = c.Write(framed("x"))
		if _, err := io.ReadFull(c, make([]byte, 3)); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	third := dialTCP(t, s)
	_, _ = third.Write(framed("x"))
	if _, err := io.ReadFull(third, make([]byte, 3)); err != nil {
		t.Error(err)
	}
	expectClosed(t, conns[0], "the idlest, over the limit per prefix")
	if s.Stats().EvictedPrefix.Load() != 1 || s.Open() != 2 {
		t.Errorf("evicted %d, open %d", s.Stats().EvictedPrefix.Load(), s.Open())
	}
	_ = conns[1].Close()
	for end := deadline(); s.Open() > 1; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a closed connection still counts")
		}
	}
	again := dialTCP(t, s)
	_, _ = again.Write(framed("x"))
	if _, err := io.ReadFull(again, make([]byte, 3)); err != nil {
		t.Error(err)
	}
}

func TestTCPPipelineLimit(t *testing.T) {
	limits := roomy
	limits.Pipeline = 3
	conn := dialTCP(t, start(t, limits))
	for range 10 {
		if _, err := conn.Write(framed("x")); err != nil {
			break
		}
	}
	n := 0
	for {
		if _, err := io.ReadFull(conn, make([]byte, 3)); err != nil {
			break
		}
		n++
	}
	if n > 3 || n == 0 {
		t.Errorf("%d answers, want at most 3", n)
	}
}

// A client that pipelines and never reads must not make the server hold its
// answers: the write times out and the connection goes.
func TestTCPClientThatNeverReads(t *testing.T) {
	limits := roomy
	limits.Message, limits.Pipeline = 100*time.Millisecond, 0
	s := start(t, limits)
	conn := dialTCP(t, s)
	big := framed(string(make([]byte, 1999)) + "x")
	big[2] = 1
	for range 100_000 {
		if _, err := conn.Write(big); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("the connection stays open")
			}
			return // cut, as it should be
		}
	}
	t.Error("200 MB were taken from a client that reads nothing")
}

func TestStopLetsGoOfIdleConnections(t *testing.T) {
	s := start(t, roomy)
	conn := dialTCP(t, s)
	_, _ = conn.Write(framed("x"))
	if _, err := io.ReadFull(conn, make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience) // well before its time is up
	defer cancel()
	begin := time.Now()
	if err := s.Stop(ctx); err != nil {
		t.Errorf("after %v: %v", time.Since(begin), err)
	}
	expectClosed(t, conn, "stopped")
}

func TestAddressInUseNamesIt(t *testing.T) {
	s := start(t, roomy, "127.0.0.1:0")
	_, err := New(Options{Listen: s.Addrs(), Workers: 1, Limits: roomy, Now: time.Now, Log: func(string, error) {}})
	if err == nil {
		t.Fatal("a second server got the same address")
	}
	t.Log(err)
}
