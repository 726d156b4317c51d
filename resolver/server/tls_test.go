package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// selfSigned returns a certificate for tests.
func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"ns1.example.io"}}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func startTLS(t *testing.T, limits Limits) *Server {
	t.Helper()
	var listen []netip.AddrPort
	for _, a := range loopback("127.0.0.1:0", "[::1]:0") {
		listen = append(listen, netip.MustParseAddrPort(a))
	}
	return startWith(t, Options{
		Limits:    limits,
		ListenTLS: listen,
		TLS:       &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"dot"}, Certificates: []tls.Certificate{selfSigned(t)}},
	}, "127.0.0.1:0")
}

func TestTLSAnswers(t *testing.T) {
	s := startTLS(t, roomy)
	for _, addr := range s.AddrsTLS() {
		for name, c := range map[string]*tls.Config{
			"1.3":     {MinVersion: tls.VersionTLS13, NextProtos: []string{"dot"}},
			"1.2":     {MaxVersion: tls.VersionTLS12},
			"no name": {},
			"a name":  {ServerName: "ns1.example.io"},
		} {
			c.InsecureSkipVerify = true
			conn, err := tls.Dial("tcp", addr.String(), c)
			if err != nil {
				t.Errorf("%s %s: %v", addr, name, err)
				continue
			}
			defer conn.Close()
			_ = conn.SetDeadline(deadline())
			want := string(framed("one")) + string(framed("two"))
			_, _ = conn.Write([]byte(want))
			got := make([]byte, len(want))
			if _, err := io.ReadFull(conn, got); err != nil || string(got) != want {
				t.Errorf("%s %s: %q, %v", addr, name, got, err)
			}
		}
		for name, c := range map[string]*tls.Config{
			"1.1":              {MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11},
			"another protocol": {NextProtos: []string{"h2"}},
		} {
			c.InsecureSkipVerify = true
			if conn, err := tls.Dial("tcp", addr.String(), c); err == nil {
				t.Errorf("%s: a handshake with %s", addr, name)
				_ = conn.Close()
			}
		}
	}
	failed := uint64(2 * len(s.AddrsTLS()))
	for end := deadline(); s.Stats().Handshakes.Load() != failed; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d failed handshakes are counted, want %d", s.Stats().Handshakes.Load(), failed)
		}
	}
}

// What is no handshake, or none that ends, is cut off (row 55).
func TestTLSHandshakeEnds(t *testing.T) {
	t.Parallel()
	limits := roomy
	limits.Handshake = 2 * time.Second // in which a slow machine can do the last one
	s := startTLS(t, limits)
	spoilHandshakes(t, s)
	for range 20 { // closed early, before and in the middle of the handshake
		conn, err := net.Dial("tcp", s.AddrsTLS()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write([]byte("\x16\x03"))
		_ = conn.(*net.TCPConn).SetLinger(0)
		_ = conn.Close()
	}
	for end := deadline(); s.Open() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d connections stay", s.Open())
		}
	}
	conn, err := tls.Dial("tcp", s.AddrsTLS()[0].String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = conn.Write(framed("x"))
	_ = conn.SetDeadline(deadline())
	if _, err := io.ReadFull(conn, make([]byte, 3)); err != nil {
		t.Error(err)
	}
}

// spoilHandshakes begins handshakes that cannot end, at once, and wants each cut off.
func spoilHandshakes(t *testing.T, s *Server) {
	t.Helper()
	var all sync.WaitGroup
	for name, send := range map[string]string{
		"silence":              "",
		"a DNS query":          string(framed("hello, who is there?")),
		"garbage":              strings.Repeat("\xa5", 3000),
		"half a record":        "\x16\x03\x01\x02\x00\x01\x00",
		"a record of 65535":    "\x16\x03\x01\xff\xff" + strings.Repeat("\x01", 4000),
		"an alert":             "\x15\x03\x01\x00\x02\x02\x28",
		"application data":     "\x17\x03\x03\x00\x05hello",
		"empty records":        strings.Repeat("\x16\x03\x01\x00\x00", 100),
		"a client hello of 0s": "\x16\x03\x01\x00\x08\x01\x00\x00\x04\x00\x00\x00\x00",
	} {
		all.Go(func() {
			conn, err := net.Dial("tcp", s.AddrsTLS()[0].String())
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_ = conn.SetDeadline(deadline())
			_, _ = conn.Write([]byte(send))
			if _, err := io.Copy(io.Discard, conn); err != nil && strings.Contains(err.Error(), "timeout") {
				t.Errorf("%s: the connection stays open", name)
			}
		})
	}
	all.Wait()
}

// A connection that is in use outlives any number that are not.
func TestIdlestConnectionsMakeRoom(t *testing.T) {
	limits := roomy
	limits.Connections, limits.PerPrefix, limits.Idle = 10, 0, time.Minute
	s := start(t, limits)
	busy := dialTCP(t, s)
	ask := func() {
		t.Helper()
		_ = busy.SetDeadline(deadline())
		_, _ = busy.Write(framed("x"))
		if _, err := io.ReadFull(busy, make([]byte, 3)); err != nil {
			t.Fatalf("the connection in use: %v", err)
		}
	}
	for i := range 100 {
		dialTCP(t, s)
		for end := deadline(); s.Stats().Accepted.Load() < uint64(i+2); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("a connection is not accepted")
			}
		}
		if i%5 == 0 {
			ask()
		}
	}
	if open, evicted := s.Open(), s.Stats().EvictedFull.Load(); open > 10 || evicted != 91 {
		t.Errorf("%d open, %d made room, want at most 10 and 91", open, evicted)
	}
}

func TestIdleTimeoutShrinks(t *testing.T) {
	var told atomic.Int64
	var table connTable
	table.init(Limits{Connections: 100, Idle: 10 * time.Second}, func(d time.Duration) { told.Store(int64(d)) })
	var stats Stats
	var conns []*streamConn
	for i := range 100 {
		c := &streamConn{from: netip.MustParseAddrPort("192.0.2.1:9")}
		conns = append(conns, c)
		table.add(c, &stats)
		table.settle(c, &stats)
		want := 10 * time.Second
		if open := i + 1; open > 50 {
			want = max(time.Duration(100-open)*200*time.Millisecond, time.Second)
		}
		if got := time.Duration(told.Load()); got != want || int64(got) != table.idle.Load() {
			t.Fatalf("%d open: idle timeout %v, want %v", i+1, got, want)
		}
	}
	for _, c := range conns {
		table.remove(c)
		table.remove(c)
	}
	if told.Load() != int64(10*time.Second) || table.open() != 0 || len(table.prefix) != 0 {
		t.Errorf("idle timeout %v, %d open, %d prefixes", time.Duration(told.Load()), table.open(), len(table.prefix))
	}
}
