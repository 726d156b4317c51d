//go:build linux

package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// limited returns a program that is portolan with a limit on open files. Unless it may
// raise that, it has lost the right of root to.
func limited(t *testing.T, files int, mayRaise bool) string {
	t.Helper()
	need(t, "setpriv", "sh")
	drop := "setpriv --bounding-set=-sys_resource "
	if mayRaise {
		drop = ""
	}
	path := filepath.Join(t.TempDir(), "portolan")
	script := fmt.Sprintf("#!/bin/sh\nulimit -n %d\nexec %s%s \"$@\"\n", files, drop, portolan(t))
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// crowded has more connections than the limits of the test let a server hold.
const crowded = `
server:
  listen: ["127.0.0.1:0"]
  workers: 2
  tcp: {connections: 2000, per_prefix: 0, idle: 10m, message: 1m}
admin: {socket: $DIR/admin.sock, metrics: "127.0.0.1:0"}
state: {dir: $DIR}
zones: {example.io: {nameservers: {ns1: [192.0.2.53]}}}
probes: {tcp: {type: tcp, port: 443, interval: 1s, timeout: 1s, fall: 2, rise: 1}}
registries:
  myregistry:
    replicas:
      westus: {addresses: [192.0.2.10], probe: tcp, probe_target: "%s"}
      eastus: {addresses: [192.0.2.20], probe: tcp, probe_target: "%s"}
`

// target is something that a probe passes as long as it listens.
func target(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// TestFewDescriptors lets clients hold all connections that a server takes which may
// open few files: probes notice a replica that dies, operators and collectors get their
// answers, and so does a new client.
func TestFewDescriptors(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		missing(t, "only root can lose the right to raise its limits")
	}
	west, east := target(t), target(t)
	config := fmt.Sprintf(crowded, west.Addr(), east.Addr())
	s := serveProgram(t, limited(t, 400, false), patience, nil, config)
	line := s.log.line(0, "fewer connections are held")
	for _, want := range []string{"level=WARN", "connections=2000", "limit=", "LimitNOFILE"} {
		if !strings.Contains(line, want) {
			t.Errorf("%q does not say %q", line, want)
		}
	}
	most := s.scrape().get(t, "portolan_tcp_connections_limit")
	if most < 50 || most >= 400 {
		t.Errorf("%v connections may be held with 400 files", most)
	}
	replica := func(region string) float64 {
		return s.scrape().get(t, `portolan_replica_up{region="`+region+`",registry="myregistry"}`)
	}
	eventually(t, patience, "both replicas to be up", func() bool { return replica("westus")+replica("eastus") == 2 })

	s.openIdle(t, 600)
	if open := s.scrape().get(t, "portolan_tcp_connections"); open < most-1 {
		t.Errorf("%v connections are held of %v", open, most)
	}
	_ = west.Close()
	eventually(t, patience, "the dead replica to be noticed", func() bool { return replica("westus") == 0 })
	if o := run(t, nil, portolan(t), "status", "--socket", s.socket()); o.code != 0 || !strings.Contains(o.text, "westus") {
		t.Errorf("status: %s", o.text)
	}
	if m := (client{nil, s.addrs[0], "tcp"}).ask(t, question("myregistry.example.io", "A")); m.Rcode != dns.RcodeSuccess || len(m.Answer) != 1 {
		t.Errorf("a new client: %v", m)
	}
	if got := replica("eastus"); got != 1 {
		t.Error("the healthy replica is down: its probes have no descriptors")
	}
	if n := s.scrape().sum("portolan_socket_errors_total"); n != 0 {
		t.Errorf("%v errors of sockets: the reserve is too small", n)
	}
	// The next process has the same limit, and takes what it may.
	must(t, nil, portolan(t), "upgrade", "--socket", s.socket())
	s.follow(0)
	if line := s.log.line(0, "stays with the process before"); line != "" {
		t.Error(line)
	}
	if got := s.scrape().get(t, "portolan_tcp_connections_limit"); got != most {
		t.Errorf("%v connections may be held after an upgrade, %v before", got, most)
	}
}

// TestDescriptorsAreRaised starts a server below what it needs, with the right to
// change that.
func TestDescriptorsAreRaised(t *testing.T) {
	t.Parallel()
	if o := run(t, nil, "sh", "-c", "ulimit -n 400; ulimit -n 500"); o.code != 0 {
		t.Skip("limits cannot be raised here: " + o.text) // root in a container has not always the right
	}
	s := serveProgram(t, limited(t, 400, true), patience, nil, fmt.Sprintf(crowded, target(t).Addr(), target(t).Addr()))
	if line := s.log.line(0, "fewer connections are held"); line != "" {
		t.Error(line)
	}
	if most := s.scrape().get(t, "portolan_tcp_connections_limit"); most != 2000 {
		t.Errorf("%v connections may be held", most)
	}
}

// TestCheckCountsDescriptors has check warn where the process could not hold the
// connections of the configuration, and only there.
func TestCheckCountsDescriptors(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "portolan.yaml")
	config := strings.ReplaceAll(fmt.Sprintf(crowded, "127.0.0.1:1", "127.0.0.1:2"), "$DIR", filepath.Dir(path))
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	for files, want := range map[int]bool{400: true, 4000: false} {
		o := run(t, nil, limited(t, files, true), "check", "-c", path)
		if o.code != 0 || strings.Contains(o.text, "server.tcp.connections: 2000 connections") != want || want != strings.Contains(o.text, "LimitNOFILE=2") {
			t.Errorf("check with %d files: exit code %d\n%s", files, o.code, o.text)
		}
	}
}
