//go:build linux

package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// cachesConfig has two registries of each kind: with and without holds, which decides
// on the scope, and with and without regional names, which decides whether the
// global name is an alias. One site lies in the middle of Seattle's network.
const cachesConfig = `
server: {listen: ["127.0.0.1:53"], identity: e2e}
admin: {socket: $DIR/admin.sock, metrics: "127.0.0.1:0"}
state: {dir: $DIR}
zones: {example.io: {nameservers: {ns1: [127.0.0.1]}}}
geo:
  networks:
    site: {prefixes: [128.95.64.0/20, "2001:4860:7000::/40"], region: eastus}
registries:
  open:
    sticky: {hold: 0s}
    replicas: {westus: {addresses: [192.0.2.11, "2001:db8::11"]}, eastus: {addresses: [192.0.2.21, "2001:db8::21"]}, westeurope: {addresses: [192.0.2.31, "2001:db8::31"]}}
  open-alias:
    sticky: {hold: 0s}
    regional_endpoints: enabled
    replicas: {westus: {addresses: [192.0.2.12, "2001:db8::12"]}, eastus: {addresses: [192.0.2.22, "2001:db8::22"]}, westeurope: {addresses: [192.0.2.32, "2001:db8::32"]}}
  held:
    replicas: {westus: {addresses: [192.0.2.13, "2001:db8::13"]}, eastus: {addresses: [192.0.2.23, "2001:db8::23"]}, westeurope: {addresses: [192.0.2.33, "2001:db8::33"]}}
  held-alias:
    regional_endpoints: enabled
    replicas: {westus: {addresses: [192.0.2.14, "2001:db8::14"]}, eastus: {addresses: [192.0.2.24, "2001:db8::24"]}, westeurope: {addresses: [192.0.2.34, "2001:db8::34"]}}
`

// cachedReplica returns the one replica of an answer in cachesConfig; "" for none.
func cachedReplica(t *testing.T, m *dns.Msg) (region string) {
	t.Helper()
	regions := map[string]string{"1": "westus", "2": "eastus", "3": "westeurope"}
	for _, a := range addresses(m) {
		last := a[strings.LastIndexAny(a, ".:")+1:]
		if r := regions[last[:1]]; r == "" || region != "" && r != region {
			t.Errorf("two replicas in one answer, or a strange one: %v", m)
		}
		region = regions[last[:1]]
	}
	return region
}

// asks is one question through the cache and what it led to.
type asks struct {
	answer    *dns.Msg
	region    string
	upstream  []string // queries that reached the server, but those for its own name
	decisions int      // those of them for the name that was asked
	wire      int      // all queries that reached the server
}

// ask asks the cache from a client: a client subnet, or the address of a host. When
// caches look up the addresses of the name server is their own business.
func (c *cached) ask(t *testing.T, name, qtype, from string) asks {
	t.Helper()
	h, q := c.host(""), question(name+".example.io", qtype)
	if strings.Contains(from, "/") {
		subnet(from)(q)
	} else {
		h = c.host(from)
	}
	c.wire.take()
	a := asks{answer: h.ask(t, q)}
	a.region, a.upstream = cachedReplica(t, a.answer), c.wire.take()
	a.wire = len(a.upstream)
	a.upstream = slices.DeleteFunc(a.upstream, func(u string) bool { return strings.HasPrefix(u, "ns1.example.io ") })
	for _, u := range a.upstream {
		if strings.HasPrefix(u, name+".example.io ") {
			a.decisions++
		}
	}
	return a
}

// agree waits until the server has counted just what was on the wire since it began.
// Caches ask for the addresses of the name server when they like, and perhaps at this
// moment.
func (c *cached) agree(t *testing.T, what string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		counted := int(c.scrape().sum("portolan_queries_total"))
		c.wire.take()
		if counted == c.wire.total {
			return
		}
		if time.Now().After(end) {
			t.Errorf("%s: the server has counted %d queries, and %d were on the wire", what, counted, c.wire.total)
			return
		}
	}
}

// decided is what the server itself answers a client.
type decided struct {
	region string
	block  netip.Prefix // what a cache may share the answer within
}

func (c *cached) decided(t *testing.T, name, from string) decided {
	t.Helper()
	m := c.direct.ask(t, question(name+".example.io", "A", subnet(from)))
	c.wire.take() // before the tap has no room left
	o, ok := optionOf[*dns.EDNS0_SUBNET](m)
	if !ok {
		t.Fatalf("no client subnet: %v", m)
	}
	p := netip.MustParsePrefix(from)
	// A cache knows no more of the client than the source (RFC 7871 section 7.3.1).
	block, err := p.Addr().Prefix(min(int(o.SourceScope), p.Bits()))
	if err != nil {
		t.Fatal(err)
	}
	return decided{cachedReplica(t, m), block}
}

// neighbors returns clients around some places, each as far from the last as one
// bit or a few: inside the scope of others, and just outside. In IPv6 they are
// sites (/56), of which a /48 holds 256.
func neighbors(n int) []string {
	r := rand.New(rand.NewPCG(7871, 1))
	places := []string{seattle, newYork, amsterdam, "128.95.64.0/24", "2607:f0d0:1000::/56", "2001:4860:7000::/56", "2a00:1450:4000::/56"}
	out := slices.Clone(places)
	for len(out) < n {
		p := netip.MustParsePrefix(out[r.IntN(len(out))])
		a := p.Addr().AsSlice()
		bit := p.Bits() - 1 - r.IntN(14)
		a[bit/8] ^= 0x80 >> (bit % 8)
		addr, _ := netip.AddrFromSlice(a)
		out = append(out, netip.PrefixFrom(addr, p.Bits()).String())
	}
	return out
}

// TestCachesReuseByScope asks through caches for many clients. What a cache does is
// foretold from the scopes that the server gives: it asks for a client outside all
// blocks it has seen, and for nobody else, and everybody gets what the server
// itself would have said.
func TestCachesReuseByScope(t *testing.T) {
	t.Parallel()
	for _, d := range []daemon{unbound, recursor} {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			c := serveCached(t, d, cachesConfig)
			clients := neighbors(120)
			c.wantScopes(t)
			for _, name := range []string{"open", "open-alias", "held", "held-alias"} {
				t.Run(name, func(t *testing.T) { c.reuse(t, name, clients) })
			}
		})
	}
}

// wantScopes wants the scopes on which the test rests.
func (c *cached) wantScopes(t *testing.T) {
	t.Helper()
	for _, w := range []struct {
		name, from  string
		least, most int
		region      string
	}{
		// Without holds the widest prefix with the same ranked list; the site lies in
		// the lower half of Seattle's /16, and cuts it.
		{"open", seattle, 17, 18, "westus"},
		{"open", newYork, 8, 23, "eastus"},
		{"open", amsterdam, 8, 23, "westeurope"},
		{"open", "128.95.64.0/24", 20, 20, "eastus"},
		{"open", "2607:f0d0:1000::/56", 16, 47, "eastus"},
		// With holds the unit that is held together.
		{"held", seattle, 24, 24, "westus"},
		{"held", amsterdam, 24, 24, "westeurope"},
		{"held", "128.95.64.0/24", 20, 20, "eastus"},
		{"held", "2607:f0d0:1000::/56", 48, 48, "eastus"},
		{"held", "2001:4860:7000::/56", 40, 40, "eastus"},
	} {
		for _, name := range []string{w.name, w.name + "-alias"} {
			if d := c.decided(t, name, w.from); d.region != w.region || d.block.Bits() < w.least || d.block.Bits() > w.most {
				t.Errorf("%s for %s: %s for %v, want %s for /%d to /%d", name, w.from, d.region, d.block, w.region, w.least, w.most)
			}
		}
	}
}

// reuse asks for one name from all clients, and looks at packets and counters.
func (c *cached) reuse(t *testing.T, name string, clients []string) {
	t.Helper()
	want := make([]decided, len(clients))
	for i, from := range clients {
		want[i] = c.decided(t, name, from)
	}
	before := c.scrape()
	var blocks []netip.Prefix
	upstream, regions := 0, make(map[string]int)
	for i, from := range clients {
		addr, misses := netip.MustParsePrefix(from).Addr(), 0
		if !slices.ContainsFunc(blocks, func(b netip.Prefix) bool { return b.Contains(addr) }) {
			blocks, misses = append(blocks, want[i].block), 1
		}
		a := c.ask(t, name, "A", from)
		if a.region != want[i].region || a.decisions != misses {
			t.Errorf("%s, which shares %v: answer %s after %d queries for the name, want %s after %d; upstream %q",
				from, want[i].block, a.region, a.decisions, want[i].region, misses, a.upstream)
		}
		if !strings.HasSuffix(name, "-alias") && len(a.upstream) != misses {
			t.Errorf("%s: upstream %q, want %d", from, a.upstream, misses)
		}
		upstream += a.wire
		regions[a.region]++
	}
	after := c.scrape()
	if n := after.sum("portolan_answers_total", fmt.Sprintf("registry=%q", name)) - before.sum("portolan_answers_total", fmt.Sprintf("registry=%q", name)); n != float64(len(blocks)) {
		t.Errorf("answers_total rose by %v, want %d", n, len(blocks))
	}
	c.agree(t, name)
	t.Logf("%d clients %v, %d blocks, %d queries upstream", len(clients), regions, len(blocks), upstream)
	if len(blocks) < 10 || len(clients)-len(blocks) < 10 || len(regions) != 3 {
		t.Errorf("too few hits or misses, or regions, to prove anything")
	}
}

// TestCachesKeepSitesApart asks for sites longer than /24 and /48 and for the clients on
// both sides of them, in both orders: no cache gives one the answer of the other.
func TestCachesKeepSitesApart(t *testing.T) {
	t.Parallel()
	var config strings.Builder
	config.WriteString(`
server: {listen: ["127.0.0.1:53"], identity: e2e}
admin: {socket: $DIR/admin.sock, metrics: "127.0.0.1:0"}
state: {dir: $DIR}
zones: {example.io: {nameservers: {ns1: [127.0.0.1]}}}
geo:
  networks:
    lab: {prefixes: [128.95.7.64/26, "2600:1700:abc:100::/56"], region: westeurope}
    128.95.7.130/32: eastus
    2600:1700:abc:2ff::/64: westeurope
registries:
`)
	for _, name := range []string{"held-1", "held-2", "open-1", "open-2"} {
		fmt.Fprintf(&config, "  %s: {sticky: {hold: %s}, replicas: {westus: {addresses: [192.0.2.11]}, eastus: {addresses: [192.0.2.21]}, westeurope: {addresses: [192.0.2.31]}}}\n",
			name, map[string]string{"held": "15m", "open": "0s"}[name[:4]])
	}
	// Unbound cuts the subnets of its clients to /24 and /56 unless told otherwise.
	c := serveCached(t, unbound, config.String(), "max-client-subnet-ipv4: 32", "max-client-subnet-ipv6: 128")
	clients := []string{
		"128.95.7.65/32", "128.95.7.63/32", "128.95.7.128/32", "128.95.7.129/32", "128.95.7.130/32", "128.95.7.131/32", "128.95.7.255/32", "128.95.6.255/32",
		"2600:1700:abc:100::1/128", "2600:1700:abc:ff::1/128", "2600:1700:abc:200::1/128", "2600:1700:abc:2ff::1/128", "2600:1700:abc:2fe::1/128", "2600:1700:abc:ff00::1/128",
	}
	for _, name := range []string{"held-1", "held-2", "open-1", "open-2"} {
		order := slices.Clone(clients)
		if strings.HasSuffix(name, "2") {
			slices.Reverse(order)
		}
		regions := make(map[string]int)
		for _, from := range order {
			want := c.decided(t, name, from)
			if got := c.ask(t, name, "A", from); got.region != want.region {
				t.Errorf("%s: %s gets %s through the cache, want %s", name, from, got.region, want.region)
			}
			regions[want.region]++
		}
		if regions["westeurope"] != 3 || len(regions) < 2 {
			t.Errorf("%s: %v: nothing to keep apart", name, regions)
		}
	}
}
