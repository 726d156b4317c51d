package server

import (
	"bytes"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// filled is a batch that has received these datagrams from 127.0.0.1:53.
func filled(s *batchSocket, msgs ...string) *batch {
	b := newBatch(s)
	for i, m := range msgs {
		b.in[i].len = uint32(copy(b.queries[i][:], m))
		b.in[i].hdr.Namelen = unix.SizeofSockaddrInet4
		copy(b.names[i][:], []byte{2, 0, 0, 53, 127, 0, 0, 1})
	}
	return b
}

// responses are what a batch has to send.
func responses(b *batch, n int) (out []string) {
	for i := range n {
		out = append(out, string(b.replies[i][:b.outVec[i].Len]))
	}
	return out
}

// A query that cannot be taken is dropped, and those that came with it are answered; so
// is one without an answer.
func TestABatchOfAllSorts(t *testing.T) {
	var panics atomic.Int64
	server := &Server{o: Options{Time: time.Now, Panicked: func(any, []byte) { panics.Add(1) }}}
	for _, tt := range []struct {
		msgs, want []string
		panics     int64
	}{
		{[]string{"a", "b"}, []string{"a", "b"}, 0},
		{[]string{"a", "\x00", "c"}, []string{"a", "c"}, 0},
		{[]string{"a", "pa", "c"}, []string{"a", "c"}, 2}, // once together, once alone
		{[]string{"pa"}, nil, 2},
	} {
		panics.Store(0)
		s := new(batchSocket)
		b := filled(s, tt.msgs...)
		n := s.answer(server, b, len(tt.msgs), new(fragile))
		if got := responses(b, n); !slices.Equal(got, tt.want) || panics.Load() != tt.panics {
			t.Errorf("%q: %q, %d panics, want %q, %d", tt.msgs, got, panics.Load(), tt.want, tt.panics)
		}
	}
}

// A response leaves by the interface that routing says, unless its address means nothing
// without one; without packet info it leaves from any address.
func TestPacketInfo(t *testing.T) {
	info := func(addr string) []byte {
		a := netip.MustParseAddr(addr)
		if a.Is4() {
			return append([]byte{7, 0, 0, 0, 127, 0, 0, 2}, a.AsSlice()...)
		}
		return append(a.AsSlice(), 7, 0, 0, 0)
	}
	for _, tt := range []struct {
		addr string
		want byte // of the interface
	}{{"192.0.2.1", 0}, {"2001:db8::1", 0}, {"fe80::1", 7}, {"febf::1", 7}, {"fec0::1", 0}, {"fe00::1", 0}} {
		s := &batchSocket{ipv6: netip.MustParseAddr(tt.addr).Is6(), wildcard: true}
		var control [controlSize]byte
		data := control[unix.CmsgLen(0):]
		copy(data, info(tt.addr))
		s.sourceFrom(&control)
		at := 0
		if s.ipv6 {
			at = 16
		}
		want := info(tt.addr)
		want[at] = tt.want
		if !bytes.Equal(data[:len(want)], want) {
			t.Errorf("%s: %x, want %x", tt.addr, data[:len(want)], want)
		}
	}
	s := &batchSocket{wildcard: true}
	b := filled(s, "a")
	b.in[0].hdr.SetControllen(0)
	if n := s.answer(&Server{o: Options{Time: time.Now}}, b, 1, new(echoes)); n != 1 || b.out[0].hdr.Control != nil || b.out[0].hdr.Controllen != 0 {
		t.Errorf("%d responses, packet info %v of %d octets that did not come", n, b.out[0].hdr.Control, b.out[0].hdr.Controllen)
	}
}

// A response that cannot be sent does not keep the others.
func TestWhatCannotBeSentIsSkipped(t *testing.T) {
	s, err := newBatchSocket(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	client, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	port := client.LocalAddr().(*net.UDPAddr).Port
	b := filled(s, "first", "second", "third")
	for _, i := range []int{0, 2} { // the second goes to port 0, which the system refuses
		b.names[i][2], b.names[i][3] = byte(port>>8), byte(port)
	}
	b.names[1][3] = 1 // so that it is answered
	n := s.answer(&Server{o: Options{Time: time.Now}}, b, 3, new(echoes))
	b.names[1][3] = 0
	s.send(&Server{}, b, n)
	_ = client.SetReadDeadline(deadline())
	for _, want := range []string{"first", "third"} {
		buf := make([]byte, 10)
		if n, err := client.Read(buf); err != nil || string(buf[:n]) != want {
			t.Errorf("%q, %v, want %q", buf[:n], err, want)
		}
	}
}

// threaded tells which thread answers.
type threaded struct {
	echoes
	tid *atomic.Int64
}

func (a *threaded) Look() { a.tid.Store(int64(unix.Gettid())) }

// Signals that interrupt the waiting for queries cost none.
func TestSignalsAreBorne(t *testing.T) {
	var tid atomic.Int64
	s := startWith(t, Options{Limits: roomy, UDP: func() BatchAnswerer { return &threaded{tid: &tid} }}, "127.0.0.1:0")
	conn, err := net.Dial("udp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for i := range 100 {
		if _, err := conn.Write([]byte{1, byte(i)}); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(deadline())
		if _, err := conn.Read(make([]byte, 10)); err != nil {
			t.Fatalf("query %d: %v", i, err)
		}
		for range 20 { // now, or while it waits for the next query
			if err := unix.Tgkill(unix.Getpid(), int(tid.Load()), syscall.SIGURG); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// What has come when the server stops is answered, and what comes afterwards waits for
// those that go on with the address.
func TestTheLastDatagramsAreAnswered(t *testing.T) {
	s, err := newBatchSocket(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	other, err := s.descriptor()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	bound, err := unix.Getsockname(s.fd)
	if err != nil {
		t.Fatal(err)
	}
	client, err := net.DialUDP("udp4", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: bound.(*unix.SockaddrInet4).Port})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	const queries = 3 * batchSize
	for range queries {
		_, _ = client.Write([]byte("query"))
	}
	server := &Server{o: Options{Time: time.Now}}
	server.deaf.Store(true)
	s.serve(server, new(echoes))
	if s.fd >= 0 {
		t.Error("the socket is still open")
	}
	for i := range queries {
		_ = client.SetReadDeadline(deadline())
		if _, err := client.Read(make([]byte, 10)); err != nil {
			t.Fatalf("query %d: %v", i, err)
		}
	}
	_, _ = client.Write([]byte("later"))
	if n, _, err := unix.Recvfrom(int(other.Fd()), make([]byte, 10), 0); err != nil || n != 5 {
		t.Errorf("after the end: %d octets, %v", n, err)
	}
}
