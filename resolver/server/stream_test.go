package server

import (
	"crypto/tls"
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

// piped is a connection without a network, and the other end of it.
func piped(t *testing.T, a Answerer, limits Limits) (*streamConn, net.Conn) {
	t.Helper()
	s := &Server{o: Options{Limits: limits, Now: time.Now, Time: time.Now}}
	s.conns.init(limits, nil)
	here, there := net.Pipe()
	t.Cleanup(func() {
		_ = here.Close()
		_ = there.Close()
	})
	_ = there.SetDeadline(deadline())
	c := &streamConn{conn: here, s: s, a: a}
	c.streamer, _ = a.(Streamer)
	c.sender = c.send
	return c, there
}

// run serves a connection and says when that has ended.
func (c *streamConn) run() <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		c.serve()
		_ = c.conn.Close()
		close(ended)
	}()
	return ended
}

func within(t *testing.T, ended <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Errorf("%s does not end", what)
	}
}

// Queries that come octet by octet are answered like others.
func TestStreamInOctets(t *testing.T) {
	c, there := piped(t, echo{}, roomy)
	ended := c.run()
	want := string(framed("one")) + string(framed("two"))
	go func() {
		for i := range want {
			_, _ = there.Write([]byte{want[i]})
		}
	}()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(there, got); err != nil || string(got) != want {
		t.Errorf("%q, %v", got, err)
	}
	_ = there.Close()
	within(t, ended, "a connection that its client has closed")
}

// swollen answers everything with many octets.
type swollen int

func (n swollen) Answer(dst, _ []byte, _ netip.AddrPort, _ int64) []byte {
	return append(dst, make([]byte, n)...)
}

// Responses are sent as they come where they are many: one connection holds no more
// than writeSize and a response, and after a long one not even that.
func TestStreamOfLongResponses(t *testing.T) {
	c, there := piped(t, swollen(6000), roomy)
	queries := strings.Repeat(string(framed("q")), 20)
	ended := c.run()
	go func() { _, _ = there.Write([]byte(queries)) }()
	for i := range 20 {
		var size [2]byte
		if _, err := io.ReadFull(there, size[:]); err != nil || binary.BigEndian.Uint16(size[:]) != 6000 {
			t.Fatalf("response %d: %x, %v", i, size, err)
		}
		if _, err := io.CopyN(io.Discard, there, 6000); err != nil {
			t.Fatalf("response %d: %v", i, err)
		}
	}
	_ = there.Close()
	within(t, ended, "a connection that its client has closed")
	if cap(c.out) > writeSize+4096 {
		t.Errorf("%d octets stay with the connection", cap(c.out))
	}

	c, there = piped(t, swollen(60_000), roomy)
	ended = c.run()
	go func() { _, _ = there.Write(framed("q")) }()
	if _, err := io.CopyN(io.Discard, there, 60_002); err != nil {
		t.Fatal(err)
	}
	_ = there.Close()
	within(t, ended, "a connection that its client has closed")
	if c.out != nil {
		t.Errorf("%d octets of one long response stay with the connection", cap(c.out))
	}
}

// A client that is gone gets nothing more, wherever that is noticed.
func TestStreamToNobody(t *testing.T) {
	c, there := piped(t, swollen(6000), roomy)
	_ = there.Close()
	c.in = []byte(strings.Repeat(string(framed("q")), 20))
	if c.answerAll() {
		t.Error("the connection goes on while responses cannot be sent")
	}
	_ = c.conn.Close()
	c.out = []byte("more")
	if c.flush() {
		t.Error("sent on a closed connection")
	}
	c.in = make([]byte, 0, readSize)
	if c.fill() {
		t.Error("read from a closed connection")
	}
}

// zones answers a query that begins with "zone" by three messages.
type zones struct{ echo }

func (zones) Stream(msg []byte, _ netip.AddrPort, _ int64, send func([]byte) error) bool {
	if !strings.HasPrefix(string(msg), "zone") {
		return false
	}
	for _, part := range []string{"a", "b", "c"} {
		if send([]byte(part)) != nil {
			return true
		}
	}
	return true
}

// A response of several messages stands in its place among the others, counts as one
// query, and ends with its client.
func TestStreamOfZones(t *testing.T) {
	limits := roomy
	limits.Pipeline = 3
	c, there := piped(t, zones{}, limits)
	ended := c.run()
	want := string(framed("x")) + string(framed("a")) + string(framed("b")) + string(framed("c")) + string(framed("y"))
	go func() {
		_, _ = there.Write([]byte(string(framed("x")) + string(framed("zone")) + string(framed("y")) + string(framed("z"))))
	}()
	if got, err := io.ReadAll(there); err != nil || string(got) != want {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	within(t, ended, "a connection with all its queries used up")

	c, there = piped(t, zones{}, roomy)
	_ = there.Close()
	if err := c.send([]byte("a")); !errors.Is(err, errGone) {
		t.Errorf("a message to nobody: %v", err)
	}
}

// drained is an Answerer during whose work the server begins to stop.
type drained struct{ s *Server }

func (d drained) Answer(dst, msg []byte, _ netip.AddrPort, _ int64) []byte {
	d.s.readUntil.Store(time.Now().Add(100 * time.Millisecond).UnixNano())
	d.s.stopping.Store(true)
	return append(dst, msg...)
}

// When the server stops, a connection ends with the last query that it has received
// whole; one that has come in part may be finished for a moment.
func TestStreamAtAStop(t *testing.T) {
	for rest, want := range map[string]string{
		"":                         string(framed("x")),
		string(framed("more"))[:3]: string(framed("x")),
		string(framed("more"))[:1]: string(framed("x")),
	} {
		c, there := piped(t, nil, roomy)
		c.a = drained{c.s}
		ended := c.run()
		go func() { _, _ = there.Write([]byte(string(framed("x")) + rest)) }()
		if got, err := io.ReadAll(there); err != nil || string(got) != want {
			t.Errorf("with %q behind it: %q, %v", rest, got, err)
		}
		within(t, ended, "a connection of a server that stops")
		if n := c.s.stats.TimedOut.Load(); n != 0 {
			t.Errorf("%d connections count as too slow", n)
		}
	}
}

// closedTCP is a connection that has been closed below the server.
func closedTCP(t *testing.T) *net.TCPConn {
	t.Helper()
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.DialTCP("tcp4", nil, l.Addr().(*net.TCPAddr))
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	return conn
}

// A connection that was closed to make room before its turn came does not begin.
func TestAConnectionClosedBeforeItsTurn(t *testing.T) {
	for name, config := range map[string]*tls.Config{"behind a balancer": nil, "TLS": {MinVersion: tls.VersionTLS12}} {
		c, _ := piped(t, echo{}, roomy)
		c.raw = closedTCP(t)
		c.from = netip.MustParseAddrPort("127.0.0.1:4242")
		if config == nil {
			c.s.o.ProxyFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		}
		if c.begin(config) {
			t.Errorf("%s: it begins", name)
		}
		if len(c.s.conns.prefix) != 0 {
			t.Errorf("%s: it counts for its prefix", name)
		}
		c.s.conns.touch(c) // and is in no list
		c.s.conns.remove(c)
	}
}

// A listener that is closed under the server ends its loop without a word.
func TestAClosedListener(t *testing.T) {
	var logged atomic.Int64
	s := startWith(t, Options{Limits: roomy, Log: func(string, error) { logged.Add(1) }}, "127.0.0.1:0")
	l := s.tcp[0]
	ended := make(chan struct{})
	_ = l.Close()
	go func() {
		s.acceptLoop(l, echo{}, nil)
		close(ended)
	}()
	within(t, ended, "the loop of a closed listener")
	if n := logged.Load(); n != 0 {
		t.Errorf("%d lines are logged", n)
	}
}

// A header that does not come, is cut or is too long closes the connection.
func TestStreamProxyHeaders(t *testing.T) {
	long := inet4("192.0.2.1:9")
	binary.BigEndian.PutUint16(long[14:], maxProxy)
	for name, header := range map[string]string{
		"nothing": "", "a part of the fixed octets": string(long[:10]), "too long": string(long), "cut": string(inet4("192.0.2.1:9")[:20]),
		"no signature": strings.Repeat("x", 30),
	} {
		if _, ok := readProxy(strings.NewReader(header)); ok {
			t.Errorf("%s: it is good", name)
		}
	}
	if from, ok := readProxy(strings.NewReader(string(inet4("192.0.2.1:9")) + "query")); !ok || from.String() != "192.0.2.1:9" {
		t.Errorf("%v, %v", from, ok)
	}
}

// A lower limit closes the idlest connections, and holds for new ones.
func TestLimit(t *testing.T) {
	s := start(t, roomy, "127.0.0.1:0")
	var conns []*net.TCPConn
	for range 4 {
		conn := dialTCP(t, s)
		_, _ = conn.Write(framed("query"))
		if _, err := io.ReadFull(conn, make([]byte, 7)); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	s.Limit(2)
	for _, conn := range conns[:2] {
		expectClosed(t, conn, "too many")
	}
	conns = append(conns, dialTCP(t, s))
	_, _ = conns[4].Write(framed("query"))
	if _, err := io.ReadFull(conns[4], make([]byte, 7)); err != nil {
		t.Fatal(err)
	}
	expectClosed(t, conns[2], "too many")
	s.Spare()
	expectClosed(t, conns[3], "the idlest")
	if open, evicted := s.Open(), s.stats.EvictedFull.Load(); open > 1 || evicted != 4 {
		t.Errorf("%d open, %d evicted", open, evicted)
	}
	s.Spare()
	s.Spare() // with none left
	s.Limit(0)
	conn := dialTCP(t, s)
	_, _ = conn.Write(framed("query"))
	if _, err := io.ReadFull(conn, make([]byte, 7)); err != nil {
		t.Errorf("there is room for one at least: %v", err)
	}
}
