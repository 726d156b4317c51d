//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// targetsConfig has replicas that are known by host names, where the global name
// must answer addresses. Without holds: a client would else stay where it was when
// its replica could not be answered yet.
const targetsConfig = `
server: {listen: ["127.0.0.1:53"], identity: e2e}
admin: {socket: $DIR/admin.sock, metrics: "127.0.0.1:0"}
state: {dir: $DIR}
geo: {default_region: westus}
zones:
  example.io: {nameservers: {ns1: [192.0.2.53, "2001:db8::53"]}}
  whole.example.com: {nameservers: {ns1.example.io: []}}
registries:
  direct:
    zone: example.io
    answer: address
    families: dual
    sticky: off
    regional_endpoints: enabled
    replicas:
      westus: {target: lb-westus.example.net}
      westeurope: {target: lb-westeurope.example.net}
  apex:
    zone: whole.example.com
    name: "@"
    sticky: off
    replicas:
      westus: {target: lb-westus.example.net}
      westeurope: {target: lb-westeurope.example.net}
`

// standIn is a resolver that knows what it has been told, as records in text.
type standIn struct {
	mu      sync.Mutex
	records map[string][]string // by owner name and type: "lb-westus.example.net. A"
	broken  bool                // answers SERVFAIL
}

func (s *standIn) set(name, qtype string, records ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records[name+". "+qtype] = records
}

func (s *standIn) breakDown() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = true
}

// ServeDNS implements [dns.Handler].
func (s *standIn) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := new(dns.Msg).SetReply(q)
	if s.broken {
		m.Rcode = dns.RcodeServerFailure
	} else {
		for _, text := range s.records[q.Question[0].Name+" "+dns.TypeToString[q.Question[0].Qtype]] {
			rr, err := dns.NewRR(text)
			if err != nil {
				panic(err) // a test's own text
			}
			m.Answer = append(m.Answer, rr)
		}
	}
	_ = w.WriteMsg(m) // who does not get it asks again
}

// TestTargets leads clients to replicas without fixed addresses: they come from
// the system's resolver, before anybody asks, and stay when it fails.
func TestTargets(t *testing.T) {
	t.Parallel()
	n := newNetns(t, "127.0.0.54")
	resolver := &standIn{records: make(map[string][]string)}
	resolver.set("lb-westus.example.net", "A",
		"lb-westus.example.net. 1 IN CNAME a.lb.example.net.", "a.lb.example.net. 1 IN A 198.51.100.11", "a.lb.example.net. 1 IN A 198.51.100.10")
	resolver.set("lb-westus.example.net", "AAAA", "lb-westus.example.net. 1 IN AAAA 2001:db8::10")
	serveDNS(t, n, "127.0.0.54:53", resolver)
	s := serve(t, n, targetsConfig)

	// Europe's host name does not resolve yet: that replica cannot be answered, and
	// everybody is led to the other one.
	for _, name := range []string{"direct.example.io", "whole.example.com"} {
		wantTarget(t, s, name, "A", amsterdam, "198.51.100.10", "198.51.100.11")
	}
	wantTarget(t, s, "direct.example.io", "AAAA", seattle, "2001:db8::10")
	// The families of a target are not known before it resolves: IPv4 alone, unless
	// the configuration says more.
	wantTarget(t, s, "whole.example.com", "AAAA", seattle)
	m := s.client().ask(t, question("direct.westeurope.geo.example.io", "A"))
	if got := records(m.Answer); !slices.Equal(got, []string{"direct.westeurope.geo.example.io. 300 IN CNAME lb-westeurope.example.net."}) {
		t.Errorf("regional name: %v", got)
	}

	// It resolves, and the other moves.
	resolver.set("lb-westeurope.example.net", "A", "lb-westeurope.example.net. 1 IN A 198.51.100.30")
	resolver.set("lb-westeurope.example.net", "AAAA", "lb-westeurope.example.net. 1 IN AAAA 2001:db8::30")
	resolver.set("lb-westus.example.net", "A", "lb-westus.example.net. 1 IN A 198.51.100.99")
	for _, name := range []string{"direct.example.io", "whole.example.com"} {
		wantTarget(t, s, name, "A", amsterdam, "198.51.100.30")
		wantTarget(t, s, name, "A", seattle, "198.51.100.99")
	}
	wantTarget(t, s, "direct.example.io", "AAAA", amsterdam, "2001:db8::30")

	// The resolver fails: the last good addresses stay.
	resolver.breakDown()
	s.waitLog(0, "a target does not resolve")
	wantTarget(t, s, "direct.example.io", "A", seattle, "198.51.100.99")
}

// serveTargets serves targets whose names a resolver of the test's own knows:
// lb-westus as 198.51.100.1 and 2001:db8::1, lb-westeurope as .2 and ::2.
func serveTargets(t *testing.T) (*standIn, *server) {
	t.Helper()
	n := newNetns(t, "127.0.0.54")
	resolver := &standIn{records: make(map[string][]string)}
	for i, host := range []string{"lb-westus", "lb-westeurope"} {
		host += ".example.net"
		resolver.set(host, "A", fmt.Sprintf("%s. 60 IN A 198.51.100.%d", host, i+1))
		resolver.set(host, "AAAA", fmt.Sprintf("%s. 60 IN AAAA 2001:db8::%d", host, i+1))
	}
	serveDNS(t, n, "127.0.0.54:53", resolver)
	return resolver, serve(t, n, targetsConfig)
}

// TestTargetsOverReload loads the configuration again while the system's resolver
// is broken: what was resolved before is served on.
func TestTargetsOverReload(t *testing.T) {
	t.Parallel()
	resolver, s := serveTargets(t)
	wantTarget(t, s, "direct.example.io", "A", seattle, "198.51.100.1")
	wantTarget(t, s, "direct.example.io", "A", amsterdam, "198.51.100.2")
	wantTarget(t, s, "direct.example.io", "AAAA", amsterdam, "2001:db8::2")
	wantTarget(t, s, "whole.example.com", "A", amsterdam, "198.51.100.2")
	resolver.breakDown()
	if line := s.hup(); !strings.Contains(line, "msg=reloaded") {
		t.Fatal(line)
	}
	for name, want := range map[string]string{"direct.example.io": "198.51.100.2", "whole.example.com": "198.51.100.2"} {
		m := s.client().ask(t, question(name, "A", subnet(amsterdam)))
		if got := addresses(m); !slices.Equal(got, []string{want}) {
			t.Errorf("%s after a reload: %v", name, m)
		}
	}
}

// TestTargetsOverKill kills the server while the system's resolver is dead, and starts
// it again: the first answer is what was answered before.
func TestTargetsOverKill(t *testing.T) {
	t.Parallel()
	resolver, s := serveTargets(t)
	wantTarget(t, s, "direct.example.io", "A", amsterdam, "198.51.100.2")
	wantTarget(t, s, "whole.example.com", "A", amsterdam, "198.51.100.2")
	wantTarget(t, s, "direct.example.io", "AAAA", seattle, "2001:db8::1")
	eventually(t, patience, "all that was resolved is saved", func() bool {
		b, _ := os.ReadFile(filepath.Join(s.dir, "ledger.db.targets"))
		return strings.Count(string(b), "198.51.100.") == 4 // by host and what the registry serves
	})
	resolver.breakDown()
	s.kill()
	s.again(t)
	for _, tt := range []struct{ name, qtype, prefix, want string }{
		{"direct.example.io", "A", amsterdam, "198.51.100.2"},
		{"whole.example.com", "A", amsterdam, "198.51.100.2"},
		{"direct.example.io", "A", seattle, "198.51.100.1"},
		{"direct.example.io", "AAAA", seattle, "2001:db8::1"},
	} {
		m := s.client().ask(t, question(tt.name, tt.qtype, subnet(tt.prefix)))
		if got := addresses(m); !slices.Equal(got, []string{tt.want}) {
			t.Errorf("%s after a restart: %v", tt.name, m)
		}
	}
	if out, err := s.ns.command(portolan(t), "status", "--socket", s.socket()).CombinedOutput(); err != nil || strings.Count(string(out), "target stale for") != 4 {
		t.Errorf("%v: %s", err, out)
	}
}

// wantTarget waits until a global name answers these addresses and nothing else.
// Targets are looked up again after five seconds at the earliest.
func wantTarget(t *testing.T, s *server, name, qtype, prefix string, want ...string) {
	t.Helper()
	var last *dns.Msg
	defer func() {
		if t.Failed() {
			t.Logf("the last answer: %v", last)
		}
	}()
	eventually(t, patience, fmt.Sprintf("%s %s for %s is %v", name, qtype, prefix, want), func() bool {
		last = s.client().ask(t, question(name, qtype, subnet(prefix)))
		return last.Rcode == dns.RcodeSuccess && len(last.Answer) == len(want) && slices.Equal(addresses(last), want)
	})
}
