package server

import (
	"io"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Octets that come too slowly do not keep a connection: the time of a message runs
// from its first one.
func TestTCPOctetByOctet(t *testing.T) {
	t.Parallel()
	limits := roomy
	limits.Message = 200 * time.Millisecond
	s := start(t, limits)
	conn := dialTCP(t, s)
	const octets = 256
	_, _ = conn.Write([]byte{octets >> 8, octets & 0xff})
	sent := make(chan int, 1)
	go func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for n := range octets {
			<-tick.C
			if _, err := conn.Write([]byte{1}); err != nil {
				sent <- n
				return
			}
		}
		sent <- octets
	}()
	expectClosed(t, conn, "octet by octet") // and not answered
	if n := <-sent; n == octets {
		t.Error("all of a message was taken in many times the time for one")
	}
}

func TestTCPHalfClosedAndReset(t *testing.T) {
	s := start(t, roomy)
	half := dialTCP(t, s)
	_, _ = half.Write(framed("query"))
	_ = half.CloseWrite()
	if got, err := io.ReadAll(half); err != nil || string(got) != string(framed("query")) {
		t.Errorf("a client that has closed its side gets %q, %v", got, err)
	}
	part := dialTCP(t, s)
	_, _ = part.Write([]byte{0, 9, 1})
	_ = part.CloseWrite()
	expectClosed(t, part, "part of a query and no more")
	for range 50 {
		conn := dialTCP(t, s)
		_, _ = conn.Write(framed("query")[:3])
		_ = conn.SetLinger(0)
		_ = conn.Close() // sends a reset
	}
	for end := deadline(); s.Open() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d connections stay", s.Open())
		}
	}
}

// Responses are never fragmented for a forged path MTU, and none is long enough to be
// fragmented on the way (RFC 9715 section 3.1).
func TestNeverFragments(t *testing.T) {
	for i, addr := range loopback("127.0.0.1:0", "[::1]:0") {
		option := [][3]int{
			{unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_OMIT},
			{unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_OMIT},
		}[i]
		s, err := newBatchSocket(netip.MustParseAddrPort(addr))
		if err != nil {
			t.Fatal(err)
		}
		defer s.close()
		if got, err := unix.GetsockoptInt(s.fd, option[0], option[1]); err != nil || got != option[2] {
			t.Errorf("%s: path MTU discovery %d, %v, want %d", addr, got, err, option[2])
		}
	}
}

// A server without file descriptors goes on answering over UDP, and takes a new
// connection in the place of one that is only held.
func TestNoFileDescriptors(t *testing.T) {
	var logged atomic.Int64
	s := startWith(t, Options{Limits: roomy, Log: func(string, error) { logged.Add(1) }}, "127.0.0.1:0")
	// One for the new connection, and one for the wait behind it: the system wants a free
	// descriptor before it looks whether there is a connection at all.
	held := []*net.TCPConn{dialTCP(t, s), dialTCP(t, s)}
	for _, conn := range held {
		_, _ = conn.Write(framed("query"))
		if _, err := io.ReadFull(conn, make([]byte, 7)); err != nil {
			t.Fatal(err)
		}
	}
	udp, err := net.Dial("udp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	_ = udp.SetDeadline(deadline())
	free, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	lowest := uint64(free.Fd())
	_ = free.Close()
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	restore := func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
			t.Error(err)
		}
	}
	defer restore()
	// One descriptor is left, which the client takes.
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: lowest + 1, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	conn := dialTCP(t, s)
	_, _ = conn.Write(framed("query"))
	for end := deadline(); logged.Load() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nothing is said of the missing descriptors")
		}
	}
	for range 100 {
		_, _ = udp.Write([]byte("query"))
		if n, err := udp.Read(make([]byte, 10)); err != nil || n != 5 {
			t.Fatalf("UDP: %d octets, %v", n, err)
		}
	}
	if _, err := io.ReadFull(conn, make([]byte, 7)); err != nil {
		t.Errorf("TCP, beside an idle connection that makes room: %v", err)
	}
	restore()
	for _, conn := range held {
		expectClosed(t, conn, "held without asking")
	}
}
