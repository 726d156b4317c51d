package app_test

import (
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"portolan.dev/cmd/internal/app"
)

// nameServer is a recursive resolver as far as target names go.
type nameServer struct {
	addr string

	mu       sync.Mutex
	hosts    map[string][]string // addresses by host; none: SERVFAIL
	truncate bool                // answers over datagrams have nothing but TC
	asked    map[string]int
}

func newNameServer(tb testing.TB) *nameServer {
	tb.Helper()
	n := &nameServer{hosts: map[string][]string{}, asked: map[string]int{}}
	udp, tcp := listenBoth(tb)
	n.addr = udp.LocalAddr().String()
	for _, s := range []*dns.Server{
		{PacketConn: udp, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, m *dns.Msg) { n.answer(w, m, true) })},
		{Listener: tcp, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, m *dns.Msg) { n.answer(w, m, false) })},
	} {
		started, done := make(chan struct{}), make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go func() {
			defer close(done)
			_ = s.ActivateAndServe() // ends with Shutdown
		}()
		<-started
		tb.Cleanup(func() {
			_ = s.Shutdown()
			<-done
		})
	}
	return n
}

// listenBoth takes a port that is free for both transports.
func listenBoth(tb testing.TB) (net.PacketConn, net.Listener) {
	tb.Helper()
	for range 100 {
		udp, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			tb.Fatal(err)
		}
		tcp, err := net.Listen("tcp", udp.LocalAddr().String())
		if err == nil {
			return udp, tcp
		}
		_ = udp.Close()
	}
	tb.Fatal("no port is free for both transports")
	return nil, nil
}

func (n *nameServer) answer(w dns.ResponseWriter, q *dns.Msg, datagram bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	m := new(dns.Msg)
	m.SetReply(q)
	name := q.Question[0].Name
	n.asked[name]++
	addrs, ok := n.hosts[name]
	switch {
	case !ok:
		m.Rcode = dns.RcodeServerFailure
	case datagram && n.truncate:
		m.Truncated = true
	default:
		for _, a := range addrs {
			rrtype := "A"
			if strings.Contains(a, ":") {
				rrtype = "AAAA"
			}
			if dns.StringToType[rrtype] == q.Question[0].Qtype {
				rr, err := dns.NewRR("alias." + name + " 1 IN " + rrtype + " " + a)
				if err != nil {
					panic(err)
				}
				m.Answer = append(m.Answer, rr)
			}
		}
	}
	_ = w.WriteMsg(m)
}

func (n *nameServer) set(host string, addrs ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(addrs) == 0 {
		delete(n.hosts, host)
		return
	}
	n.hosts[host] = addrs
}

func (n *nameServer) count(host string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked[host]
}

const targeted = head + `
zones: {own.test: {nameservers: {ns.test.: []}}}
registries:
  own: {name: "@", sticky: off, replicas: {westus: {target: west.lb.test}, westeurope: {target: europe.lb.test}}}
`

func startTargets(t *testing.T, n *nameServer, text string) *server {
	t.Helper()
	s := newServer(t, text, app.Options{Resolvers: []string{"127.0.0.1:1", n.addr}})
	s.Start()
	return s
}

// A replica whose target is not resolved yet is not chosen; what was resolved once
// stays when the resolver fails, over reloads too; new addresses are served, with
// a higher serial.
func TestTargets(t *testing.T) {
	t.Parallel()
	n := newNameServer(t)
	n.set("europe.lb.test.", "192.0.2.41", "192.0.2.40")
	s := startTargets(t, n, targeted)
	served := func() string { return strings.Join(s.addresses(t, "own.test.", seattle), " ") }
	eventually(t, "the replica that resolves is served", func() bool { return served() == "192.0.2.40 192.0.2.41" })
	for range 20 { // and the nearer one, which does not, never
		if got := served(); got != "192.0.2.40 192.0.2.41" {
			t.Fatalf("served %s", got)
		}
	}
	first := s.serial(t, "own.test.")
	n.set("west.lb.test.", "192.0.2.10", "2001:db8::10")
	eventually(t, "the nearer one is served once it resolves", func() bool { return served() == "192.0.2.10" })
	second := s.serial(t, "own.test.")
	if second <= first {
		t.Errorf("serial %d after %d", second, first)
	}
	// Families are unset: IPv4 alone, for every client.
	if m := s.ask(t, "own.test.", dns.TypeAAAA, seattle); len(m.Answer) != 0 || m.Rcode != dns.RcodeSuccess {
		t.Errorf("AAAA: %v", m)
	}

	n.set("west.lb.test.")
	asked := n.count("west.lb.test.")
	eventually(t, "the resolver has failed", func() bool { return n.count("west.lb.test.") > asked+1 })
	if got := served(); got != "192.0.2.10" {
		t.Errorf("served %s, and the last good is kept", got)
	}
	s.write(t, targeted+"    # a comment\n")
	s.reload(t)
	for range 20 {
		if got := served(); got != "192.0.2.10" {
			t.Fatalf("served %s after a reload, and the last good is kept", got)
		}
	}

	third := s.serial(t, "own.test.")
	n.set("west.lb.test.", "192.0.2.11")
	eventually(t, "new addresses are served", func() bool { return served() == "192.0.2.11" })
	if serial := s.serial(t, "own.test."); serial <= third {
		t.Errorf("serial %d after %d: other addresses are a change of what is served", serial, third)
	}
}

// An unresolved replica is no reason for SERVFAIL while another resolves, and with
// none resolved there is nothing else to say.
func TestNothingResolved(t *testing.T) {
	t.Parallel()
	n := newNameServer(t)
	s := startTargets(t, n, targeted)
	eventually(t, "the resolver is asked", func() bool { return n.count("west.lb.test.") > 0 })
	if m := s.ask(t, "own.test.", dns.TypeA, seattle); m.Rcode != dns.RcodeServerFailure {
		t.Errorf("%v", m)
	}
}

// A target with more addresses than a datagram holds is asked for again by TCP.
func TestTruncatedTarget(t *testing.T) {
	t.Parallel()
	n := newNameServer(t)
	n.truncate = true
	n.set("west.lb.test.", "192.0.2.10")
	s := startTargets(t, n, targeted)
	eventually(t, "the target is resolved", func() bool {
		return slices.Equal(s.addresses(t, "own.test.", seattle), []string{"192.0.2.10"})
	})
}

// With both families served, each question gets its own.
func TestDualTargets(t *testing.T) {
	t.Parallel()
	n := newNameServer(t)
	n.set("west.lb.test.", "192.0.2.10", "2001:db8::10")
	s := startTargets(t, n, strings.Replace(targeted, `name: "@"`, `name: "@", families: dual`, 1))
	eventually(t, "the target is resolved", func() bool {
		return slices.Equal(s.addresses(t, "own.test.", seattle), []string{"192.0.2.10"})
	})
	m := s.ask(t, "own.test.", dns.TypeAAAA, seattle)
	if len(m.Answer) != 1 || !strings.HasSuffix(m.Answer[0].String(), "AAAA\t2001:db8::10") {
		t.Errorf("%v", m)
	}
}

// A target without a family that is served gets an empty answer for it, whose scope is
// that of all negative answers: caches share them whatever they are told (RFC 7871
// section 7.4), and a scope of its own would be one of two that overlap. The operator is
// told, once.
func TestTargetLacksFamily(t *testing.T) {
	t.Parallel()
	n := newNameServer(t)
	n.set("west.lb.test.", "192.0.2.10", "2001:db8::10")
	n.set("europe.lb.test.", "192.0.2.40")
	s := startTargets(t, n, strings.Replace(targeted, `name: "@"`, `name: "@", families: dual`, 1))
	eventually(t, "the targets are resolved", func() bool {
		return slices.Equal(s.addresses(t, "own.test.", amsterdam), []string{"192.0.2.40"}) && slices.Equal(s.addresses(t, "own.test.", seattle), []string{"192.0.2.10"})
	})
	scope := func(m *dns.Msg) int {
		t.Helper()
		for _, o := range m.IsEdns0().Option {
			if e, ok := o.(*dns.EDNS0_SUBNET); ok {
				return int(e.SourceScope)
			}
		}
		t.Fatalf("no client subnet in %v", m)
		return 0
	}
	m := s.ask(t, "own.test.", dns.TypeAAAA, amsterdam)
	if len(m.Answer) != 0 || m.Rcode != dns.RcodeSuccess || len(m.Ns) != 1 || m.Ns[0].Header().Rrtype != dns.TypeSOA || scope(m) != 0 {
		t.Errorf("%v", m)
	}
	for _, tt := range []struct {
		subnet string
		qtype  uint16
	}{{amsterdam, dns.TypeA}, {seattle, dns.TypeA}, {seattle, dns.TypeAAAA}} {
		if m := s.ask(t, "own.test.", tt.qtype, tt.subnet); len(m.Answer) != 1 || scope(m) == 0 {
			t.Errorf("%s: %v", tt.subnet, m)
		}
	}
	asked := n.count("europe.lb.test.")
	eventually(t, "it is resolved again", func() bool { return n.count("europe.lb.test.") >= asked+4 })
	lines := s.logs.records(t, "a target lacks an address family that its registry serves; caches may tell clients of other replicas so, too")
	if len(lines) != 1 || lines[0]["target"] != "europe.lb.test." {
		t.Errorf("logged %v", lines)
	}
}

// Addresses that come in another order are no change.
func TestRotatedTarget(t *testing.T) {
	t.Parallel()
	n := newNameServer(t)
	n.set("west.lb.test.", "192.0.2.10", "192.0.2.11")
	s := startTargets(t, n, targeted)
	eventually(t, "the target is resolved", func() bool { return len(s.addresses(t, "own.test.", seattle)) == 2 })
	serial := s.serial(t, "own.test.")
	n.set("west.lb.test.", "192.0.2.11", "192.0.2.10")
	asked := n.count("west.lb.test.")
	// Before it is asked for the second time, what came of the first has been looked at.
	eventually(t, "it is resolved again, and again", func() bool { return n.count("west.lb.test.") > asked+1 })
	if got := s.serial(t, "own.test."); got != serial {
		t.Fatalf("serial %d after %d", got, serial)
	}
}
