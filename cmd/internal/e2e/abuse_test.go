//go:build linux

package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// abuseConfig lets nobody be exempt, so that the loopback addresses of the test are
// limited like any others.
const abuseConfig = `
server:
  listen: ["127.0.0.1:0"]
  tls: {listen: ["127.0.0.1:0"], certificate: cert.pem, key: key.pem}
  tcp: {connections: %d, per_prefix: 0, idle: 10m, message: 1m, handshake: 1m}
  rate_limit: {exempt: []}
admin: {socket: $DIR/admin.sock, metrics: "127.0.0.1:0"}
state: {dir: $DIR}
zones: {example.io: {nameservers: {ns1: [192.0.2.53]}}}
registries:
  myregistry:
    replicas:
      westus: {addresses: [192.0.2.10]}
      eastus: {addresses: [192.0.2.20]}
`

// The bounds that SECURITY.md states.
const (
	idleConnection = 24 << 10 // memory of a connection that waits
	halfHandshake  = 48 << 10 // and of one in the middle of a TLS handshake
	floodMemory    = 48 << 20 // what garbage collection may lag behind under load
	ownFiles       = 64       // file descriptors besides those of connections
)

// TestAbuse does at once what each of the rows 52 to 58 does: many idle connections,
// TLS handshakes that never end, floods of malformed messages and of queries from
// made-up sources. Somebody who just asks must not notice, and memory and file
// descriptors keep within their bounds. With PORTOLAN_LONG there are 10,000
// connections, more of everything, and the stricter measure of notice: three times
// the latency of an idle server.
func TestAbuse(t *testing.T) {
	idle, loris, rate, asks := 1000, 50, 4000, 100
	notice := time.Second // beside all other tests
	if long() {
		idle, loris, rate, asks, notice = 10_000, 500, 20_000, 500, 2*time.Millisecond
	}
	s := serve(t, nil, fmt.Sprintf(abuseConfig, idle+loris), selfSigned(t)...)
	calm := s.latencies(t, asks)
	before := s.memory()
	ctx, cancel := context.WithCancel(t.Context())
	var attackers sync.WaitGroup
	defer attackers.Wait()
	defer cancel()
	s.openIdle(t, idle)
	s.openLoris(ctx, t, &attackers, loris)
	var sent atomic.Int64
	for i := range 4 {
		attackers.Go(func() { flood(ctx, t, s.addrs[0], uint64(i), rate/4, &sent) })
	}
	eventually(t, patience, "the attack to be under way", func() bool { return sent.Load() > int64(rate)/2 })

	attacked := s.latencies(t, asks)
	t.Logf("p50 and p99: %v, %v before; %v, %v under %d connections and %d hostile messages", at(calm, 50), at(calm, 99), at(attacked, 50), at(attacked, 99), idle+loris, sent.Load())
	if limit := max(3*at(calm, 99), notice); at(attacked, 99) > limit {
		t.Errorf("p99 %v under attack, want at most %v", at(attacked, 99), limit)
	}
	for _, c := range []client{{nil, s.addrs[0], "tcp"}, {nil, s.tls[0], "tls"}} {
		if m := c.ask(t, question("myregistry.example.io", "A")); len(m.Answer) != 1 {
			t.Errorf("%v: %v", c, m)
		}
	}
	grown, bound := s.memory()-before, idle*idleConnection+loris*halfHandshake+floodMemory
	t.Logf("memory grew by %d KiB, of a bound of %d KiB", grown>>10, bound>>10)
	if grown > bound {
		t.Errorf("memory grew by %d octets, want at most %d", grown, bound)
	}
	if n := s.files(); n > idle+loris+ownFiles {
		t.Errorf("%d file descriptors, want at most %d", n, idle+loris+ownFiles)
	}
	eventually(t, patience, "some of the flood is limited", func() bool { return s.scrape().sum("portolan_responses_limited_total") > 0 })
	m := s.scrape()
	if n := m.sum("portolan_panics_total"); n != 0 {
		t.Errorf("%v panics", n)
	}
	if n := m.get(t, "portolan_tcp_connections"); n < float64(idle)*9/10 {
		t.Errorf("%v connections are open, want most of %d", n, idle)
	}
}

// latencies asks n times over UDP, below the rate limit, and returns how long each
// answer took, sorted. All must come, a few of them when asked for again: a machine
// that is busy with other tests may lose a datagram before the server sees it.
func (s *server) latencies(t *testing.T, n int) []time.Duration {
	t.Helper()
	took, lost := make([]time.Duration, n), 0
	pace := time.NewTicker(15 * time.Millisecond)
	defer pace.Stop()
	for i := range took {
		<-pace.C
		msg, err := question("myregistry.example.io", "A").Pack()
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		answer, err := s.client().exchange(t, msg, 5*time.Second)
		for errors.Is(err, os.ErrDeadlineExceeded) && lost < n/20 {
			lost++
			began = time.Now()
			answer, err = s.client().exchange(t, msg, 5*time.Second)
		}
		took[i] = time.Since(began)
		m := new(dns.Msg)
		if err != nil || m.Unpack(answer) != nil || len(m.Answer) != 1 || m.Truncated {
			t.Fatalf("answer %d, %d lost before: %v, %v", i, lost, err, m)
		}
	}
	slices.Sort(took)
	return took
}

// at returns a percentile of sorted durations.
func at(sorted []time.Duration, percent int) time.Duration {
	return sorted[(len(sorted)-1)*percent/100]
}

// openIdle opens connections that have each asked once and ask no more.
func (s *server) openIdle(t *testing.T, n int) {
	t.Helper()
	msg, err := question("myregistry.example.io", "A").Pack()
	if err != nil {
		t.Fatal(err)
	}
	msg = append([]byte{byte(len(msg) >> 8), byte(len(msg))}, msg...)
	for i := range n {
		conn, err := net.Dial("tcp", s.addrs[0].String())
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_, _ = conn.Write(msg)
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		if _, err := readMessage(conn); err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
	}
}

// openLoris opens TLS connections that send a client hello octet by octet.
func (s *server) openLoris(ctx context.Context, t *testing.T, wg *sync.WaitGroup, n int) {
	t.Helper()
	var conns []net.Conn
	for range n {
		conn, err := net.Dial("tcp", s.tls[0].String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		conns = append(conns, conn)
	}
	wg.Go(func() {
		hello := append([]byte{0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3}, make([]byte, 505)...)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for _, octet := range hello {
			for _, c := range conns {
				_, _ = c.Write([]byte{octet})
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
}

// flood sends malformed messages, random names and random client subnets from a few
// made-up addresses until ctx ends, about rate of them a second, and reads nothing.
func flood(ctx context.Context, t *testing.T, to netip.AddrPort, seed uint64, rate int, sent *atomic.Int64) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	var conns []net.Conn
	for i := range 2 {
		from := &net.UDPAddr{IP: net.IPv4(127, 9, byte(seed), byte(1+i))}
		conn, err := net.DialUDP("udp4", from, net.UDPAddrFromAddrPort(to))
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		conns = append(conns, conn)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		for range rate / 100 {
			_, _ = conns[rng.IntN(len(conns))].Write(hostile(rng))
		}
		sent.Add(int64(rate / 100))
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// hostile returns a message of one of the kinds that servers are attacked with.
func hostile(rng *rand.Rand) []byte {
	subnet := ecs(1, 24, 0, byte(1+rng.IntN(220)), byte(rng.IntN(256)), byte(rng.IntN(256)))
	switch msg := query(exampleName, dns.TypeA, opt(1232, 0, subnet)); rng.IntN(5) {
	case 0: // octets of no meaning
		for i := range msg {
			msg[i] = byte(rng.Uint32())
		}
		return msg
	case 1: // a query with a few octets changed
		for range 3 {
			msg[rng.IntN(len(msg))] = byte(rng.Uint32())
		}
		return msg
	case 2: // cut short
		return msg[:rng.IntN(len(msg))]
	case 3: // a name that is not there
		return query(fmt.Sprintf("x%x.example.io", rng.Uint64()), dns.TypeA)
	default: // a query from another place each time
		return msg
	}
}

// files counts the file descriptors of the process.
func (s *server) files() int {
	s.t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.now.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	return len(entries)
}
