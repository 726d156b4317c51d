//go:build linux

package differential

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// patience bounds every wait for something that has to happen.
const patience = time.Minute

// zones are zone files by origin, in order.
type zones struct {
	origins []string
	files   map[string]string
}

// write puts the files into a folder, each under its origin without the last dot.
func (z *zones) write(t *testing.T, dir string) {
	t.Helper()
	for origin, text := range z.files {
		if err := os.WriteFile(filepath.Join(dir, strings.TrimSuffix(origin, ".")), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// daemon is another server that serves the zones.
type daemon struct {
	name string
	addr string
	conn *dns.Conn
	out  *bytes.Buffer
}

// freePort is one that nothing is bound to now, over UDP or TCP. The system gives it to
// nobody meanwhile: it takes ports from 32768 on.
func freePort(t *testing.T) int {
	t.Helper()
	for range 1000 {
		const first, ports = 12_000, 20_000
		port := first + (os.Getpid()*577+int(portsTaken.Add(1)))%ports // apart from other processes that look for one
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		c, err := net.ListenPacket("udp", addr)
		_ = l.Close()
		if err != nil {
			continue
		}
		_ = c.Close()
		return port
	}
	t.Fatal("no port is free for UDP and TCP")
	return 0
}

var portsTaken atomic.Int32

// need returns the path of a program of the system, or skips.
func need(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		for _, dir := range []string{"/usr/sbin/", "/sbin/"} {
			if _, err := os.Stat(dir + program); err == nil {
				return dir + program
			}
		}
		if os.Getenv("CI") != "" {
			t.Fatalf("not skipped, for this is CI: %v", err)
		}
		t.Skip(err)
	}
	return path
}

// launch runs a server until the test ends, and waits until it answers for a zone.
func launch(t *testing.T, name string, port int, origin, program string, args ...string) *daemon {
	t.Helper()
	d := &daemon{name: name, addr: fmt.Sprintf("127.0.0.1:%d", port), out: new(bytes.Buffer)}
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = d.out, d.out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { // ends with the process
		_ = cmd.Wait()
		close(done)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		select {
		case <-done:
		case <-time.After(5 * time.Second):
			_ = cmd.Process.Kill()
			<-done
		}
	})
	for until := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		m := new(dns.Msg)
		m.SetQuestion(origin, dns.TypeSOA)
		if r, err := d.ask(m, time.Second); err == nil && r.Rcode == 0 && len(r.Answer) == 1 {
			return d
		}
		select {
		case <-done:
			t.Fatalf("%s has ended:\n%s", name, d.out)
		default:
		}
		if time.Now().After(until) {
			t.Fatalf("%s does not answer for %s:\n%s", name, origin, d.out)
		}
	}
}

// ask sends one query over UDP and waits for its response.
func (d *daemon) ask(m *dns.Msg, within time.Duration) (*dns.Msg, error) {
	if d.conn == nil {
		c, err := dns.DialTimeout("udp", d.addr, time.Second)
		if err != nil {
			return nil, err
		}
		c.UDPSize = 65535
		d.conn = c
	}
	if err := d.conn.SetDeadline(time.Now().Add(within)); err != nil {
		return nil, err
	}
	if err := d.conn.WriteMsg(m); err != nil {
		return nil, d.broken(err)
	}
	for {
		r, err := d.conn.ReadMsg()
		if err != nil {
			return nil, d.broken(err)
		}
		if r.Id == m.Id && len(r.Question) == 1 && strings.EqualFold(r.Question[0].Name, m.Question[0].Name) {
			return r, nil
		}
	}
}

func (d *daemon) broken(err error) error {
	_ = d.conn.Close()
	d.conn = nil
	return err
}

func startNSD(t *testing.T, z *zones) *daemon {
	t.Helper()
	program, dir, port := need(t, "nsd"), t.TempDir(), freePort(t)
	z.write(t, dir)
	var b strings.Builder
	fmt.Fprintf(&b, `server:
  ip-address: 127.0.0.1@%d
  server-count: 1
  username: ""
  chroot: ""
  zonesdir: %q
  database: ""
  pidfile: %q
  xfrdfile: %q
  zonelistfile: %q
  xfrdir: %q
  ipv4-edns-size: 4096
  minimal-responses: yes
  rrl-ratelimit: 0
remote-control:
  control-enable: no
`, port, dir, filepath.Join(dir, "nsd.pid"), filepath.Join(dir, "xfrd.state"), filepath.Join(dir, "zone.list"), dir)
	for _, origin := range z.origins {
		fmt.Fprintf(&b, "zone:\n  name: %s\n  zonefile: %s\n", origin, strings.TrimSuffix(origin, "."))
	}
	conf := filepath.Join(dir, "nsd.conf")
	if err := os.WriteFile(conf, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return launch(t, "nsd", port, z.origins[len(z.origins)-1], program, "-d", "-c", conf)
}

func startKnot(t *testing.T, z *zones) *daemon {
	t.Helper()
	program, dir, port := need(t, "knotd"), t.TempDir(), freePort(t)
	z.write(t, dir)
	var b strings.Builder
	fmt.Fprintf(&b, `server:
  rundir: %q
  listen: 127.0.0.1@%d
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
  udp-max-payload: 4096
database:
  storage: %q
log:
- target: stderr
  any: warning
template:
- id: default
  storage: %q
  semantic-checks: off
  zonefile-load: whole
  journal-content: none
zone:
`, dir, port, dir, dir)
	for _, origin := range z.origins {
		fmt.Fprintf(&b, "- domain: %s\n  file: %s\n", origin, strings.TrimSuffix(origin, "."))
	}
	conf := filepath.Join(dir, "knot.conf")
	if err := os.WriteFile(conf, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return launch(t, "knot", port, z.origins[len(z.origins)-1], program, "-c", conf)
}
