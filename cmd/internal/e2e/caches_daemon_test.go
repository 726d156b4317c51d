//go:build linux

package e2e

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// In a namespace of caches, Portolan and the cache each have an address at port 53.
const (
	authorityAddr = "127.0.0.1"
	cacheAddr     = "127.0.0.53"
	rootAddr      = "127.0.0.2"
	distantAddr   = "127.0.0.3"
)

// The addresses of hosts in two towns, from which tests ask caches that see no
// client subnet but that of the asker.
const (
	seattleHost   = "128.95.0.10"
	amsterdamHost = "145.18.0.10"
)

// daemon is a kind of DNS cache.
type daemon struct {
	name, program string
	// start starts it at cacheAddr, in front of the server at authorityAddr. Settings
	// are further lines of its configuration, or further arguments.
	start func(t *testing.T, n *netns, dir string, settings []string) *process
	// perFamily is true where even what is the same for all clients is kept once for
	// clients with IPv4 and once for those with IPv6.
	perFamily bool
}

// The daemons under test. None of them is told more than it needs to: what is
// not written here is as Debian ships it.
var (
	unbound  = daemon{name: "unbound", program: "unbound", start: startUnbound, perFamily: true}
	recursor = daemon{name: "pdns-recursor", program: "pdns_recursor", start: startRecursor}
	dnsmasq  = daemon{name: "dnsmasq", program: "dnsmasq", start: startDnsmasq}
)

// startUnbound starts Unbound, whose module subnetcache keeps tailored answers by
// scope.
//
//   - By default it sends nothing to loopback (do-not-query-localhost).
//   - A name that is once in the cache of all clients is answered from there, and
//     the module is never asked; client-subnet-always-forward leaves that cache out
//     for clients that bring a subnet of their own.
//   - It asks again after 50 ms and more (infra-cache-min-rtt): on a busy machine that
//     would be counted as a second question.
//   - It keeps no more than 100 subnets per name and type (max-ecs-tree-size).
//   - It follows an alias itself, whatever else the answer holds, and minimises query
//     names (RFC 9156) on the way: where the global name is an alias it asks for the
//     empty non-terminals above the regional name, then for that, for each subnet.
func startUnbound(t *testing.T, n *netns, dir string, settings []string) *process {
	t.Helper()
	config := fmt.Sprintf(`server:
  interface: %s
  directory: %q
  root-hints: %q
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  access-control: 0.0.0.0/0 allow
  num-threads: 1
  do-not-query-localhost: no
  module-config: "subnetcache iterator"
  send-client-subnet: 127.0.0.0/8
  client-subnet-always-forward: yes
  max-ecs-tree-size-ipv4: 10000
  max-ecs-tree-size-ipv6: 10000
  unknown-server-time-limit: 2000
  infra-cache-min-rtt: 2000
  %s
remote-control:
  control-enable: no
`, cacheAddr, dir, rootHints(t, dir), strings.Join(settings, "\n  "))
	path := filepath.Join(dir, "unbound.conf")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return start(t, n, "unbound", "-d", "-p", "-c", path)
}

// startRecursor starts the PowerDNS Recursor.
//
//   - By default it sends nothing to loopback (dont-query).
//   - It echoes a client subnet only with a scope of 0, and then perhaps that of
//     another client, out of its packet cache.
//   - The addresses that come with an alias are no authoritative data to it, yet they
//     are kept with the scope, in front of those that are: while they last it asks for
//     the addresses of the regional name each time. The decision, which is the alias,
//     it keeps as it should.
//   - Zones in forward-zones are asked past the cache after an alias, and without the
//     subnet; so the test delegates, as the world does.
func startRecursor(t *testing.T, n *netns, dir string, settings []string) *process {
	t.Helper()
	config := fmt.Sprintf(`daemon=no
local-address=%s
allow-from=0.0.0.0/0
hint-file=%s
dont-query=
edns-subnet-allow-list=%s
ecs-add-for=0.0.0.0/0
use-incoming-edns-subnet=yes
security-poll-suffix=
export-etc-hosts=no
socket-dir=%s
write-pid=no
disable-syslog=yes
network-timeout=10000
threads=1
%s
`, cacheAddr, rootHints(t, dir), authorityAddr, dir, strings.Join(settings, "\n"))
	if err := os.WriteFile(filepath.Join(dir, "recursor.conf"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return start(t, n, "pdns_recursor", "--config-dir="+dir)
}

// rootHints writes the file that tells a cache where the root is.
func rootHints(t *testing.T, dir string) (path string) {
	t.Helper()
	path = filepath.Join(dir, "root.hints")
	if err := os.WriteFile(path, []byte(rootNS+"\n"+rootA+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const (
	rootNS = ". 518400 IN NS a.root."
	rootA  = "a.root. 518400 IN A " + rootAddr
)

// serveRoot serves a root zone in which example.io is delegated to the server, so
// that caches come to it as they do in the world.
func serveRoot(t *testing.T, n *netns, delegated string) {
	t.Helper()
	parse := func(text string) []dns.RR {
		rr, err := dns.NewRR(text)
		if err != nil {
			panic(err) // the texts here
		}
		return []dns.RR{rr}
	}
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		if q.IsEdns0() != nil {
			m.SetEdns0(1232, false)
		}
		name, qtype := strings.ToLower(q.Question[0].Name), q.Question[0].Qtype
		m.Authoritative = true
		switch {
		case dns.IsSubDomain("example.io.", name):
			m.Authoritative = false
			m.Ns = parse("example.io. 172800 IN NS ns1.example.io.")
			m.Extra = append(m.Extra, parse("ns1.example.io. 172800 IN A "+delegated)...)
		case name == "." && qtype == dns.TypeNS:
			m.Answer, m.Extra = parse(rootNS), append(m.Extra, parse(rootA)...)
		case name == "a.root." && qtype == dns.TypeA:
			m.Answer = parse(rootA)
		default: // io. and root. exist, and have nothing
			m.Ns = parse(". 86400 IN SOA a.root. hostmaster.root. 1 1800 900 604800 86400")
		}
		_ = w.WriteMsg(m) // who does not get it asks again
	})
	serveDNS(t, n, rootAddr+":53", handler)
}

// serveDelayed serves what the server answers, a while after it has.
func serveDelayed(t *testing.T, n *netns, server client, delay time.Duration) {
	t.Helper()
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		conn, err := n.dial(ctx, server.network, server.server.String())
		if err != nil {
			return // the cache asks again
		}
		defer conn.Close()
		m, _, err := (&dns.Client{Timeout: patience, UDPSize: dns.DefaultMsgSize}).ExchangeWithConn(q, &dns.Conn{Conn: conn})
		if err != nil {
			return
		}
		time.Sleep(delay) // the distance
		_ = w.WriteMsg(m)
	})
	serveDNS(t, n, distantAddr+":53", handler)
}

// startDnsmasq starts dnsmasq, whose cache does not know of subnets: see
// [TestForwarderWithoutSubnets] and those after it.
func startDnsmasq(t *testing.T, n *netns, _ string, settings []string) *process {
	t.Helper()
	return start(t, n, "dnsmasq", append([]string{
		"--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=", "--pid-file=",
		"--log-facility=-", "--log-queries", "--bind-interfaces", "--listen-address=" + cacheAddr, "--server=" + authorityAddr,
	}, settings...)...)
}

// cached is a cache in front of a server, in a namespace of their own.
type cached struct {
	*server
	wire *tap
	// direct asks the server past the cache.
	direct client
}

// serveCached starts the server, the cache in front of it, and a tap between the
// two.
func serveCached(t *testing.T, d daemon, config string, settings ...string) *cached {
	t.Helper()
	return serveDistant(t, d, 0, config, settings...)
}

// serveDistant is serveCached with answers that take their time to get to the cache.
func serveDistant(t *testing.T, d daemon, delay time.Duration, config string, settings ...string) *cached {
	t.Helper()
	need(t, d.program)
	n := newNetns(t, cacheAddr, seattleHost+"/32", amsterdamHost+"/32")
	s := serve(t, n, config)
	c := &cached{server: s, wire: newTap(t, n), direct: s.client()}
	delegated := authorityAddr
	if delay > 0 {
		delegated = distantAddr
		serveDelayed(t, n, s.client(), delay)
	}
	serveRoot(t, n, delegated)
	p := d.start(t, n, t.TempDir(), settings)
	eventually(t, patience, d.name+" answers", func() bool {
		if p.ended() {
			t.Fatalf("%s has ended", d.name)
		}
		// All of them know localhost, or refuse it: nothing goes upstream.
		_, err := c.host("").exchange(question("localhost", "A"), time.Second)
		return err == nil
	})
	return c
}

// host is one that asks the cache from an address of its own; "" is any.
type host struct {
	ns   *netns
	addr string
}

func (c *cached) host(addr string) host { return host{c.ns, addr} }

func (h host) exchange(q *dns.Msg, wait time.Duration) (*dns.Msg, error) {
	q.RecursionDesired = true
	dialer := new(net.Dialer)
	if h.addr != "" {
		dialer.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(h.addr), 0))
	}
	var conn net.Conn
	err := h.ns.do(func() (err error) {
		conn, err = dialer.DialContext(context.Background(), "udp", net.JoinHostPort(cacheAddr, "53"))
		return err
	})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(wait)); err != nil {
		return nil, err
	}
	c := &dns.Conn{Conn: conn, UDPSize: dns.DefaultMsgSize}
	if err := c.WriteMsg(q); err != nil {
		return nil, err
	}
	m, err := c.ReadMsg()
	if err == nil && m.Id != q.Id {
		err = fmt.Errorf("answer %d to query %d", m.Id, q.Id)
	}
	return m, err
}

// ask asks the cache, which must answer.
func (h host) ask(t *testing.T, q *dns.Msg) *dns.Msg {
	t.Helper()
	m, err := h.exchange(q, patience)
	if err != nil {
		t.Fatalf("the cache does not answer %v: %v", q.Question, err)
	}
	return m
}
