//go:build linux

package e2e

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// manager stands for a service manager: it notes what it is told.
type manager struct {
	path string
	mu   sync.Mutex
	told []string
}

func newManager(t *testing.T) *manager {
	t.Helper()
	m := &manager{path: filepath.Join(t.TempDir(), "notify")}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 4096)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			m.mu.Lock()
			m.told = append(m.told, string(buf[:n]))
			m.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	return m
}

// count returns how often the manager was told what begins so.
func (m *manager) count(state string) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.told {
		if strings.HasPrefix(s, state) {
			n++
		}
	}
	return n
}

func (m *manager) await(t *testing.T, state string, n int) {
	t.Helper()
	eventually(t, patience, "the manager is told "+state, func() bool { return m.count(state) >= n })
}

// TestService runs the server as systemd would, and takes its loopback interface
// away: a server that cannot be reached must stop saying that it is well, and say so
// again when it can.
func TestService(t *testing.T) {
	t.Parallel()
	m := newManager(t)
	n := newNetns(t, "127.0.0.1")
	dir := t.TempDir()
	path := filepath.Join(dir, "portolan.yaml")
	config := strings.ReplaceAll(minimal, "$DIR", dir)
	config = strings.Replace(config, `listen: ["127.0.0.1:0", "[::1]:0"]`, `listen: ["0.0.0.0:53"]`, 1)
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	const watch = 2 * time.Second
	s := start(t, n, "env", "NOTIFY_SOCKET="+m.path, "WATCHDOG_USEC=2000000", portolan(t), "serve", "-c", path)
	m.await(t, "READY=1", 1)
	m.await(t, "WATCHDOG=1", 2)

	s.signal(syscall.SIGHUP)
	m.await(t, "RELOADING=1\nMONOTONIC_USEC=", 1)
	m.await(t, "READY=1", 2)

	must(t, n, "ip", "link", "set", "lo", "down")
	s.waitLog(0, "the server does not answer itself")
	at := m.count("WATCHDOG=1")
	quiet := time.NewTimer(watch)
	defer quiet.Stop()
	<-quiet.C
	if got := m.count("WATCHDOG=1"); got != at {
		t.Errorf("told %d times that all is well in %v without an interface", got-at, watch)
	}
	must(t, n, "ip", "link", "set", "lo", "up")
	m.await(t, "WATCHDOG=1", at+1)

	// After an upgrade another process is the one that the manager looks after.
	must(t, n, portolan(t), "upgrade", "--socket", filepath.Join(dir, "admin.sock"))
	s.follow(0)
	m.await(t, fmt.Sprintf("MAINPID=%d", s.now.Pid), 1)
	m.await(t, "WATCHDOG=1", m.count("WATCHDOG=1")+2)
	s.signal(syscall.SIGTERM)
	if code := s.wait(stopWithin); code != 0 {
		t.Errorf("exit code %d", code)
	}
	m.await(t, "STOPPING=1", 1)
}

// sockets are held open as a service manager does: one address over UDP and TCP, and a
// stray one.
type heldSockets struct {
	addr, stray string
	files       []*os.File
	path        string // of a configuration for addr
}

// holdSockets opens them. With reuse each worker of a server opens another socket beside
// the one over UDP.
func holdSockets(t *testing.T, reuse bool) *heldSockets {
	t.Helper()
	h := &heldSockets{}
	h.files, h.addr = holdSocket(t, nil, "127.0.0.1:0", reuse)
	stray, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.stray = stray.LocalAddr().String()
	h.files = append(h.files, keepOpen(t, stray.(*net.UDPConn)))
	dir := t.TempDir()
	h.path = filepath.Join(dir, "portolan.yaml")
	config := strings.ReplaceAll(minimal, "$DIR", dir)
	config = strings.Replace(config, `"127.0.0.1:0", "[::1]:0"], identity`, `"`+h.addr+`", "127.0.0.1:0"], workers: 2, identity`, 1)
	if err := os.WriteFile(h.path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { forget(dir) })
	return h
}

// begin starts a server with the sockets.
func (h *heldSockets) begin(t *testing.T) *process {
	t.Helper()
	return startWithSockets(t, nil, h.files, h.path)
}

// startWithSockets starts a server as a service manager does that holds its sockets.
func startWithSockets(t *testing.T, n *netns, sockets []*os.File, path string) *process {
	t.Helper()
	return startWith(t, n, sockets, "sh", "-c", `LISTEN_FDS=$2 LISTEN_PID=$$ exec "$0" serve -c "$1"`, portolan(t), path, strconv.Itoa(len(sockets)))
}

// holdSocket opens an address over TCP and UDP in a namespace, and returns the sockets
// and the address with its port.
func holdSocket(t *testing.T, n *netns, addr string, reuse bool) (files []*os.File, bound string) {
	t.Helper()
	var listen net.ListenConfig
	if reuse {
		listen.Control = func(_, _ string, c syscall.RawConn) (err error) {
			return errors.Join(c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }), err)
		}
	}
	var tcp net.Listener
	var udp net.PacketConn
	err := n.do(func() (err error) {
		if tcp, err = net.Listen("tcp4", addr); err != nil {
			return err
		}
		udp, err = listen.ListenPacket(t.Context(), "udp4", tcp.Addr().String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return []*os.File{keepOpen(t, tcp.(*net.TCPListener)), keepOpen(t, udp.(*net.UDPConn))}, tcp.Addr().String()
}

// A fileSocket is a socket of the standard library that gives a copy of its
// descriptor.
type fileSocket interface {
	File() (*os.File, error)
	Close() error
}

// keepOpen returns a copy of a socket, which is closed with the test.
func keepOpen(t *testing.T, socket fileSocket) *os.File {
	t.Helper()
	f, err := socket.File()
	if err != nil {
		t.Fatal(err)
	}
	_ = socket.Close() // the copy stays
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// TestSocketActivation starts the server with sockets that somebody else has opened and
// keeps: what is asked while no server runs is answered by the next one.
func TestSocketActivation(t *testing.T) {
	t.Parallel()
	h := holdSockets(t, false)
	ask := func(network string) net.Conn {
		conn, err := net.Dial(network, h.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		msg := query(exampleName, dns.TypeA)
		if network == "tcp" {
			msg = append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...)
		}
		if _, err := conn.Write(msg); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	answered := func(conn net.Conn) {
		t.Helper()
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		if n, err := conn.Read(make([]byte, 2048)); err != nil || n == 0 {
			t.Errorf("%s: %v", conn.RemoteAddr().Network(), err)
		}
	}
	for range 2 {
		early := []net.Conn{ask("udp"), ask("tcp")}
		s := h.begin(t)
		s.waitLog(0, "msg=serving")
		for _, conn := range append(early, ask("udp"), ask("tcp")) {
			answered(conn)
		}
		if line := s.log.line(0, "not in the configuration and are closed"); !strings.Contains(line, h.stray) {
			t.Errorf("the socket that nothing names: %s", line)
		}
		if line := s.log.line(0, "not among the sockets of the service manager"); !strings.Contains(line, "127.0.0.1:0") || strings.Contains(line, h.addr) {
			t.Errorf("the addresses that are not kept open: %s", line)
		}
		s.signal(syscall.SIGTERM)
		if code := s.wait(5 * time.Second); code != 0 {
			t.Errorf("exit code %d", code)
		}
	}
}

// TestSocketsAreKeptAcrossAnUpgrade: the next process knows as well that a service manager
// holds the sockets, and warns of an address that is new.
func TestSocketsAreKeptAcrossAnUpgrade(t *testing.T) {
	t.Parallel()
	h := holdSockets(t, true)
	s := h.begin(t)
	s.waitLog(0, "msg=serving")
	config, err := os.ReadFile(h.path)
	if err != nil {
		t.Fatal(err)
	}
	const fresh = "127.0.0.3"
	text := strings.Replace(string(config), `"127.0.0.1:0"]`, `"127.0.0.1:0", "`+fresh+`:0"]`, 1)
	if err := os.WriteFile(h.path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	from := s.log.len()
	must(t, nil, portolan(t), "upgrade", "--socket", filepath.Join(filepath.Dir(h.path), "admin.sock"))
	s.follow(from)
	line := s.waitLog(from, "not among the sockets of the service manager")
	if !strings.Contains(line, fresh) || strings.Contains(line, h.addr) {
		t.Error(line)
	}
}

// repeater asks again and again, each query from a socket of its own and repeated every
// second until it is answered, as a resolver does.
type repeater struct{ asked, repeated, lost atomic.Int64 }

func (a *repeater) run(t *testing.T, addr string, done <-chan struct{}) {
	t.Helper()
	msg, buf := query(exampleName, dns.TypeA), make([]byte, 2048)
	pace := time.NewTicker(time.Millisecond)
	defer pace.Stop()
	for {
		select {
		case <-done:
			return
		case <-pace.C:
		}
		conn, err := net.Dial("udp", addr)
		if err != nil {
			t.Error(err)
			return
		}
		a.asked.Add(1)
		err = os.ErrDeadlineExceeded
		for begin := time.Now(); err != nil && time.Since(begin) < patience; {
			if _, err = conn.Write(msg); err == nil {
				_ = conn.SetReadDeadline(time.Now().Add(time.Second))
				_, err = conn.Read(buf)
			}
			if err != nil {
				a.repeated.Add(1)
			}
		}
		if err != nil {
			a.lost.Add(1)
		}
		_ = conn.Close()
	}
}

// TestRestartUnderQueries stops a server, or kills it, and starts it again, under queries that never
// pause, with the sockets held by a service manager. Every query is answered; after a
// stop without being asked again, but for those that have waited a second for the start.
func TestRestartUnderQueries(t *testing.T) {
	t.Parallel()
	for name, signal := range map[string]syscall.Signal{"stop": syscall.SIGTERM, "kill": syscall.SIGKILL} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := holdSockets(t, true)
			s := h.begin(t)
			s.waitLog(0, "msg=serving")
			var a repeater
			var askers sync.WaitGroup
			done := make(chan struct{})
			const clients = 4
			for range clients {
				askers.Go(func() { a.run(t, h.addr, done) })
			}
			stop := sync.OnceFunc(func() { close(done); askers.Wait() })
			defer stop()
			const rounds = 3
			for range rounds {
				before := a.asked.Load()
				eventually(t, patience, "queries under way", func() bool { return a.asked.Load() > before+200 })
				s.signal(signal)
				s.wait(stopWithin)
				next := h.begin(t)
				next.waitLog(0, "msg=serving")
				s = next
			}
			before := a.asked.Load()
			eventually(t, patience, "queries after the last start", func() bool { return a.asked.Load() > before+200 })
			stop()
			t.Logf("%d queries, %d repeated", a.asked.Load(), a.repeated.Load())
			if n := a.lost.Load(); n != 0 {
				t.Errorf("%d queries were never answered", n)
			}
		})
	}
}
