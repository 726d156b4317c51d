//go:build linux

package e2e

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// broken are configurations that must not be taken, and what the log has to name.
var broken = []struct{ name, config, log string }{
	{"no YAML", "zones: [", "portolan.yaml:"},
	{"empty", "", "zones"},
	{"a key that is not known", minimal + "      westeurope: {adresses: [192.0.2.30]}\n", "did you mean addresses?"},
	{"an address that is none", strings.Replace(minimal, "192.0.2.10", "192.0.2.300", 1), "registries.myregistry.replicas.westus.addresses[0]"},
	{"a zone file that is not there", strings.Replace(minimal, "{nameservers", "{records: nowhere.zone, nameservers", 1), "nowhere.zone"},
	{"an address family missing", strings.Replace(minimal, `, "2001:db8::20"`, "", 1), "families"},
}

// TestReloadBroken sends SIGHUP with configurations that are not sound: serving
// goes on as if nothing had been asked, and everybody who looks can see it.
func TestReloadBroken(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, minimal)
	questions := []*dns.Msg{
		question("myregistry.example.io", "A"), question("myregistry.example.io", "AAAA", subnet(newYork)),
		question("example.io", "SOA"), question("nowhere.example.io", "A"),
	}
	before := make([][]byte, len(questions))
	for i, q := range questions {
		before[i] = s.client().wire(t, q)
	}
	for i, b := range broken {
		at := s.log.len()
		if line := s.reload(b.config); !strings.Contains(line, "level=ERROR") || !strings.Contains(line, "serving goes on unchanged") {
			t.Errorf("%s: %s", b.name, line)
		}
		eventually(t, patience, "the log names "+b.log, func() bool { return s.log.line(at, b.log) != "" })
		m := s.scrape()
		if ok, n := m.get(t, "portolan_config_last_reload_successful"), m.get(t, `portolan_config_reloads_total{outcome="failure"}`); ok != 0 || n != float64(i+1) {
			t.Errorf("%s: last_reload_successful %v, failures %v, want 0 and %d", b.name, ok, n, i+1)
		}
		for j, q := range questions {
			if got := s.client().wire(t, q); string(got) != string(before[j]) {
				t.Errorf("%s: the answer to %v has changed:\n%x, was\n%x", b.name, q.Question, got, before[j])
			}
		}
	}
	if err := os.Remove(s.path); err != nil {
		t.Fatal(err)
	}
	if line := s.hup(); !strings.Contains(line, "reload failed") {
		t.Errorf("without a file: %s", line)
	}
	if line := s.reload(minimal); !strings.Contains(line, "msg=reloaded") {
		t.Errorf("the old file again: %s", line)
	}
	if ok := s.scrape().get(t, "portolan_config_last_reload_successful"); ok != 1 {
		t.Errorf("last_reload_successful %v after a good one", ok)
	}
}

// TestReload changes what is served: new answers, a higher serial, and no query
// lost on the way.
func TestReload(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, minimal)
	serial := s.serial(t)
	changed := strings.ReplaceAll(minimal, "192.0.2.10", "192.0.2.77")
	changed = strings.Replace(changed, "    replicas:\n", "    regional_endpoints: enabled\n    replicas:\n", 1) +
		"  another:\n    replicas:\n      westus: {addresses: [192.0.2.88]}\n"
	at := s.log.len()
	if line := s.reload(changed); !strings.Contains(line, "msg=reloaded") || !strings.Contains(line, "registries: 1 added, 0 removed, 1 changed") {
		t.Errorf("log: %s", line)
	}
	if line := s.log.line(at, "takes a restart"); line != "" {
		t.Errorf("nothing that was changed takes a restart: %s", line)
	}
	if now := s.serial(t); now <= serial {
		t.Errorf("the serial was %d and is %d", serial, now)
	}
	for name, want := range map[string]string{
		"myregistry.example.io": "192.0.2.77", "myregistry.westus.geo.example.io": "192.0.2.77", "another.example.io": "192.0.2.88",
	} {
		m := s.client().ask(t, question(name, "A", subnet(seattle)))
		if got := addresses(m); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %v, want %s", name, got, want)
		}
	}
	m := s.scrape()
	if g := m.get(t, "portolan_snapshot_generation"); g != 2 {
		t.Errorf("generation %v", g)
	}
	if v := m.get(t, `portolan_zone_serial{zone="example.io."}`); v != float64(s.serial(t)) {
		t.Errorf("zone_serial %v, the SOA record says %d", v, s.serial(t))
	}
	// Back, while somebody asks all the time.
	s.configure(t, minimal)
	at = s.log.len()
	admin := s.operator(t)
	var back sync.WaitGroup
	defer back.Wait()
	back.Go(func() { // forced: who has asked is led to the address that goes
		if code, text := admin.post("/v1/reload", fields{"force": true}); code != http.StatusOK {
			t.Errorf("reload: %d %s", code, text)
		}
	})
	for asked := 0; s.log.line(at, "msg=reloaded") == "" || asked < 100; asked++ {
		m := s.client().ask(t, question("myregistry.example.io", "A", subnet(seattle)))
		if got := addresses(m); len(got) != 1 || got[0] != "192.0.2.77" && got[0] != "192.0.2.10" {
			t.Fatalf("during a reload: %v", m)
		}
	}
	if m := s.client().ask(t, question("another.example.io", "A")); m.Rcode != dns.RcodeNameError {
		t.Errorf("a registry that was taken out: %v", m)
	}
	if line := s.reload(strings.Replace(minimal, `"127.0.0.1:0", "[::1]:0"`, `"127.0.0.1:0"`, 1)); !strings.Contains(line, "msg=reloaded") {
		t.Errorf("log: %s", line)
	}
	s.waitLog(at, `msg="a changed setting takes a restart" setting=server`)
}

// TestStop ends a server that has open connections: idle ones, ones in the middle
// of a message, and one whose query has just been sent. That one is answered.
func TestStop(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, minimal)
	var conns []net.Conn
	for i := range 30 {
		conn, err := s.ns.dial(t.Context(), "tcp", s.addrs[i%len(s.addrs)].String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if i%2 == 1 { // the length of a message that does not come
			if _, err := conn.Write([]byte{0, 40, 1, 2, 3}); err != nil {
				t.Fatal(err)
			}
		}
		conns = append(conns, conn)
	}
	eventually(t, patience, "the connections are counted", func() bool { return s.scrape().get(t, "portolan_tcp_connections") == 30 })
	msg := query(exampleName, dns.TypeA)
	if _, err := conns[0].Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...)); err != nil {
		t.Fatal(err)
	}
	t.Logf("stopped %v after SIGTERM, with 30 connections open", s.stop().Round(time.Millisecond))
	if s.log.line(0, "msg=stopped") == "" {
		t.Error("the log does not say that it has stopped")
	}
	for i, conn := range conns {
		if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		answer, err := readMessage(conn)
		switch {
		case i == 0 && (err != nil || string(answer[:2]) != string(msg[:2])):
			t.Errorf("the query of the last moment: %x, %v", answer, err)
		case i > 0 && !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET):
			t.Errorf("connection %d: %x, %v", i, answer, err)
		}
	}
}

// TestStopAmidReloads asks for more reloads than can be done, and then to stop: that
// must not be what is forgotten.
func TestStopAmidReloads(t *testing.T) {
	s := serve(t, nil, minimal)
	for range 200 {
		s.signal(syscall.SIGHUP)
		time.Sleep(time.Millisecond) // or the system makes one signal of them
	}
	s.stop()
}

// TestStart measures what an operator waits for and pays: the first answer, and
// the memory, with the embedded location data.
func TestStart(t *testing.T) {
	s := serve(t, nil, minimal)
	s.client().ask(t, question("myregistry.example.io", "A"))
	first := time.Since(s.began)
	memory := s.memory()
	for range 5 {
		if line := s.hup(); !strings.Contains(line, "msg=reloaded") {
			t.Fatal(line)
		}
	}
	t.Logf("first answer %v after the start; resident memory %d MB, after five reloads %d MB", first.Round(time.Millisecond), memory>>20, s.memory()>>20)
	if first > 15*time.Second { // beside the tests of other packages
		t.Errorf("the first answer came %v after the start", first)
	}
	if memory > 150<<20 {
		t.Errorf("%d MB resident", memory>>20)
	}
}

// TestRestart stops a server and starts it again at the same addresses, with the
// same folders: at once, and with a serial that has not fallen.
func TestRestart(t *testing.T) {
	t.Parallel()
	one := serve(t, nil, strings.Replace(minimal, `"127.0.0.1:0", "[::1]:0"`, fmt.Sprintf("%q", freePort(t)), 1))
	serial := one.serial(t)
	fixed := one.fixed(minimal)
	for what, second := range map[string]struct{ config, want string }{
		"at the same address":     {one.fixed(strings.ReplaceAll(minimal, "$DIR", t.TempDir())), "address already in use"},
		"with the same state.dir": {strings.ReplaceAll(minimal, "$DIR", one.dir), "in use by another process"},
	} {
		if o := run(t, nil, portolan(t), "serve", "-c", writeConfig(t, second.config)); o.code != 1 || !strings.Contains(o.text, second.want) {
			t.Errorf("a second server %s: exit code %d: %s", what, o.code, o.text)
		}
	}
	one.stop()
	two := serve(t, nil, fixed)
	if now := two.serial(t); now < serial {
		t.Errorf("the serial was %d before the restart and is %d", serial, now)
	}
}

// fixed returns a configuration for another server in the place of s: at its first
// address, with its folder.
func (s *server) fixed(config string) string {
	return strings.NewReplacer(`"127.0.0.1:0", "[::1]:0"`, fmt.Sprintf("%q", s.addrs[0]), "$DIR", s.dir).Replace(config)
}

// TestSerialOverRestart makes more changes than seconds pass, and restarts: caches
// and monitors that compare serials must not see an older zone.
func TestSerialOverRestart(t *testing.T) {
	t.Parallel()
	fixed := strings.Replace(minimal, `"127.0.0.1:0", "[::1]:0"`, fmt.Sprintf("%q", freePort(t)), 1)
	one := serve(t, nil, fixed)
	for i := range 12 {
		if line := one.reload(strings.ReplaceAll(fixed, "192.0.2.10", fmt.Sprintf("192.0.2.%d", 100+i))); !strings.Contains(line, "msg=reloaded") {
			t.Fatal(line)
		}
	}
	serial := one.serial(t)
	one.stop()
	if now := serve(t, nil, one.fixed(minimal)).serial(t); now < serial {
		t.Errorf("the serial was %d before the restart and is %d", serial, now)
	}
}

// writeConfig writes a configuration to a folder of its own.
func writeConfig(t *testing.T, config string) string {
	t.Helper()
	s := &server{dir: t.TempDir()}
	s.write(t, file{"portolan.yaml", config})
	return s.dir + "/portolan.yaml"
}

// freePort returns an address on loopback that nobody listens at, over TCP or UDP: for
// programs that do not say which port they took, and servers that come back. The system
// gives it to nobody meanwhile: it takes ports from 32768 on.
func freePort(t *testing.T) string {
	t.Helper()
	for range 1000 {
		const first, ports = 12_000, 20_000
		n := uint32(os.Getpid())*577 + portsTaken.Add(1) // apart from other processes that look for one
		addr := fmt.Sprintf("127.0.0.1:%d", first+n%ports)
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", addr)
		if err != nil {
			continue
		}
		c, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", addr)
		_ = l.Close()
		if err != nil {
			continue
		}
		_ = c.Close()
		return addr
	}
	t.Fatal("no port is free")
	return ""
}

var portsTaken atomic.Uint32
