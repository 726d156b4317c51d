//go:build linux

package e2e

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
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

	s.signal(syscall.SIGTERM)
	if code := s.wait(stopWithin); code != 0 {
		t.Errorf("exit code %d", code)
	}
	m.await(t, "STOPPING=1", 1)
}
