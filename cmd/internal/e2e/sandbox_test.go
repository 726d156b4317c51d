//go:build linux

package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSandbox reloads with a zone file from a folder that the first configuration
// did not name: a confined server says what is the matter and goes on, one that is
// told not to confine itself reads it.
func TestSandbox(t *testing.T) {
	t.Parallel()
	elsewhere := filepath.Join(t.TempDir(), "zone")
	if err := os.WriteFile(elsewhere, []byte("www 60 A 192.0.2.80\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	named := func(config string) string {
		return strings.Replace(config, "{nameservers", "{records: "+elsewhere+", nameservers", 1)
	}
	t.Run("on", func(t *testing.T) {
		t.Parallel()
		s := serve(t, nil, minimal)
		if line := s.log.line(0, "msg=confined"); strings.Contains(line, "the kernel has no Landlock") {
			t.Skip(line)
		} else if !strings.Contains(line, s.dir) {
			t.Errorf("the log does not name %s: %q", s.dir, line)
		}
		line := s.reload(named(minimal))
		for _, want := range []string{"serving goes on unchanged", elsewhere, "permission denied", "restart the server"} {
			if !strings.Contains(line, want) {
				t.Errorf("%q does not say %q", line, want)
			}
		}
		if line := s.reload(minimal); !strings.Contains(line, "msg=reloaded") {
			t.Errorf("the old configuration again: %s", line)
		}
	})
	t.Run("off", func(t *testing.T) {
		t.Parallel()
		off := strings.Replace(minimal, "server: {", "server: {sandbox: false, ", 1)
		s := serve(t, nil, off)
		if line := s.reload(named(off)); !strings.Contains(line, "msg=reloaded") {
			t.Error(line)
		}
	})
}

// ownEtc returns a program that is portolan with an /etc and a /run of its own, which a
// test may change without touching those of the machine. It must be started in a
// namespace, which brings file systems of its own along.
func ownEtc(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "portolan")
	script := `#!/bin/sh
set -e
cp /etc/resolv.conf /etc/passwd "$0.etc/"
mount -t tmpfs none /etc
mount -t tmpfs none /run
cp "$0.etc/"* /etc/
printf '127.0.0.1 localhost\n' > /etc/hosts
printf 'hosts: files dns\n' > /etc/nsswitch.conf
mkdir /run/NetworkManager
exec ` + portolan(t) + ` "$@"
`
	if err := os.Mkdir(path+".etc", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// renewedConfig looks up host names of both sorts: a target by the resolvers of
// resolv.conf, and the target of a probe as every program does.
const renewedConfig = `
server: {listen: ["127.0.0.1:53"], identity: e2e}
admin: {socket: $DIR/admin.sock, metrics: "127.0.0.1:0"}
state: {dir: $DIR}
zones: {example.io: {nameservers: {ns1: [192.0.2.53]}}}
probes: {tcp: {type: tcp, port: 80, interval: 1s, timeout: 1s, fall: 1, rise: 1}}
registries:
  direct:
    answer: address
    sticky: off
    replicas:
      westus: {target: lb-westus.example.net}
  probed:
    recovery_hold: 0s
    replicas:
      westus: {addresses: [192.0.2.10], probe: tcp, probe_target: "front.example.net:8080"}
      eastus: {addresses: [192.0.2.20]}
`

// TestSandboxFollowsSystemFiles replaces what look-ups read below a confined server, as
// tools do: by renaming a file, by another link, by a new hosts file. Look-ups go by
// what is there now.
func TestSandboxFollowsSystemFiles(t *testing.T) {
	t.Parallel()
	n := newNetns(t, "127.0.0.51")
	for i := 1; i <= 3; i++ {
		resolver := &standIn{records: make(map[string][]string)}
		resolver.set("lb-westus.example.net", "A", fmt.Sprintf("lb-westus.example.net. 1 IN A 198.51.100.%d", i))
		serveDNS(t, n, fmt.Sprintf("127.0.0.5%d:53", i), resolver)
	}
	if err := n.do(func() error {
		l, err := net.Listen("tcp", "127.0.0.1:8080")
		if err == nil {
			t.Cleanup(func() { _ = l.Close() })
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	s := serveProgram(t, ownEtc(t), patience, n, renewedConfig)
	if line := s.log.line(0, "msg=confined"); !strings.Contains(line, "on: Landlock") {
		t.Skip("nothing to see: " + line)
	}
	root := fmt.Sprintf("/proc/%d/root", s.now.Pid)
	replace := func(path, text string) { // as dhclient does
		t.Helper()
		if err := os.WriteFile(root+path+".new", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(root+path+".new", root+path); err != nil {
			t.Fatal(err)
		}
	}
	led := func(to int) {
		t.Helper()
		wantTarget(t, s, "direct.example.io", "A", seattle, fmt.Sprintf("198.51.100.%d", to))
	}
	led(1)
	replace("/etc/resolv.conf", "nameserver 127.0.0.52\n")
	led(2)
	replace("/run/NetworkManager/resolv.conf", "nameserver 127.0.0.53\n")
	if err := os.Symlink("/run/NetworkManager/resolv.conf", root+"/etc/resolv.conf.new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(root+"/etc/resolv.conf.new", root+"/etc/resolv.conf"); err != nil {
		t.Fatal(err)
	}
	led(3)
	replace("/run/NetworkManager/resolv.conf", "nameserver 127.0.0.51\n")
	led(1)

	passes := func() bool { return s.scrape().sum("portolan_probe_results_total", `verdict="pass"`) > 0 }
	if passes() {
		t.Error("a probe passes whose target has no address yet")
	}
	replace("/etc/hosts", "127.0.0.1 localhost front.example.net\n")
	eventually(t, patience, "the new hosts file is read", passes)
}
