package admin

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func listen(t *testing.T, o Options) (*Server, error) {
	t.Helper()
	o.Gatherer, o.API, o.Log = prometheus.NewRegistry(), &controlAPI{}, slog.New(slog.DiscardHandler)
	s, err := New(o)
	if err == nil {
		t.Cleanup(func() {
			if err := s.Stop(context.Background()); err != nil {
				t.Errorf("stop: %v", err)
			}
		})
	}
	return s, err
}

// The socket is for its owner and group, in a folder that is made for it, and gone
// after the end.
func TestSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "s")
	s, err := listen(t, Options{Socket: path})
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != fs.ModeSocket|0o660 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
	s.Start()
	if _, err := NewClient(path).Status(t.Context()); err != nil {
		t.Error(err)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

// A socket that a crash has left is replaced; one that somebody serves, and
// anything that is no socket, stays as it is.
func TestSocketInTheWay(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := listen(t, Options{Socket: stale})
	if err != nil {
		t.Fatalf("a stale socket: %v", err)
	}
	s.Start()

	_, err = listen(t, Options{Socket: stale, Metrics: "127.0.0.1:0"})
	if err == nil || !strings.Contains(err.Error(), "admin.socket") || !strings.Contains(err.Error(), stale+": another server listens there: stop it") {
		t.Errorf("a live socket: %v", err)
	}
	if _, err := NewClient(stale).Status(t.Context()); err != nil {
		t.Errorf("the server that was there: %v", err)
	}

	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listen(t, Options{Socket: file}); err == nil || !strings.Contains(err.Error(), "is no socket: remove it") {
		t.Errorf("a file: %v", err)
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != "precious" {
		t.Errorf("the file is now %q, %v", data, err)
	}
	if _, err := listen(t, Options{Socket: filepath.Join(file, "s")}); err == nil || !strings.Contains(err.Error(), "name another path") {
		t.Errorf("below a file: %v", err)
	}
	if _, err := listen(t, Options{Socket: filepath.Join(dir, strings.Repeat("x", 120))}); err == nil || !strings.Contains(err.Error(), "name a shorter path") {
		t.Errorf("a path that is too long: %v", err)
	}
}

// A metrics address that is taken takes nothing else along.
func TestMetricsAddressTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	path := filepath.Join(t.TempDir(), "s")
	if _, err := listen(t, Options{Socket: path, Metrics: l.Addr().String()}); err == nil || !strings.Contains(err.Error(), "admin.metrics") ||
		!strings.Contains(err.Error(), "choose a free address") {
		t.Errorf("error %v", err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket was made: %v", err)
	}
}

// The metrics listener has metrics and nothing of the API.
func TestMetricsListener(t *testing.T) {
	s, err := listen(t, Options{Metrics: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for path, want := range map[string]int{"/metrics": 200, "/v1/status": 404, "/": 404, "/v1/drain": 404} {
		resp, err := client.Get("http://" + s.MetricsAddr() + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, resp.StatusCode, want)
		}
	}
	resp, err := client.Post("http://"+s.MetricsAddr()+"/metrics", "text/plain", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", resp.StatusCode)
	}
}

// Neither listener needs the other, and a server may be stopped without a start.
func TestNoListener(t *testing.T) {
	s, err := listen(t, Options{})
	if err != nil || s.MetricsAddr() != "" {
		t.Fatalf("%q, %v", s.MetricsAddr(), err)
	}
	if _, err := listen(t, Options{Socket: filepath.Join(t.TempDir(), "s"), Metrics: "127.0.0.1:0"}); err != nil {
		t.Fatal(err)
	}
}

// rawExchange writes octets to a socket and reads until it is closed.
func rawExchange(t *testing.T, path, text string) string {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(4 * headerTimeout)); err != nil {
		t.Fatal(err)
	}
	// What is refused early is not read to its end.
	_, _ = io.WriteString(c, text)
	out, err := io.ReadAll(c)
	if os.IsTimeout(err) {
		t.Fatalf("the connection is open after %v", 4*headerTimeout)
	}
	return string(out)
}

// A header is bounded in size and in time.
func TestHeaders(t *testing.T) {
	t.Parallel()
	_, path := controlServer(t, &controlAPI{}, nil)
	t.Run("size", func(t *testing.T) {
		t.Parallel()
		got := rawExchange(t, path, "GET /v1/status HTTP/1.1\r\nHost: portolan\r\nX: "+strings.Repeat("x", 64<<10)+"\r\n\r\n")
		if !strings.HasPrefix(got, "HTTP/1.1 431 ") {
			t.Errorf("%.80q", got)
		}
	})
	t.Run("time", func(t *testing.T) {
		t.Parallel()
		begin := time.Now()
		got := rawExchange(t, path, "GET /v1/status HTTP/1.1\r\nHost: portolan\r\nX: ")
		if strings.HasPrefix(got, "HTTP/1.1 200") || time.Since(begin) < headerTimeout/2 {
			t.Errorf("%.80q after %v", got, time.Since(begin))
		}
	})
	t.Run("nonsense", func(t *testing.T) {
		t.Parallel()
		if got := rawExchange(t, path, "\x16\x03\x01 hello\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 400 ") {
			t.Errorf("%.80q", got)
		}
	})
}

func TestClients(t *testing.T) {
	for _, tt := range []struct {
		client, resolver, asker, subnet string
		says                            string // of the error
	}{
		{client: "192.0.2.7", asker: "192.0.2.0", subnet: "192.0.2.0/24"},
		{client: "192.0.2.7/32", asker: "192.0.2.7", subnet: "192.0.2.7/32"},
		{client: "192.0.2.7/16", asker: "192.0.0.0", subnet: "192.0.0.0/16"},
		{client: "2001:db8:1:2:3::4", asker: "2001:db8:1::", subnet: "2001:db8:1::/56"},
		{client: "::ffff:192.0.2.7", asker: "192.0.2.0", subnet: "192.0.2.0/24"},
		{resolver: "192.0.2.53", asker: "192.0.2.53", subnet: "invalid Prefix"},
		{client: "198.51.100.0/24", resolver: "192.0.2.53", asker: "192.0.2.53", subnet: "198.51.100.0/24"},
		{says: "nobody asks"},
		{client: "example.io", says: "write it like 192.0.2.7"},
		{client: "192.0.2.7/33", says: "no address or prefix"},
		{client: "192.0.2.7", resolver: "192.0.2.53/32", says: "write it like 192.0.2.53"},
	} {
		asker, subnet, err := Clients(tt.client, tt.resolver)
		if tt.says != "" {
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%q, %q: %v", tt.client, tt.resolver, err)
			}
			continue
		}
		if err != nil || asker != netip.MustParseAddr(tt.asker) || subnet.String() != tt.subnet {
			t.Errorf("%q, %q: %v %v, %v", tt.client, tt.resolver, asker, subnet, err)
		}
	}
}

// flaky is a listener that the system gives errors for, among them such as package
// http would end at.
type flaky struct {
	net.Listener
	errs []error
}

func (f *flaky) Accept() (net.Conn, error) {
	if len(f.errs) > 0 {
		err := f.errs[0]
		f.errs = f.errs[1:]
		return nil, err
	}
	return f.Listener.Accept()
}

// An error of the system ends no listener: it would stay bound with nobody behind it.
func TestListenersGoOnAfterErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	var told atomic.Int64
	s, err := listen(t, Options{Socket: path, AcceptFailed: func(error) { told.Add(1) }})
	if err != nil {
		t.Fatal(err)
	}
	s.socket = &flaky{s.socket, []error{syscall.ENOMEM, syscall.ENOBUFS, syscall.EMFILE, syscall.EPERM}}
	s.Start()
	if _, err := NewClient(path).Status(t.Context()); err != nil || told.Load() != 4 {
		t.Errorf("%v, after %d errors of 4", err, told.Load())
	}
}
