package load

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// peer is a small DNS server that answers every query with its own question, or
// does worse: answer returns the messages to send for a query.
type peer struct {
	addr   netip.AddrPort
	seen   atomic.Int64
	answer func(n int64, query []byte) [][]byte
}

// reply is a well-formed NXDOMAIN to a query.
func reply(query []byte) []byte {
	r := append([]byte(nil), query...)
	r[2] |= 0x80
	r[3] = 3
	return r
}

func startPeer(t *testing.T, answer func(n int64, query []byte) [][]byte) *peer {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	return servePeer(t, conn, answer)
}

func servePeer(t *testing.T, conn *net.UDPConn, answer func(n int64, query []byte) [][]byte) *peer {
	t.Helper()
	_ = conn.SetReadBuffer(4 << 20)
	p := &peer{addr: conn.LocalAddr().(*net.UDPAddr).AddrPort(), answer: answer}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 2048)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			for _, msg := range p.answer(p.seen.Add(1), buf[:n]) {
				_, _ = conn.WriteToUDPAddrPort(msg, from)
			}
		}
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	return p
}

func startTCPPeer(t *testing.T, perConnection int) *peer {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{addr: l.Addr().(*net.TCPAddr).AddrPort()}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for range perConnection {
					var length [2]byte
					if _, err := io.ReadFull(c, length[:]); err != nil {
						return
					}
					msg := make([]byte, binary.BigEndian.Uint16(length[:]))
					if _, err := io.ReadFull(c, msg); err != nil {
						return
					}
					p.seen.Add(1)
					if _, err := c.Write(append(length[:], reply(msg)...)); err != nil {
						return
					}
				}
			}()
		}
	}()
	t.Cleanup(func() { l.Close() })
	return p
}

func options(t *testing.T, server netip.AddrPort, kind string) *Options {
	t.Helper()
	m, err := BuiltIn(kind, &contoso)
	if err != nil {
		t.Fatal(err)
	}
	o := Defaults()
	o.Server, o.Mix, o.Now = server, m, time.Now
	o.Warmup, o.Duration, o.InFlight = 20*time.Millisecond, 200*time.Millisecond, 32
	o.Timeout = 20 * time.Second // nothing is lost because the machine is slow
	return &o
}

func run(t *testing.T, o *Options) *Report {
	t.Helper()
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if r.Sent != r.Answered+r.Lost {
		t.Errorf("%d sent, %d answered, %d lost", r.Sent, r.Answered, r.Lost)
	}
	return r
}

// runUntil runs, longer and longer until so many are answered: on a slow machine that
// takes its time.
func runUntil(t *testing.T, o *Options, answered uint64) *Report {
	t.Helper()
	for {
		r := run(t, o)
		if r.Answered >= answered {
			return r
		}
		if o.Duration *= 5; o.Duration > 10*time.Second {
			t.Fatalf("%d answered, want %d: %+v", r.Answered, answered, r)
		}
	}
}

func once(_ int64, query []byte) [][]byte { return [][]byte{reply(query)} }

// In a closed loop every query is answered, of all kinds, by several threads.
func TestClosedLoop(t *testing.T) {
	for _, kind := range Kinds() {
		p := startPeer(t, once)
		o := options(t, p.addr, kind)
		o.Threads, o.Sockets = 2, 2
		r := runUntil(t, o, 100)
		if r.Lost+r.Stray+r.Failed+r.Unsent > 0 || r.Rcodes["NXDOMAIN"] != r.Answered || len(r.Rcodes) != 1 {
			t.Errorf("%s: %+v", kind, r)
		}
		if seen := uint64(p.seen.Load()); r.Answered > seen {
			t.Errorf("%s: %d answers to %d queries", kind, r.Answered, seen)
		}
		if l := r.Latency; !(l.Min > 0 && l.Min <= l.P50 && l.P50 <= l.P99 && l.P99 <= l.P999 && l.P999 <= l.Max) {
			t.Errorf("%s: latency %+v", kind, l)
		}
	}
}

// IPv6, also the mapped form of IPv4.
func TestAddresses(t *testing.T) {
	conn, err := net.ListenUDP("udp6", &net.UDPAddr{IP: net.IPv6loopback})
	if err != nil {
		t.Skip("no IPv6 here: ", err)
	}
	six := servePeer(t, conn, once)
	four := startPeer(t, once)
	for _, addr := range []netip.AddrPort{six.addr, netip.AddrPortFrom(netip.AddrFrom16(four.addr.Addr().As16()), four.addr.Port())} {
		if r := runUntil(t, options(t, addr, "global"), 100); r.Lost > 0 {
			t.Errorf("%s: %+v", addr, r)
		}
	}
}

// A server that answers with other IDs, other questions, queries and rubbish beside
// the answer: none of it is counted but the answer.
func TestStrangeAnswers(t *testing.T) {
	p := startPeer(t, func(_ int64, query []byte) [][]byte {
		good := reply(query)
		otherID, otherName, isQuery := reply(query), reply(query), append([]byte(nil), query...)
		otherID[0] ^= 0x80
		otherName[15] ^= 1
		otherName[3] = 2 // SERVFAIL shows who was believed
		return [][]byte{otherID, otherName, isQuery, {1, 2, 3}, good, good}
	})
	r := runUntil(t, options(t, p.addr, "global"), 10)
	if r.Lost > 0 || r.Stray < 4*r.Answered || r.Rcodes["NXDOMAIN"] != r.Answered {
		t.Errorf("%+v", r)
	}
}

// Another socket that answers first, from another port, is not listened to.
func TestOtherSource(t *testing.T) {
	p := startPeer(t, once)
	forger, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer forger.Close()
	l, err := newUDPLink(p.addr, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	// Whoever knows the port of the client sends it something.
	copy(l.add(12), "a query.....")
	if _, err := l.flush(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(20 * time.Second)
	for got := 0; got == 0; {
		if time.Now().After(deadline) {
			t.Fatal("the answer did not come")
		}
		if _, err := l.receive(func(msg []byte) {
			got++
			if !strings.HasPrefix(string(msg), "a ") {
				t.Errorf("received %q", msg)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := forger.WriteToUDPAddrPort([]byte("forged......"), localAddr(t, l)); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if _, err := l.receive(func(msg []byte) { t.Errorf("received %q of another source", msg) }); err != nil {
			t.Fatal(err)
		}
	}
}

// Queries that are not answered are lost after the timeout, each once.
func TestLoss(t *testing.T) {
	var silent atomic.Int64
	p := startPeer(t, func(n int64, query []byte) [][]byte {
		if n%10 == 0 {
			silent.Add(1)
			return nil
		}
		return once(n, query)
	})
	o := options(t, p.addr, "global")
	o.Warmup, o.Rate, o.InFlight, o.Timeout = 0, 5000, 5000, 2*time.Second
	r := run(t, o)
	// The system drops some, too, where one side does not come to read.
	if least := uint64(silent.Load()); r.Sent < 900 || least < r.Sent/20 || r.Lost < least || r.Lost > least+r.Sent/2 {
		t.Errorf("%d were not answered: %+v", least, r)
	}
}

// A server that stalls shows in the latency of every query that was due meanwhile,
// though few were sent.
func TestCoordinatedOmission(t *testing.T) {
	const stall = 300 * time.Millisecond
	var stalled atomic.Bool
	p := startPeer(t, func(n int64, query []byte) [][]byte {
		if n > 200 && stalled.CompareAndSwap(false, true) {
			time.Sleep(stall)
		}
		return once(n, query)
	})
	o := options(t, p.addr, "global")
	o.Rate, o.InFlight, o.Duration = 2000, 4, 600*time.Millisecond
	r := run(t, o)
	// Half of all queries were due during the stall, and waited half of it on average.
	if r.Sent < 1100 || r.Latency.P90 < float64(stall.Microseconds())/2 || r.Lost+r.Unsent > 0 {
		t.Errorf("%+v", r)
	}
}

// A fixed rate is kept, whether sleeping or spinning.
func TestRate(t *testing.T) {
	for _, spin := range []bool{false, true} {
		p := startPeer(t, once)
		o := options(t, p.addr, "global")
		o.Rate, o.InFlight, o.Spin, o.Threads = 2000, 2000, spin, 2
		if r := run(t, o); r.Sent != 400 || r.Lost > 0 {
			t.Errorf("spin %t: %+v", spin, r)
		}
	}
}

// Connections are replaced after their queries, and when the server closes one.
func TestTCP(t *testing.T) {
	o := options(t, startTCPPeer(t, 1<<30).addr, "global")
	o.TCP, o.PerConnection, o.Sockets = true, 100, 2
	r := runUntil(t, o, 300)
	if r.Lost > 0 || r.Connections < 2 || r.Transport != "tcp" {
		t.Errorf("%+v", r)
	}
	o = options(t, startTCPPeer(t, 50).addr, "global")
	o.TCP = true
	if r = run(t, o); r.Answered < 50 || r.Connections < 1 || r.Error == "" {
		t.Errorf("a server that closes: %+v", r)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, a := range []string{"192.0.2.1:53", "[2001:db8::1]:53", "8.8.8.8:53"} {
		o := options(t, netip.MustParseAddrPort(a), "global")
		if _, ok := errors.AsType[*NotOwnError](o.check()); !ok {
			t.Errorf("%s is not refused", a)
		}
		if o.Own = true; o.check() != nil {
			t.Errorf("%s is refused to its owner: %v", a, o.check())
		}
	}
	for _, a := range []string{"127.0.0.1:53", "[::1]:53", "10.1.2.3:53", "[fd00::1]:53", "[::ffff:192.168.1.1]:53"} {
		if o := options(t, netip.MustParseAddrPort(a), "global"); o.check() != nil {
			t.Errorf("%s: %v", a, o.check())
		}
	}
	empty := Options{Rate: -1, CPUs: []int{-1}}
	for _, want := range []string{"no server", "mix is empty", "rate -1", "0 threads", "0 sockets", "in flight", "duration", "timeout", "clock", "CPU -1"} {
		if err := empty.check(); !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}

// Nobody listens: that is said at once, and not after a whole run.
func TestNobody(t *testing.T) {
	t.Parallel()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	addr := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	conn.Close()
	o := options(t, addr, "global")
	o.Timeout = 100 * time.Millisecond
	if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "is a server running there?") {
		t.Errorf("error %v", err)
	}
}

// A run that is cancelled ends soon and still reports.
func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p := startPeer(t, func(n int64, query []byte) [][]byte {
		if n == 10 { // in the middle
			cancel()
		}
		return once(n, query)
	})
	o := options(t, p.addr, "global")
	o.Duration, o.Rate = time.Hour, 100
	begin := time.Now()
	r, err := Run(ctx, o)
	if !errors.Is(err, context.Canceled) || r == nil || time.Since(begin) > time.Minute {
		t.Errorf("%v and %+v after %v", err, r, time.Since(begin))
	}
}
