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
	"testing"
	"time"

	"github.com/miekg/dns"
)

// patience bounds every wait for something that has to happen.
const patience = 30 * time.Second

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
	conn map[string]*dns.Conn // by network
	out  *bytes.Buffer
}

// freePort is one that nothing is bound to now, over UDP or TCP.
func freePort(t *testing.T) int {
	t.Helper()
	for range 20 {
		c, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := c.LocalAddr().(*net.UDPAddr).Port
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		_ = c.Close()
		if err == nil {
			_ = l.Close()
			return port
		}
	}
	t.Fatal("no port is free for UDP and TCP")
	return 0
}

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
	d := &daemon{name: name, addr: fmt.Sprintf("127.0.0.1:%d", port), conn: make(map[string]*dns.Conn), out: new(bytes.Buffer)}
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
		if r, err := d.ask("udp", m); err == nil && r.Rcode == 0 && len(r.Answer) == 1 {
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

// ask sends one query over UDP or TCP and waits for its response.
func (d *daemon) ask(network string, m *dns.Msg) (*dns.Msg, error) {
	if d.conn[network] == nil {
		c, err := dns.DialTimeout(network, d.addr, time.Second)
		if err != nil {
			return nil, err
		}
		c.UDPSize = 65535
		d.conn[network] = c
	}
	c := d.conn[network]
	r, err := exchange(c, m)
	if err != nil {
		_ = c.Close()
		delete(d.conn, network)
	}
	return r, err
}

func exchange(c *dns.Conn, m *dns.Msg) (*dns.Msg, error) {
	if err := c.SetDeadline(time.Now().Add(3 * time.Second)); err != nil {
		return nil, err
	}
	if err := c.WriteMsg(m); err != nil {
		return nil, err
	}
	for {
		r, err := c.ReadMsg()
		if err != nil {
			return nil, err
		}
		if r.Id == m.Id && len(r.Question) == 1 && strings.EqualFold(r.Question[0].Name, m.Question[0].Name) {
			return r, nil
		}
	}
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
