//go:build linux

package e2e

import (
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// forwarderConfig leads loopback, which has no place, to eastus, where no town that
// asks is led. Each replica has two addresses, which dnsmasq rotates.
const forwarderConfig = `
server: {listen: ["127.0.0.1:53"], identity: e2e}
admin: {socket: $DIR/admin.sock, metrics: "127.0.0.1:0"}
state: {dir: $DIR}
geo: {default_region: eastus}
zones: {example.io: {nameservers: {ns1: [127.0.0.1]}}}
registries:
  alias:
    regional_endpoints: enabled
    replicas:
      westus: {addresses: [192.0.2.10, 192.0.2.11, "2001:db8::10", "2001:db8::11"]}
      eastus: {addresses: [192.0.2.20, 192.0.2.21, "2001:db8::20", "2001:db8::21"]}
      westeurope: {addresses: [192.0.2.30, 192.0.2.31, "2001:db8::30", "2001:db8::31"]}
  direct:
    replicas:
      westus: {addresses: [192.0.2.12, 192.0.2.13, "2001:db8::12", "2001:db8::13"]}
      eastus: {addresses: [192.0.2.22, 192.0.2.23, "2001:db8::22", "2001:db8::23"]}
      westeurope: {addresses: [192.0.2.32, 192.0.2.33, "2001:db8::32", "2001:db8::33"]}
  ipv4: {replicas: {westus: {addresses: [192.0.2.14]}, eastus: {addresses: [192.0.2.24]}, westeurope: {addresses: [192.0.2.34]}}}
  ipv4-alias:
    regional_endpoints: enabled
    replicas: {westus: {addresses: [192.0.2.15]}, eastus: {addresses: [192.0.2.25]}, westeurope: {addresses: [192.0.2.35]}}
`

// forwarded is a question to dnsmasq and what it led to.
type forwarded struct {
	name, qtype, from string
	rcode             int
	region            string
	upstream          []string
}

// TestForwarder asks through dnsmasq, the cache on many hosts: it forwards, and its
// cache knows nothing of subnets.
//
//   - Types other than addresses and aliases are not kept (cache-rr is the option).
//   - The option --add-subnet turns the cache off, unless the subnet is a constant.
//   - A subnet that a client brings itself is passed on. Without --add-subnet the
//     tailored answer is then kept for all; with --add-subnet the answer is dropped
//     as a forgery. Either is cured by --strip-subnet.
func TestForwarder(t *testing.T) {
	t.Parallel()
	const ok, none = dns.RcodeSuccess, dns.RcodeNameError
	for _, w := range []struct {
		name     string
		settings []string
		asks     []forwarded
	}{
		{"no subnets", nil, []forwarded{
			// One address for the server: one replica for every host behind it.
			{"alias", "A", seattleHost, ok, "eastus", []string{"alias.example.io A"}},
			{"alias", "A", amsterdamHost, ok, "eastus", nil},
			{"alias", "AAAA", amsterdamHost, ok, "eastus", []string{"alias.example.io AAAA"}},
			{"alias", "AAAA", seattleHost, ok, "eastus", nil},
			{"alias.westus.geo", "A", seattleHost, ok, "westus", []string{"alias.westus.geo.example.io A"}},
			{"alias.westus.geo", "A", amsterdamHost, ok, "westus", nil},
			{"direct", "A", seattleHost, ok, "eastus", []string{"direct.example.io A"}},
			{"direct", "A", amsterdamHost, ok, "eastus", nil},
			{"direct", "AAAA", amsterdamHost, ok, "eastus", []string{"direct.example.io AAAA"}},
			{"direct", "AAAA", seattleHost, ok, "eastus", nil},
			// What is not there is kept for as long as the SOA says.
			{"ipv4", "AAAA", seattleHost, ok, "", []string{"ipv4.example.io AAAA"}},
			{"ipv4", "AAAA", amsterdamHost, ok, "", nil},
			{"ipv4", "A", amsterdamHost, ok, "eastus", []string{"ipv4.example.io A"}},
			{"ipv4-alias", "AAAA", seattleHost, ok, "", []string{"ipv4-alias.example.io AAAA"}},
			{"ipv4-alias", "AAAA", amsterdamHost, ok, "", nil},
			{"nowhere", "A", seattleHost, none, "", []string{"nowhere.example.io A"}},
			{"nowhere", "A", amsterdamHost, none, "", nil},
			{"nowhere", "AAAA", amsterdamHost, none, "", nil}, // no name, no types
			{"geo", "A", seattleHost, ok, "", []string{"geo.example.io A"}},
			{"geo", "A", amsterdamHost, ok, "", nil},
		}},
		{"subnets of clients stripped", []string{"--strip-subnet"}, []forwarded{
			{"direct", "A", amsterdam, ok, "eastus", []string{"direct.example.io A"}},
			{"direct", "A", seattleHost, ok, "eastus", nil},
		}},
		{"subnet of the asker", []string{"--add-subnet=24,56", "--strip-subnet"}, []forwarded{
			{"alias", "A", seattleHost, ok, "westus", []string{"alias.example.io A 128.95.0.0/24"}},
			{"alias", "A", amsterdamHost, ok, "westeurope", []string{"alias.example.io A 145.18.0.0/24"}},
			{"alias", "AAAA", seattleHost, ok, "westus", []string{"alias.example.io AAAA 128.95.0.0/24"}},
			{"alias", "AAAA", amsterdamHost, ok, "westeurope", []string{"alias.example.io AAAA 145.18.0.0/24"}},
			{"alias", "A", seattleHost, ok, "westus", []string{"alias.example.io A 128.95.0.0/24"}},
			{"nowhere", "A", seattleHost, none, "", []string{"nowhere.example.io A 128.95.0.0/24"}},
			{"nowhere", "A", seattleHost, none, "", []string{"nowhere.example.io A 128.95.0.0/24"}},
		}},
		{"constant subnet", []string{"--add-subnet=145.18.0.0/24,145.18.0.0/24"}, []forwarded{
			{"direct", "A", seattleHost, ok, "westeurope", []string{"direct.example.io A 145.18.0.0/24"}},
			{"direct", "A", amsterdamHost, ok, "westeurope", nil},
			{"direct", "AAAA", amsterdamHost, ok, "westeurope", []string{"direct.example.io AAAA 145.18.0.0/24"}},
			{"direct", "AAAA", seattleHost, ok, "westeurope", nil},
			{"nowhere", "A", seattleHost, none, "", []string{"nowhere.example.io A 145.18.0.0/24"}},
			{"nowhere", "A", amsterdamHost, none, "", nil},
		}},
		// Source 0: the client does not want to be told by a subnet.
		{"empty subnet", []string{"--add-subnet", "--strip-subnet"}, []forwarded{
			{"alias", "A", seattleHost, ok, "eastus", []string{"alias.example.io A 0.0.0.0/0"}},
			{"alias", "A", amsterdamHost, ok, "eastus", nil},
		}},
	} {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			c := serveCached(t, dnsmasq, forwarderConfig, w.settings...)
			for _, f := range w.asks {
				a := c.ask(t, f.name, f.qtype, f.from)
				if a.answer.Rcode != f.rcode || a.region != f.region || !slices.Equal(a.upstream, f.upstream) {
					t.Errorf("%s %s from %s: rcode %d, replica %q, upstream %q; want %d, %q, %q",
						f.name, f.qtype, f.from, a.answer.Rcode, a.region, a.upstream, f.rcode, f.region, f.upstream)
				}
			}
			c.agree(t, w.name)
		})
	}
}

// TestForwarderHonorsTTL asks dnsmasq all the time: it asks upstream when the TTL is
// over and not before, for what is there and for what is not.
func TestForwarderHonorsTTL(t *testing.T) {
	t.Parallel()
	const ttl = 2 * time.Second
	c := serveCached(t, dnsmasq, `
server: {listen: ["127.0.0.1:53"], identity: e2e}
admin: {socket: $DIR/admin.sock, metrics: "127.0.0.1:0"}
state: {dir: $DIR}
zones: {example.io: {nameservers: {ns1: [127.0.0.1]}, negative_ttl: 2s}}
registries:
  direct:
    sticky: {ttl: 2s}
    replicas: {westus: {addresses: [192.0.2.11]}, eastus: {addresses: [192.0.2.21]}}
`)
	for _, name := range []string{"direct", "nowhere"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // the queries of the other are not counted
			var asked []time.Time
			var machine stalls
			eventually(t, patience, "three queries upstream", func() bool {
				machine.look()
				m := c.host("").ask(t, question(name+".example.io", "A"))
				for _, rr := range m.Answer {
					if left := time.Duration(rr.Header().Ttl) * time.Second; left > ttl {
						t.Errorf("TTL %v, want %v at most", left, ttl)
					}
				}
				asked = c.wire.times(name + ".example.io A")
				return len(asked) >= 3
			})
			for i := 1; i < len(asked); i++ {
				// Whole seconds: the first and the last may be parts of one.
				if gap := asked[i].Sub(asked[i-1]); gap < ttl-time.Second-machine.total || gap > ttl+time.Second+slack+machine.total {
					t.Errorf("dnsmasq asked again for %s after %v, want %v", name, gap, ttl)
				}
			}
		})
	}
}
