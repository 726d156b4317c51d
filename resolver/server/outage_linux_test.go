package server

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// sick has a running server of one worker, whose socket can be taken away: another
// descriptor is put in its place, and the system gives the errors of that.
type sick struct {
	t    *testing.T
	s    *Server
	u    *batchSocket
	conn net.Conn
	now  atomic.Int64 // Unix nanoseconds
}

func newSick(t *testing.T) *sick {
	t.Helper()
	k := &sick{t: t}
	k.now.Store(time.Now().UnixNano())
	s, err := New(Options{
		Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, Workers: 1, Limits: roomy,
		UDP: func() BatchAnswerer { return new(echoes) }, TCP: func() Answerer { return echo{} },
		Now: func() time.Time { return time.Unix(0, k.now.Load()) }, Time: time.Now,
		Log: func(string, error) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	k.s, k.u = s, s.udp[0].(*batchSocket)
	s.sleep = func(d time.Duration) { // the clock moves with the pauses, and the test does not wait
		k.now.Add(int64(d))
		time.Sleep(d / 100)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	if k.conn, err = net.Dial("udp", s.Addrs()[0].String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.conn.Close() })
	return k
}

// replace puts another descriptor in the place of the socket, and returns what puts
// the socket back.
func (k *sick) replace(fd int) (restore func()) {
	k.t.Helper()
	socket, err := unix.FcntlInt(uintptr(k.u.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		k.t.Fatal(err)
	}
	was := k.u.fd
	if err := unix.Dup3(fd, was, unix.O_CLOEXEC); err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() { _ = unix.Close(socket) })
	return func() {
		if err := unix.Dup3(socket, was, unix.O_CLOEXEC); err != nil {
			k.t.Error(err)
		}
	}
}

// await waits until a counter has come to n.
func (k *sick) await(what string, c *atomic.Uint64, n uint64) {
	k.t.Helper()
	for end := deadline(); c.Load() < n; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			k.t.Fatalf("%d %s, want %d", c.Load(), what, n)
		}
	}
}

// answers asks until there is an answer: one query may have gone to a socket that
// was closed.
func (k *sick) answers() {
	k.t.Helper()
	for end := deadline(); ; {
		_, _ = k.conn.Write([]byte("query"))
		_ = k.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if n, err := k.conn.Read(make([]byte, 10)); err == nil && n == 5 {
			return
		}
		if time.Now().After(end) {
			k.t.Fatal("no answer")
		}
	}
}

// unconnected is a socket whose receives fail with ENOTCONN.
func unconnected(t *testing.T) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

// A receive that fails for a while ends nothing: the same socket is read again.
func TestAReceiveErrorPasses(t *testing.T) {
	k := newSick(t)
	k.u.kept = true // so that it is not replaced in the meantime
	restore := k.replace(unconnected(t))
	was := k.u.fd
	k.s.Start()
	k.await("errors", &k.s.stats.ReceiveErrors, 50)
	restore()
	k.answers()
	if k.u.fd != was || k.s.stats.Reopened.Load() != 0 {
		t.Errorf("a socket that another process keeps was opened again %d times", k.s.stats.Reopened.Load())
	}
}

// A socket that gives nothing but errors is replaced, and so is one that was lost; a
// socket that was shut down is one of those.
func TestASocketThatStaysBrokenIsOpenedAgain(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for name, broken := range map[string]func(*sick){
		"no connection": func(k *sick) { _ = k.replace(unconnected(t)) },
		"no socket":     func(k *sick) { _ = k.replace(int(null.Fd())) },
		"shut down":     func(k *sick) { _ = unix.Shutdown(k.u.fd, unix.SHUT_RD) }, // says that it is not connected, and is
	} {
		t.Run(name, func(t *testing.T) {
			k := newSick(t)
			k.t = t
			broken(k)
			begin := k.now.Load()
			k.s.Start()
			k.await("reopened", &k.s.stats.Reopened, 1)
			waited, count := time.Duration(k.now.Load()-begin), k.s.stats.ReceiveErrors.Load()
			if lost := name == "no socket"; lost != (count == 1) || lost != (waited < reopenAfter) || waited > 2*reopenAfter {
				t.Errorf("opened again after %v and %d errors", waited, count)
			}
			if name == "no connection" {
				return // the copy that the test has keeps the old one bound
			}
			f, err := k.u.descriptor() // what an upgrade gives away works, too
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if name == "shut down" {
				k.answers()
			}
		})
	}
}

// Where the address cannot be had again, the old socket is tried on, and not in a spin.
func TestASocketThatCannotBeOpenedAgain(t *testing.T) {
	k := newSick(t)
	restore := k.replace(unconnected(t))
	k.u.addr = netip.MustParseAddrPort("192.0.2.1:53") // not of this machine
	k.s.Start()
	begin := k.now.Load()
	k.await("errors", &k.s.stats.ReceiveErrors, 100)
	if waited := time.Duration(k.now.Load() - begin); waited < 5*time.Second {
		t.Errorf("100 tries in %v", waited)
	}
	restore()
	k.answers()
}

// No error of a receive ends the loop, whichever it is, and none of them spins.
func TestNoErrorEndsReceiving(t *testing.T) {
	k := newSick(t)
	var paused int
	k.s.sleep = func(time.Duration) { paused++ }
	var o outage
	for errno := unix.Errno(1); errno < 140; errno++ {
		before := paused
		k.u.bear(k.s, &o, errno)
		reopened := errno == unix.EBADF || errno == unix.ENOTSOCK
		if idle := errno == unix.EAGAIN || errno == unix.EINTR; (paused == before) != (idle || reopened) {
			t.Errorf("%v: %d pauses", errno, paused-before)
		}
	}
	if got := k.s.stats.ReceiveErrors.Load(); got != 137 {
		t.Errorf("%d errors counted", got)
	}
}

// A server whose sockets fail stops as promptly as any other.
func TestABrokenSocketDoesNotHoldAStop(t *testing.T) {
	k := newSick(t)
	k.u.kept = true
	k.replace(unconnected(t))
	k.s.sleep = time.Sleep
	k.s.Start()
	k.await("errors", &k.s.stats.ReceiveErrors, 3)
	begin := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := k.s.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > patience/4 {
		t.Errorf("a stop takes %v", took)
	}
}

// A listener that another process has shut down listens again, at the same address.
func TestAListenerThatWasShutDown(t *testing.T) {
	// A port of the system's choosing would go with the shutdown; this one is chosen by
	// number, as in a configuration. Another program may take it first.
	var s *Server
	for try := 0; s == nil; try++ {
		free, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_ = free.Close()
		s, err = New(Options{
			Listen: []netip.AddrPort{free.Addr().(*net.TCPAddr).AddrPort()}, Workers: 1, Limits: roomy, Now: time.Now,
			UDP: func() BatchAnswerer { return new(echoes) }, TCP: func() Answerer { return echo{} }, Log: func(string, error) {},
		})
		if err != nil && try == 10 {
			t.Fatal(err)
		}
	}
	s.Start()
	t.Cleanup(func() { _ = s.Stop(context.Background()) })
	f, err := Descriptor(s.tcp[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Shutdown(int(f.Fd()), unix.SHUT_RD); err != nil {
		t.Fatal(err)
	}
	for end := deadline(); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", s.Addrs()[0].String())
		if err == nil {
			defer conn.Close()
			_, _ = conn.Write(framed("query"))
			_ = conn.SetReadDeadline(deadline())
			if n, err := conn.Read(make([]byte, 10)); err != nil || n != 7 {
				t.Errorf("%d octets, %v", n, err)
			}
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	if s.stats.AcceptErrors.Load() == 0 {
		t.Error("no error was counted")
	}
}

// A send buffer that stays full keeps a worker for a bounded time, and what it cannot
// send is dropped and counted.
func TestAFullSendBufferIsLeft(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range pair {
		defer unix.Close(fd)
	}
	s := &batchSocket{fd: pair[0]}
	if err := s.setTimeouts(); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = unix.SendmsgN(s.fd, []byte("junk"), nil, nil, unix.MSG_DONTWAIT)
	}
	if !errors.Is(err, unix.EAGAIN) {
		t.Fatal(err)
	}
	server := &Server{o: Options{Time: time.Now}}
	b := filled(s, "first", "second", "third")
	n := s.answer(server, b, 3, new(echoes))
	for i := range n {
		b.out[i].hdr.Name, b.out[i].hdr.Namelen = nil, 0 // the pair knows where to
	}
	begin := time.Now()
	s.send(server, b, n)
	if took := time.Since(begin); took < sendWaits*sendPatience || took > patience/4 {
		t.Errorf("a full buffer is waited for %v", took)
	}
	if got := server.stats.Unsent.Load(); got != 3 {
		t.Errorf("%d unsent responses are counted, want 3", got)
	}
	// With room for one more, that one is sent.
	server.stats.Unsent.Store(0)
	if _, err := unix.Read(pair[1], make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	s.send(server, b, n)
	if got := server.stats.Unsent.Load(); got != 2 {
		t.Errorf("%d unsent responses are counted, want 2", got)
	}
}
