//go:build linux

package e2e

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// tookPlace finds the process in the log line about an upgrade.
var tookPlace = regexp.MustCompile(`msg=upgraded .*pid=([0-9]+)`)

// upgrade has the next process take the server's place, as the verb does, and
// returns when the old one has gone. The server stands for the next one from then on.
func (s *server) upgrade() {
	s.t.Helper()
	at := s.log.len()
	must(s.t, s.ns, portolan(s.t), "upgrade", "--socket", s.socket())
	s.follow(at)
}

// follow makes the process that took the place of this one, by the log from an offset
// on, the one to signal, once the old one has gone.
func (p *process) follow(at int) {
	p.t.Helper()
	m := tookPlace.FindStringSubmatch(p.waitLog(at, "msg=upgraded"))
	if m == nil {
		p.t.Fatal("no process in the log line")
	}
	pid, err := strconv.Atoi(m[1])
	if err != nil {
		p.t.Fatal(err)
	}
	if p.now, err = os.FindProcess(pid); err != nil {
		p.t.Fatal(err)
	}
	p.waitLog(at, "the process before has ended")
}

// asker asks one query after the other, each time for the global name, and wants
// every answer.
type asker struct {
	client
	conn   net.Conn // one for all of them
	asked  int
	failed error
}

func (a *asker) run(stop <-chan struct{}) {
	for id := uint16(1); a.failed == nil; id++ {
		select {
		case <-stop:
			return
		default:
		}
		q := question("myregistry.example.io", "A", subnet(seattle))
		q.Id = id
		a.failed = a.ask(q)
		a.asked++
	}
}

func (a *asker) ask(q *dns.Msg) error {
	msg, err := q.Pack()
	if err != nil {
		return err
	}
	if err := a.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	var answer []byte
	if a.network == "udp" {
		answer, err = a.datagram(msg)
	} else {
		answer, err = a.stream(msg)
	}
	if err != nil {
		return err
	}
	r := new(dns.Msg)
	if err := r.Unpack(answer); err != nil {
		return err
	}
	if got := addresses(r); r.Id != q.Id || len(got) != 1 || got[0] != "192.0.2.10" {
		return fmt.Errorf("query %d: %v", q.Id, r)
	}
	return nil
}

func (a *asker) datagram(msg []byte) ([]byte, error) {
	if _, err := a.conn.Write(msg); err != nil {
		return nil, err
	}
	answer := make([]byte, 4096)
	n, err := a.conn.Read(answer)
	return answer[:n], err
}

// stream sends in two parts, so that processes change places within queries, too.
func (a *asker) stream(msg []byte) ([]byte, error) {
	msg = append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...)
	if _, err := a.conn.Write(msg[:7]); err != nil {
		return nil, err
	}
	if _, err := a.conn.Write(msg[7:]); err != nil {
		return nil, err
	}
	return readMessage(a.conn)
}

// TestUpgrade changes processes several times while clients ask without pause over all
// transports: each query is answered, with the replica that the client is held on; what
// operators have decided stays, as do counters and cookies.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, upgradable)
	admin := s.operator(t)
	var asks sync.WaitGroup
	stop := make(chan struct{})
	var askers []*asker
	for _, c := range s.clients() {
		conn, err := c.dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		a := &asker{client: c, conn: conn}
		askers = append(askers, a)
		if err := a.ask(question("myregistry.example.io", "A", subnet(seattle))); err != nil {
			t.Fatal(err)
		}
		a.asked++
	}
	admin.must("/v1/drain", fields{"registry": "myregistry", "region": "westus"})
	newcomers := 0
	newcomer := func() string {
		newcomers++
		r := s.client().ask(t, question("myregistry.example.io", "A", subnet(fmt.Sprintf("128.95.%d.0/24", 10+newcomers))))
		if got := addresses(r); len(got) == 1 {
			return got[0]
		}
		return ""
	}
	eventually(t, patience, "the drain is in force", func() bool { return newcomer() == "192.0.2.20" })
	cookie := func(m *dns.Msg) { // one that a process has given and any other must know
		m.Extra[0].(*dns.OPT).Option = append(m.Extra[0].(*dns.OPT).Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0102030405060708"})
	}
	given := s.client().ask(t, question("example.io", "SOA", edns(1232), cookie))
	newcomers++

	for _, a := range askers {
		asks.Go(func() { a.run(stop) })
	}
	const upgrades = 4
	for i := range upgrades {
		if at := s.log.len(); i%2 == 0 {
			s.upgrade()
		} else {
			s.signal(syscall.SIGUSR2)
			s.follow(at)
		}
		if got := newcomer(); got != "192.0.2.20" {
			t.Errorf("after upgrade %d a new client is led to %q: the replica is drained", i+1, got)
		}
	}
	close(stop)
	asks.Wait()
	total := 0
	for _, a := range askers {
		if a.failed != nil {
			t.Errorf("%v: query %d: %v", a.client, a.asked, a.failed)
		}
		t.Logf("%v: %d queries", a.client, a.asked)
		total += a.asked
	}
	if got := s.scrape().sum("portolan_queries_total"); got != float64(total+newcomers) {
		t.Errorf("%v queries are counted after %d upgrades, %d were asked", got, upgrades, total+newcomers)
	}
	if !sameCookie(given, s.client().ask(t, question("example.io", "SOA", edns(1232), func(m *dns.Msg) {
		m.Extra[0].(*dns.OPT).Option = given.IsEdns0().Option
	}))) {
		t.Error("the cookie of the first process is none to the last")
	}
	if line := s.log.line(0, "level=ERROR"); line != "" {
		t.Errorf("log: %s", line)
	}
}

// sameCookie says whether both answers bear one cookie, as those of one second do and
// of processes with one secret.
func sameCookie(a, b *dns.Msg) bool {
	find := func(m *dns.Msg) string {
		for _, o := range m.IsEdns0().Option {
			if c, ok := o.(*dns.EDNS0_COOKIE); ok {
				return c.Cookie
			}
		}
		return ""
	}
	return len(find(a)) == 48 && find(a) == find(b)
}

// TestUpgradeWithTLS has a connection over TLS open, which only the process can serve
// that has its keys: it stays there, and the old process for as long. Everything else is the new
// one's at once.
func TestUpgradeWithTLS(t *testing.T) {
	t.Parallel()
	config := strings.Replace(upgradable, `identity: e2e`, `identity: e2e, tls: {listen: ["127.0.0.1:0"], certificate: cert.pem, key: key.pem}`, 1)
	s := serve(t, nil, config, selfSigned(t)...)
	var secure *asker
	for _, c := range s.clients() {
		if c.network == "tls" {
			conn, err := c.dial(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			secure = &asker{client: c, conn: conn}
		}
	}
	ask := func() {
		t.Helper()
		if err := secure.ask(question("myregistry.example.io", "A", subnet(seattle))); err != nil {
			t.Error(err)
		}
	}
	ask()
	at := s.log.len()
	must(t, nil, portolan(t), "upgrade", "--socket", s.socket())
	// Until the old process has closed its listeners it may take a request, too, and can
	// only refuse it.
	eventually(t, patience, "a drain is decided", func() bool {
		code, _ := s.operator(t).post("/v1/drain", fields{"registry": "myregistry", "region": "eastus"})
		return code == http.StatusOK
	})
	ask()
	if line := s.log.line(at, "left to the next process"); line != "" {
		t.Errorf("the old process has a connection: %s", line)
	}
	_ = secure.conn.Close()
	s.follow(at)
}

// upgradable lets drains take effect at once, and connections live as long as their
// clients ask.
var upgradable = strings.NewReplacer(
	"state: {dir: $DIR}", "state: {dir: $DIR, grace: 0s}", "identity: e2e", "identity: e2e, tcp: {pipeline: 1073741824}",
).Replace(minimal)

// TestUpgradeFails has the next process fail in every way there is: the old one goes
// on, says why, and decides as before.
func TestUpgradeFails(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "portolan")
	copyFile(t, portolan(t), program)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	s := serveProgram(t, program, patience, nil, upgradable)
	admin := s.operator(t)
	for _, c := range []struct {
		name, want string
		before     func()
	}{
		{"the configuration is broken", "portolan.yaml:", func() { s.configure(t, broken[2].config) }},
		{"an address is taken", "address already in use", func() {
			s.configure(t, strings.Replace(upgradable, `"127.0.0.1:0", "[::1]:0"`, `"127.0.0.1:0", "[::1]:0", "`+taken.Addr().String()+`"`, 1))
		}},
		{"the program is none", "start the program on disk", func() {
			s.configure(t, upgradable)
			replaceFile(t, program, "no program\n")
		}},
		{"the program is gone", "no such file", func() { _ = os.Remove(program) }},
	} {
		c.before()
		o := run(t, nil, portolan(t), "upgrade", "--socket", s.socket())
		if o.code != 1 || !strings.Contains(o.text, c.want) {
			t.Errorf("%s: exit code %d: %s", c.name, o.code, o.text)
		}
		if got := s.client().ask(t, question("myregistry.example.io", "A", subnet(seattle))); len(addresses(got)) != 1 {
			t.Errorf("%s: %v", c.name, got)
		}
		admin.must("/v1/drain", fields{"registry": "myregistry", "region": "eastus"})
		admin.must("/v1/undrain", fields{"registry": "myregistry", "region": "eastus"})
	}
	if s.ended() {
		t.Fatal("the old process has ended")
	}
	copyFile(t, portolan(t), program)
	s.upgrade()
	var events []struct{ Kind string }
	admin.get("/v1/events", &events)
	drains := 0
	for _, e := range events {
		if e.Kind == "drain" {
			drains++
		}
	}
	if drains != 4 {
		t.Errorf("%d drains in the ledger, 4 were ordered", drains)
	}
}

// TestUpgradeKilled has next processes that say nothing and are killed, or end: the old
// one goes on.
func TestUpgradeKilled(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "portolan")
	copyFile(t, portolan(t), program)
	// Without the sandbox any program can be started.
	s := serveProgram(t, program, patience, nil, strings.Replace(upgradable, "identity: e2e", "identity: e2e, sandbox: false", 1))
	id := filepath.Join(s.dir, "id")
	for _, c := range []struct {
		script string
		killed bool
	}{
		{"#!/bin/sh\necho $$ >" + id + ".new && mv " + id + ".new " + id + "\nexec sleep 1000\n", true},
		{"#!/bin/sh\nexit 0\n", false},
	} {
		replaceFile(t, program, c.script)
		at := s.log.len()
		s.signal(syscall.SIGUSR2)
		if c.killed {
			var next int
			eventually(t, patience, "the next process", func() bool {
				text, err := os.ReadFile(id)
				if err != nil {
					return false
				}
				next, err = strconv.Atoi(strings.TrimSpace(string(text)))
				return err == nil
			})
			if err := syscall.Kill(next, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
		if line := s.waitLog(at, "upgrade"); !strings.Contains(line, "the next process has ended") {
			t.Errorf("log: %s", line)
		}
		if got := s.client().ask(t, question("myregistry.example.io", "A", subnet(seattle))); len(addresses(got)) != 1 {
			t.Errorf("%v", got)
		}
	}
	copyFile(t, portolan(t), program)
	s.upgrade()
}

// copyFile puts a copy of a program at path, in the place of what is there.
func copyFile(t *testing.T, from, path string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	replaceFile(t, path, string(text))
}

// replaceFile puts a program at path in the place of what is there, as a package
// manager does: who runs the old one goes on with it.
func replaceFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}
