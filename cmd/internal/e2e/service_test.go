//go:build linux

package e2e

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
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

// TestSocketActivation starts the server with sockets that somebody else has opened and
// keeps: what is asked while no server runs is answered by the next one.
func TestSocketActivation(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	addr := tcp.Addr().String()
	udp, err := net.ListenPacket("udp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	stray, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer stray.Close()
	var files []*os.File
	for _, l := range []interface{ File() (*os.File, error) }{tcp.(*net.TCPListener), udp.(*net.UDPConn), stray.(*net.UDPConn)} {
		f, err := l.File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files = append(files, f)
	}
	path := filepath.Join(dir, "portolan.yaml")
	config := strings.ReplaceAll(minimal, "$DIR", dir)
	config = strings.Replace(config, `"127.0.0.1:0", "[::1]:0"], identity`, `"`+addr+`"], workers: 2, identity`, 1)
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	begin := func() *process {
		return startWith(t, nil, files, "sh", "-c", `LISTEN_FDS=3 LISTEN_PID=$$ exec "$0" serve -c "$1"`, portolan(t), path)
	}
	ask := func(network string) net.Conn {
		conn, err := net.Dial(network, addr)
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
		s := begin()
		s.waitLog(0, "msg=serving")
		for _, conn := range append(early, ask("udp"), ask("tcp")) {
			answered(conn)
		}
		if line := s.log.line(0, "not in the configuration and are closed"); !strings.Contains(line, stray.LocalAddr().String()) {
			t.Errorf("the socket that nothing names: %s", line)
		}
		s.signal(syscall.SIGTERM)
		if code := s.wait(5 * time.Second); code != 0 {
			t.Errorf("exit code %d", code)
		}
	}
}
