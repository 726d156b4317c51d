//go:build unix

package handover_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"portolan.dev/cmd/internal/handover"
)

// pair returns both ends, as two processes have them.
func pair(t *testing.T) (here, there *handover.Channel) {
	t.Helper()
	here, f, err := handover.Pair()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = here.Close() })
	fd, err := unix.Dup(int(f.Fd())) // one that nobody else closes, as in a process of its own
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	if there, err = handover.Inherited(func(string) string { return strconv.Itoa(fd) }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = there.Close() })
	return here, there
}

type note struct {
	Text string `json:"text"`
}

func soon() time.Time { return time.Now().Add(20 * time.Second) }

func receive(t *testing.T, c *handover.Channel) handover.Message {
	t.Helper()
	m, err := c.Receive(soon())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Messages arrive as they were sent, in both directions, with their descriptors, also
// when many send at once and bodies are larger than what a socket takes at once.
func TestMessages(t *testing.T) {
	here, there := pair(t)
	dir := t.TempDir()
	var all sync.WaitGroup
	const senders, each = 4, 25
	for s := range senders {
		all.Go(func() {
			for i := range each {
				var f *os.File
				text := fmt.Sprintf("%d/%d", s, i)
				if i%2 == 0 {
					var err error
					if f, err = os.Create(filepath.Join(dir, strings.ReplaceAll(text, "/", "-"))); err != nil {
						t.Error(err)
						return
					}
					if _, err := f.WriteString(text); err != nil {
						t.Error(err)
					}
				}
				if err := here.Send(handover.Connection, note{text + strings.Repeat("x", i*10_000)}, f); err != nil {
					t.Error(err)
				}
				if f != nil {
					_ = f.Close()
				}
			}
		})
	}
	for range senders * each {
		m := receive(t, there)
		var n note
		if err := m.Decode(&n); err != nil || m.Kind != handover.Connection {
			t.Fatalf("%v %v", m.Kind, err)
		}
		text := strings.TrimRight(n.Text, "x")
		var s, i int
		if _, err := fmt.Sscanf(text, "%d/%d", &s, &i); err != nil {
			t.Fatal(err)
		}
		if (m.File != nil) != (i%2 == 0) || len(n.Text)-len(text) != i*10_000 {
			t.Errorf("%s: descriptor %v, %d octets more", text, m.File != nil, len(n.Text)-len(text))
		}
		if m.File != nil {
			got, err := os.ReadFile(fmt.Sprintf("/dev/fd/%d", m.File.Fd()))
			if err == nil && string(got) != text && len(got) > 0 {
				t.Errorf("%s came with the file of %s", text, got)
			}
			m.Close()
		}
	}
	all.Wait()
	if err := there.Send(handover.Loaded, nil, nil); err != nil {
		t.Fatal(err)
	}
	if m := receive(t, here); m.Kind != handover.Loaded || m.File != nil {
		t.Errorf("%v", m)
	}
}

func TestEnds(t *testing.T) {
	here, there := pair(t)
	if _, err := here.Receive(time.Now().Add(-time.Second)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("nothing was sent: %v", err)
	}
	// What was sent before the end arrives before it.
	if err := there.Send(handover.Failed, note{"broken"}, nil); err != nil {
		t.Fatal(err)
	}
	_ = there.Close()
	m := receive(t, here)
	var n note
	if err := m.Decode(&n); err != nil || m.Kind != handover.Failed || n.Text != "broken" {
		t.Errorf("%v %v %v", m.Kind, n, err)
	}
	if err := m.Decode(new(int)); err == nil || !strings.Contains(err.Error(), "what failed") {
		t.Errorf("another type: %v", err)
	}
	if _, err := here.Receive(soon()); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
	if err := here.Send(handover.Go, nil, nil); err == nil {
		t.Error("sent to nobody")
	}
}

// A message that is cut off, or none, is an error, and no descriptor stays open.
func TestForeignOctets(t *testing.T) {
	for name, octets := range map[string]string{
		"cut off in the head": "\x01\x00\x00", "cut off in the body": "\x01\x00\x00\x00\x09\x00{", "too long": "\x01\xff\xff\xff\xff\x00",
		"a descriptor that is not there": "\x01\x00\x00\x00\x00\x01",
	} {
		c, f, err := handover.Pair()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(octets); err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
		if m, err := c.Receive(soon()); err == nil {
			t.Errorf("%s: %v", name, m)
		}
		_ = c.Close()
	}
}

func TestInherited(t *testing.T) {
	none := func(string) string { return "" }
	if c, err := handover.Inherited(none); c != nil || err != nil {
		t.Errorf("without a variable: %v, %v", c, err)
	}
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Dup(int(file.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	_ = file.Close()
	for _, value := range []string{"x", "-1", "1", strconv.Itoa(fd)} {
		if c, err := handover.Inherited(func(string) string { return value }); err == nil {
			t.Errorf("%s=%s: %v", handover.Variable, value, c)
		}
	}
}

// socketsOf opens one socket of each sort and returns descriptors of them.
func socketsOf(t *testing.T) (addrs map[string]string, files map[string]*os.File) {
	t.Helper()
	addrs, files = make(map[string]string), make(map[string]*os.File)
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	udp, err := net.ListenPacket("udp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	local, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	local.(*net.UnixListener).SetUnlinkOnClose(false)
	for use, l := range map[string]interface {
		File() (*os.File, error)
		Close() error
	}{"tcp": tcp.(*net.TCPListener), "udp": udp.(*net.UDPConn), "unix": local.(*net.UnixListener)} {
		if files[use], err = l.File(); err != nil {
			t.Fatal(err)
		}
		_ = l.Close()
	}
	addrs["tcp"], addrs["udp"], addrs["unix"] = tcp.Addr().String(), udp.LocalAddr().String(), local.Addr().String()
	return addrs, files
}

// Sockets go to who serves their address, by use where that is known.
func TestSockets(t *testing.T) {
	addrs, files := socketsOf(t)
	s := new(handover.Sockets)
	for _, f := range files {
		if err := s.Add("", f); err != nil {
			t.Fatal(err)
		}
	}
	anyPort := netip.MustParseAddrPort(addrs["tcp"]).Addr().String() + ":0"
	for _, q := range []struct {
		use, addr string
		want      int
	}{
		{"udp", addrs["tcp"], 0},
		{"tcp", addrs["udp"], 0},
		{handover.Admin, addrs["tcp"], 0},
		{"tcp", "127.0.0.2:1", 0},
		{"tcp", anyPort, 0}, // a service manager's sockets have addresses, or are none of ours
		{"tls", addrs["tcp"], 1},
		{"tcp", addrs["tcp"], 0},
		{"udp", addrs["udp"], 1},
		{handover.Admin, addrs["unix"], 1},
	} {
		got := s.Take(q.use, q.addr)
		if len(got) != q.want {
			t.Errorf("%s %s: %d sockets, want %d", q.use, q.addr, len(got), q.want)
		}
		for _, f := range got {
			_ = f.Close()
		}
	}
	if left := s.Close(); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	var nobody *handover.Sockets
	if nobody.Take("udp", addrs["udp"]) != nil || nobody.Close() != nil {
		t.Error("sockets of nobody")
	}
}

// With port 0 in the configuration the process before has chosen; the same address in
// another use is another socket.
func TestSocketsWithAnyPort(t *testing.T) {
	addrs, files := socketsOf(t)
	_, others := socketsOf(t)
	s := new(handover.Sockets)
	for use, f := range map[string]*os.File{"tcp": files["tcp"], handover.Metrics: others["tcp"], "udp": files["udp"], handover.Admin: files["unix"]} {
		if err := s.Add(use, f); err != nil {
			t.Fatal(err)
		}
	}
	_ = others["udp"].Close()
	_ = others["unix"].Close()
	if got := s.Take("tcp", "127.0.0.1:0"); len(got) != 1 || got[0] != files["tcp"] {
		t.Errorf("any port for tcp: %v", got)
	} else {
		_ = got[0].Close()
	}
	left := s.Close()
	if len(left) != 3 || !slices.Contains(left, "udp "+addrs["udp"]) || !slices.Contains(left, "unix "+addrs["unix"]) {
		t.Errorf("left: %v", left)
	}
}

func TestSocketsThatAreNone(t *testing.T) {
	s := new(handover.Sockets)
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Add("", null); err == nil {
		t.Error("/dev/null was taken")
	}
	conn, err := net.Dial("udp", "127.0.0.1:9")
	if err != nil {
		t.Fatal(err)
	}
	f, err := conn.(*net.UDPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	if err := s.Add("tcp", f); err == nil {
		t.Error("datagrams as tcp")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	stream, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if f, err = stream.(*net.TCPConn).File(); err != nil {
		t.Fatal(err)
	}
	_ = stream.Close()
	if err := s.Add("", f); err == nil {
		t.Error("a connection as a listener")
	}
}

func TestKinds(t *testing.T) {
	for k := handover.Hello; k <= handover.Failed; k++ {
		if strings.HasPrefix(k.String(), "message") {
			t.Errorf("kind %d has no name", k)
		}
	}
	if got := handover.Kind(200).String(); got != "message 200" {
		t.Error(got)
	}
}
