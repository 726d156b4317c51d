//go:build linux

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The folders of iproute2: namespaces by name, and files of /etc that processes
// started with `ip netns exec` see in place of the real ones.
const (
	netnsDir    = "/run/netns"
	netnsEtcDir = "/etc/netns"
	netnsPrefix = "portolan-e2e-"
)

// netns is a network namespace with nothing but loopback. A nil *netns is the
// namespace of the test itself. It is safe for concurrent use.
type netns struct{ name string }

var netnsCount atomic.Int32

// newNetns makes a namespace whose programs ask the DNS server at resolver
// (port 53), and removes it at the end of the test. addrs are added to its
// loopback interface beside 127.0.0.0/8 and ::1.
func newNetns(t *testing.T, resolver string, addrs ...string) *netns {
	t.Helper()
	need(t, "ip")
	if os.Getuid() != 0 {
		missing(t, "network namespaces need root")
	}
	n := &netns{fmt.Sprintf("%s%d-%d", netnsPrefix, os.Getpid(), netnsCount.Add(1))}
	etc := filepath.Join(netnsEtcDir, n.name)
	if out, err := exec.Command("ip", "netns", "add", n.name).CombinedOutput(); err != nil {
		missing(t, "no network namespace can be made: %v: %s", err, out)
	}
	t.Cleanup(func() { removeNetns(n.name) })
	if err := os.MkdirAll(etc, 0o755); err != nil {
		t.Fatal(err)
	}
	// One try: a test must not hide a lost answer in another one. It is a long one, for
	// an answer that is late on a busy machine is not lost.
	conf := "nameserver " + resolver + "\noptions timeout:15 attempts:1\n"
	if err := os.WriteFile(filepath.Join(etc, "resolv.conf"), []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	must(t, nil, "ip", "-n", n.name, "link", "set", "lo", "up")
	for _, a := range addrs {
		must(t, nil, "ip", "-n", n.name, "addr", "add", a, "dev", "lo")
	}
	return n
}

// removeNetns removes a namespace and its folder, and the folder of folders if
// it was the last: what was not there before is not there afterwards.
func removeNetns(name string) {
	_ = exec.Command("ip", "netns", "del", name).Run()
	_ = os.RemoveAll(filepath.Join(netnsEtcDir, name))
	_ = os.Remove(netnsEtcDir) // fails unless empty
}

// sweepNamespaces removes what test processes left behind that were killed
// before they could clean up.
func sweepNamespaces() {
	entries, err := os.ReadDir(netnsDir)
	if err != nil {
		return
	}
	for _, e := range entries {
		id, _, ok := strings.Cut(strings.TrimPrefix(e.Name(), netnsPrefix), "-")
		pid, err := strconv.Atoi(id)
		if !ok || err != nil || !strings.HasPrefix(e.Name(), netnsPrefix) {
			continue
		}
		if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			removeNetns(e.Name())
		}
	}
}

// command returns a command that runs in the namespace and dies with the test.
// `ip netns exec` becomes the program it starts: the process id is that of the
// program.
func (n *netns) command(name string, args ...string) *exec.Cmd {
	if n != nil {
		args = append([]string{"netns", "exec", n.name, name}, args...)
		name = "ip"
	}
	cmd := exec.Command(name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Env = append(os.Environ(), "PORTOLAN_CRASH=1") // no test is to miss a query that the server could not take
	return cmd
}

// do calls f on a thread that is in the namespace. Sockets that f opens stay
// there; f must not start goroutines that open sockets.
func (n *netns) do(f func() error) error {
	if n == nil {
		return f()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer home.Close()
	there, err := os.Open(filepath.Join(netnsDir, n.name))
	if err != nil {
		return err
	}
	defer there.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter namespace %s: %w", n.name, err)
	}
	defer func() {
		if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil {
			panic(fmt.Sprintf("a thread cannot leave namespace %s: %v", n.name, err))
		}
	}()
	return f()
}

// dial connects from inside the namespace; addr is an IP address and a port.
func (n *netns) dial(ctx context.Context, network, addr string) (conn net.Conn, err error) {
	err = n.do(func() error {
		conn, err = new(net.Dialer).DialContext(ctx, network, addr)
		return err
	})
	return conn, err
}

func TestNamespacesAreApart(t *testing.T) {
	t.Parallel()
	n := newNetns(t, "127.0.0.1")
	var l net.Listener
	err := n.do(func() (err error) {
		l, err = net.Listen("tcp", "127.0.0.1:0")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	inside, err := n.dial(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatalf("from inside: %v", err)
	}
	inside.Close()
	if c, err := new(net.Dialer).DialContext(t.Context(), "tcp", l.Addr().String()); err == nil {
		c.Close()
		t.Error("a listener inside is reached from outside")
	}
	if got := must(t, n, "cat", "/etc/resolv.conf"); !strings.Contains(got, "nameserver 127.0.0.1\n") {
		t.Errorf("resolv.conf inside: %q", got)
	}
	removeNetns(n.name)
	if _, err := os.Stat(filepath.Join(netnsEtcDir, n.name)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the namespace's folder is left behind: %v", err)
	}
}
