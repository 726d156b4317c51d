//go:build linux

package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"portolan.dev/resolver/activity"
)

// server is a running `portolan serve`.
type server struct {
	*process
	ns      *netns
	dir     string // of the configuration, the socket and the state; $DIR in the configuration
	path    string // of the configuration
	addrs   []netip.AddrPort
	tls     []netip.AddrPort // with certificates of the test's own; empty unless configured
	metrics string
	http    *http.Client
	began   time.Time // just before the process was started
}

// serve starts the binary with a configuration in a namespace (nil for that of
// the test), waits until it serves, and learns the ports it took. $DIR in the
// configuration stands for a folder of the server's own, which holds files. At the end of the test
// the server is stopped as by a service manager, unless it has ended.
func serve(t *testing.T, n *netns, config string, files ...file) *server {
	t.Helper()
	return serveWithin(t, patience, n, config, files...)
}

// serveWithin is serve for a server that takes its time to start.
func serveWithin(t *testing.T, within time.Duration, n *netns, config string, files ...file) *server {
	t.Helper()
	return serveProgram(t, portolan(t), within, n, config, files...)
}

// serveProgram is serveWithin for a copy of the binary.
func serveProgram(t *testing.T, binary string, within time.Duration, n *netns, config string, files ...file) *server {
	t.Helper()
	s := &server{ns: n, dir: t.TempDir()}
	s.path = filepath.Join(s.dir, "portolan.yaml")
	s.configure(t, config)
	for _, f := range files {
		s.write(t, f)
	}
	s.http = &http.Client{Timeout: patience, Transport: &http.Transport{DialContext: n.dial, DisableKeepAlives: true}}
	s.began = time.Now()
	s.process = start(t, n, binary, "serve", "-c", s.path)
	t.Cleanup(func() {
		if !s.ended() {
			s.stop()
		}
		forget(s.dir)
	})
	s.learn(s.waitLogWithin(within, 0, "msg=serving"))
	if line := s.log.line(0, `msg="serving TLS"`); line != "" {
		s.tls = s.addressesIn(line)
	}
	return s
}

// forget removes what a server that was killed has left in memory for the next one.
func forget(dir string) {
	for _, state := range []string{dir, filepath.Join(dir, "state")} {
		_ = os.Remove(activity.Path("/dev/shm", state, os.Geteuid())) // most end otherwise, and leave nothing
	}
}

// configure writes the configuration; a running server has not seen it yet.
func (s *server) configure(t *testing.T, config string) {
	t.Helper()
	s.write(t, file{filepath.Base(s.path), config})
}

// file is one that the configuration names, by its path from the server's folder.
type file struct{ name, text string }

// write writes a file into the server's folder, whole or not at all: a server that
// reads it at this moment sees the old one.
func (s *server) write(t *testing.T, f file) {
	t.Helper()
	text := strings.ReplaceAll(f.text, "$DIR", s.dir)
	path := filepath.Join(s.dir, f.name)
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

var (
	servingAddresses = regexp.MustCompile(`addresses="?\[([^"]*)\]"?`)
	servingMetrics   = regexp.MustCompile(`metrics="?([0-9a-f.:\[\]]+)"?`)
)

// learn reads the addresses from the line that says serving.
func (s *server) learn(line string) {
	s.t.Helper()
	s.addrs = s.addressesIn(line)
	if m := servingMetrics.FindStringSubmatch(line); m != nil {
		s.metrics = m[1]
	}
}

// addressesIn reads the addresses of a line.
func (s *server) addressesIn(line string) (addrs []netip.AddrPort) {
	s.t.Helper()
	m := servingAddresses.FindStringSubmatch(line)
	if m == nil {
		s.t.Fatalf("no addresses in %q", line)
	}
	for text := range strings.FieldsSeq(m[1]) {
		a, err := netip.ParseAddrPort(text)
		if err != nil {
			s.t.Fatalf("address %q in %q: %v", text, line, err)
		}
		addrs = append(addrs, a)
	}
	return addrs
}

// socket returns the path of the admin socket, where the configuration has
// `socket: $DIR/admin.sock`.
func (s *server) socket() string { return filepath.Join(s.dir, "admin.sock") }

// reload writes a new configuration, sends SIGHUP, and returns the log line that
// says how that went.
func (s *server) reload(config string) string {
	s.t.Helper()
	s.configure(s.t, config)
	return s.hup()
}

// hup sends SIGHUP and returns the log line that says how the reload went.
func (s *server) hup() string {
	s.t.Helper()
	at := s.log.len()
	s.signal(syscall.SIGHUP)
	return s.waitLog(at, "reload")
}

// stopWithin bounds the end of a server that was told to stop. It gives itself four
// seconds; the rest is for a machine that is busy with all other tests.
const stopWithin = 20 * time.Second

// stop sends SIGTERM and wants exit code 0 within the time that a service manager
// can count on. It returns how long it took.
func (s *server) stop() time.Duration {
	s.t.Helper()
	begin := time.Now()
	s.signal(syscall.SIGTERM)
	if code := s.wait(stopWithin); code != 0 {
		s.t.Errorf("exit code %d after SIGTERM", code)
	}
	return time.Since(begin)
}

// memory returns the resident memory of the process in bytes.
func (s *server) memory() int {
	s.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.now.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmRSS:" {
			kib, err := strconv.Atoi(f[1])
			if err != nil {
				s.t.Fatal(err)
			}
			return kib << 10
		}
	}
	s.t.Fatalf("no VmRSS in %s", status)
	return 0
}

// samples are the values of a scrape by series as they are written, labels in
// alphabetical order: `portolan_answers_total{region="eastus",registry="r"}`.
type samples map[string]float64

// scrape fetches the metrics.
func (s *server) scrape() samples {
	s.t.Helper()
	if s.metrics == "" {
		s.t.Fatal("the configuration has no admin.metrics")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.metrics+"/metrics", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := s.http.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		s.t.Fatalf("scrape: %s, %v", resp.Status, err)
	}
	out := make(samples)
	for line := range strings.Lines(string(body)) {
		series, value, ok := strings.Cut(strings.TrimSpace(line), "} ")
		if ok {
			series += "}"
		} else if series, value, ok = strings.Cut(strings.TrimSpace(line), " "); !ok {
			continue
		}
		if v, err := strconv.ParseFloat(value, 64); err == nil && !strings.HasPrefix(series, "#") {
			out[series] = v
		}
	}
	return out
}

// get returns the value of a series that has to be there.
func (m samples) get(t *testing.T, series string) float64 {
	t.Helper()
	v, ok := m[series]
	if !ok {
		t.Fatalf("no series %s", series)
	}
	return v
}

// sum adds up the series of one name whose labels contain all the texts given,
// such as `rcode="NOERROR"`.
func (m samples) sum(name string, labels ...string) (total float64) {
next:
	for series, v := range m {
		if series != name && !strings.HasPrefix(series, name+"{") {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(series, l) {
				continue next
			}
		}
		total += v
	}
	return total
}

// minimal is the least configuration with one registry, to be used as it is or
// as a start; ports are free ones.
const minimal = `
server: {listen: ["127.0.0.1:0", "[::1]:0"], identity: e2e}
admin: {socket: $DIR/admin.sock, metrics: "127.0.0.1:0"}
state: {dir: $DIR}
zones: {example.io: {nameservers: {ns1: [192.0.2.53, "2001:db8::53"]}}}
registries:
  myregistry:
    replicas:
      westus: {addresses: [192.0.2.10, "2001:db8::10"]}
      eastus: {addresses: [192.0.2.20, "2001:db8::20"]}
`

func TestServe(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, minimal)
	before := s.scrape()
	for _, c := range s.clients() {
		m := c.ask(t, question("myregistry.example.io", "A"))
		if len(m.Answer) != 1 || !m.Authoritative {
			t.Errorf("%v: %v", c, m)
		}
	}
	after := s.scrape()
	for _, labels := range [][]string{
		{`transport="udp"`, `family="ipv4"`},
		{`transport="udp"`, `family="ipv6"`},
		{`transport="tcp"`, `family="ipv4"`},
		{`transport="tcp"`, `family="ipv6"`},
	} {
		labels = append(labels, `rcode="NOERROR"`)
		if n := after.sum("portolan_queries_total", labels...) - before.sum("portolan_queries_total", labels...); n != 1 {
			t.Errorf("queries_total %v rose by %v, want 1", labels, n)
		}
	}
	if n := after.sum("portolan_answers_total") - before.sum("portolan_answers_total"); n != 4 {
		t.Errorf("answers_total rose by %v, want 4", n)
	}
	if _, port, err := net.SplitHostPort(s.metrics); err != nil || port == "0" {
		t.Errorf("metrics address %q", s.metrics)
	}
	if line := s.hup(); !strings.Contains(line, "msg=reloaded") {
		t.Errorf("SIGHUP: %s", line)
	}
}
