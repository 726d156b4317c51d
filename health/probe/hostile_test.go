package probe

import (
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"portolan.dev/health"
)

// TestHostileTargets has every type of target that wastes time, memory or trust
// answer a registry probe and an http probe.
func TestHostileTargets(t *testing.T) {
	t.Parallel()
	header := "HTTP/1.1 200 OK\r\n"
	tests := []struct {
		name   string
		serve  func(net.Conn)
		detail string
		http   health.Verdict // registry is always Fail
	}{
		{"silence", untilClosed, "timeout", health.Fail},
		{"closes at once", func(net.Conn) {}, "", health.Fail},
		{"reset", func(c net.Conn) { tcp, _ := c.(*net.TCPConn); _ = tcp.SetLinger(0) }, "reset", health.Fail},
		{"closes after the request", says(""), "cut off by the target", health.Fail},
		{"garbage", says("\x00\x01\x02\xff\xfe not HTTP\r\n\r\n"), "malformed HTTP", health.Fail},
		{"another protocol", says("220 mail.example ESMTP\r\n"), "malformed HTTP", health.Fail},
		{"escape sequences", says("HTTP/1.1 503 \x1b[2J\r\n\r\n"), "503 Service Unavailable", health.Fail},
		{"no status", says("HTTP/1.1 abc\r\n\r\n"), "malformed HTTP status code", health.Fail},
		{"a byte now and then", dripping(header + strings.Repeat("X-A: b\r\n", 1000)), "timeout", health.Fail},
		{"a body that drips", dripping(header + "Content-Length: 1000\r\n\r\n" + strings.Repeat("x", 1000)), "timeout", health.Fail},
		{"10 MB of header", flood(header, "X-A: 0123456789\r\n", 10<<20), "header is longer than 32 KiB", health.Fail},
		{"one line of 10 MB", flood(header+"X-A: ", "0123456789", 10<<20), "header is longer than 32 KiB", health.Fail},
		{"10 MB of 1xx", flood("", "HTTP/1.1 103 Early Hints\r\n\r\n", 10<<20), "header is longer than 32 KiB", health.Fail},
		{"endless body", flood(header+"\r\n", "0123456789", math.MaxInt32), "body is longer than 64 KiB", health.Pass},
		{"endless chunks", flood(header+"Transfer-Encoding: chunked\r\n\r\n", "4\r\nabcd\r\n", math.MaxInt32), "body is longer than 64 KiB", health.Pass},
		{"chunks with endless extensions", flood(header+"Transfer-Encoding: chunked\r\n\r\n", "1;"+strings.Repeat("x", 3000)+"\r\na\r\n", math.MaxInt32), "", health.Fail},
		{"a body cut off", says(header + "Content-Length: 100\r\n\r\n{}"), "body: cut off by the target", health.Fail},
		{"two lengths", says(header + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}}"), "Content-Length", health.Fail},
		{"switching protocols", says("HTTP/1.1 101 Switching Protocols\r\n\r\n"), "101 Switching Protocols", health.Fail},
		{"an odd status", says("HTTP/1.1 999 Blocked\r\n\r\n"), "999", health.Fail},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			address := raw(t, tt.serve)
			want(t, tryFor(t, Spec{Type: Registry, Address: address}, patience(tt.detail)), health.Fail, tt.detail)
			detail := tt.detail
			if tt.http == health.Pass {
				detail = "200 OK"
			}
			want(t, tryFor(t, Spec{Type: HTTP, Address: address}, patience(tt.detail)), tt.http, detail)
		})
	}
}

// dripping serves text a byte every 20 ms.
func dripping(text string) func(net.Conn) {
	return func(c net.Conn) {
		for i := range len(text) {
			if _, err := c.Write([]byte{text[i]}); err != nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
		untilClosed(c)
	}
}

// flood serves start and then part again and again, up to limit bytes.
func flood(start, part string, limit int) func(net.Conn) {
	return func(c net.Conn) {
		many := []byte(strings.Repeat(part, 1+8192/len(part)))
		if _, err := io.WriteString(c, start); err != nil {
			return
		}
		for n := 0; n < limit; n += len(many) {
			if _, err := c.Write(many); err != nil {
				return
			}
		}
		untilClosed(c)
	}
}

func TestClosedPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	for _, typ := range []Type{Registry, HTTP, HTTPS, TCP, TLS} {
		want(t, try(t, Spec{Type: typ, Address: address}), health.Fail, "connect: connection refused")
	}
}

// TestShortageHere runs out of files, which says nothing of a target.
func TestShortageHere(t *testing.T) {
	for errno, verdict := range map[syscall.Errno]health.Verdict{
		syscall.EMFILE: health.Neutral, syscall.EADDRNOTAVAIL: health.Neutral, syscall.ENOBUFS: health.Neutral,
		syscall.ECONNREFUSED: health.Fail, syscall.EHOSTUNREACH: health.Fail, syscall.ENETUNREACH: health.Fail,
	} {
		d := new(Spec).newDialer("192.0.2.1:443", nil)
		d.connect = func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", errno)}
		}
		want(t, (&tcpProber{d}).Probe(t.Context()), verdict, "connect: "+errno.Error())
	}
}

// TestRedirectsAreNotFollowed sends probes elsewhere in every way there is.
func TestRedirectsAreNotFollowed(t *testing.T) {
	var dialed atomic.Int32
	trap := raw(t, func(net.Conn) { dialed.Add(1) })
	for _, to := range []string{"http://" + trap + "/v2/", "http://169.254.169.254/latest/meta-data/", "//" + trap, "/v2/other"} {
		for _, code := range []int{301, 302, 303, 307, 308} {
			address := web(t, status(code, "Location", to))
			for _, typ := range []Type{Registry, HTTP} {
				want(t, try(t, Spec{Type: typ, Address: address}), health.Fail, to+", not followed")
			}
		}
	}
	address := web(t, status(200, "Location", "http://"+trap, "Refresh", "0; url=http://"+trap))
	want(t, try(t, Spec{Type: HTTP, Address: address}), health.Pass, "200 OK")
	if dialed.Load() != 0 {
		t.Error("a probe went where a target sent it")
	}
}

func TestNamesMayNotLeadToMetadata(t *testing.T) {
	for address, ok := range map[string]bool{
		"169.254.169.254:80": false, "[fe80::1%eth0]:80": false, "[::ffff:169.254.169.254]:80": false,
		"168.63.129.16:80": false, "100.100.100.200:80": false, "[fd00:ec2::254]:80": false, "[fd20:ce::254]:80": false,
		"0.0.0.0:80": false, "[::]:80": false, "224.0.0.1:80": false, "[ff02::1]:80": false,
		"127.0.0.1:80": true, "10.0.0.1:80": true, "192.0.2.1:80": true, "[2001:db8::1]:80": true, "nonsense": false,
	} {
		if err := forbidden(address); (err == nil) != ok {
			t.Errorf("forbidden(%s) = %v", address, err)
		}
	}
	// The rule holds for a name at the moment of dialing, and not for an address.
	_, port, _ := net.SplitHostPort(web(t, status(200)))
	never := func(address string) error { return fmt.Errorf("never %s", address) }
	for host, ok := range map[string]bool{"localhost": false, "127.0.0.1": true} {
		s, err := new(Spec).newDialerExcept(never, host+":"+port, nil).open(t.Context())
		if err == nil {
			s.close()
		}
		if (err == nil) != ok || !ok && !strings.Contains(err.Error(), "never 127.0.0.1:") {
			t.Errorf("%s: %v", host, err)
		}
	}
	want(t, try(t, Spec{Type: HTTP, Address: "localhost:" + port}), health.Pass, "200 OK")
	want(t, try(t, Spec{Type: HTTP, Address: "no-such-host.invalid:80"}), health.Fail, "no-such-host.invalid")
}

// TestNothingFromTheEnvironment wants a request that is the same wherever the
// program runs: no proxy, no cookies, no compression, a connection of its own.
func TestNothingFromTheEnvironment(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("http_proxy", "http://127.0.0.1:1")
	var got []*http.Request
	address := web(t, func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r)
		http.SetCookie(w, &http.Cookie{Name: "a", Value: "b"})
	})
	s := Spec{
		Type: HTTP, Address: address, Host: "myregistry.example.io", Path: "/health?full=1",
		Headers: [][2]string{{"X-Probe", "one"}, {"X-Probe", "two"}},
	}
	p, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		want(t, p.Probe(t.Context()), health.Pass, "200 OK")
	}
	if len(got) != 2 || got[0].RemoteAddr == got[1].RemoteAddr {
		t.Fatalf("%d requests, on one connection or more", len(got))
	}
	r := got[1]
	if r.Host != "myregistry.example.io" || r.URL.RequestURI() != "/health?full=1" || r.Proto != "HTTP/1.1" ||
		r.UserAgent() != userAgent || len(r.Cookies()) > 0 || r.Header.Get("Accept-Encoding") != "identity" ||
		!r.Close || strings.Join(r.Header.Values("X-Probe"), " ") != "one two" {
		t.Errorf("request %s %s %s %v", r.Proto, r.Host, r.URL, r.Header)
	}
}
