//go:build linux

package e2e

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// protocolConfig has a registry of every kind.
const protocolConfig = `
server: {listen: ["127.0.0.1:0", "[::1]:0"], identity: e2e, version: e2e-version}
admin: {socket: $DIR/admin.sock, metrics: "127.0.0.1:0"}
state: {dir: $DIR}
geo: {default_region: westus}
zones:
  example.io:
    nameservers:
      ns1: [192.0.2.53, "2001:db8::53"]
      ns2.example.net: []
    records: example.io.zone
  whole.example.com: {nameservers: {ns1.example.io: []}}
registries:
  myregistry:
    zone: example.io
    regional_endpoints: enabled
    data_endpoints: enabled
    replicas:
      westus: {addresses: [192.0.2.10, 192.0.2.11, "2001:db8::10"], data: {target: blobs-westus.example.net}}
      eastus: {addresses: [192.0.2.20, "2001:db8::20"], data: {addresses: [198.51.100.20, "2001:db8::d20"]}}
      westeurope: {addresses: [192.0.2.30, "2001:db8::30", "2001:db8::31"]}
  plain:
    zone: example.io
    sticky: {ttl: 45s}
    replicas:
      westus: {addresses: [192.0.2.110, 192.0.2.111, "2001:db8::110"]}
      eastus: {addresses: [192.0.2.120, "2001:db8::120"]}
      westeurope: {addresses: [192.0.2.130, "2001:db8::130"]}
  two.labels:
    zone: example.io
    regional_endpoints: enabled
    families: ipv4
    replicas:
      westus: {addresses: [192.0.2.210], global_endpoint_routing: false}
      eastus: {addresses: [192.0.2.220]}
  apex:
    zone: whole.example.com
    name: "@"
    regional_endpoints: enabled
    replicas:
      westus: {addresses: [203.0.113.10, "2001:db8:1::10"]}
      westeurope: {addresses: [203.0.113.30, "2001:db8:1::30"]}
  cloud:
    zone: example.io
    regional_endpoints: enabled
    replicas:
      westus: {target: lb-westus.example.net}
      westeurope: {target: lb-westeurope.example.net}
  cloud-plain:
    zone: example.io
    replicas:
      westus: {target: lb-westus.example.net}
      westeurope: {target: lb-westeurope.example.net}
  nobody:
    zone: example.io
    regional_endpoints: enabled
    replicas:
      westus: {addresses: [192.0.2.99], global_endpoint_routing: false}
`

const protocolZone = `
@          IN MX    10 mail
@          IN TXT   "v=spf1 -all"
@          IN CAA   0 issue "ca.example.net"
www        IN CNAME web.example.net.
deep.down  IN TXT   "below an empty non-terminal"
mail  300  IN A     192.0.2.25
`

// serveProtocol starts a server with all kinds of names.
func serveProtocol(t *testing.T) *server {
	t.Helper()
	return serve(t, nil, protocolConfig, file{"example.io.zone", protocolZone})
}

// exchange is a question and all that is to come back; records are written as
// dig writes them, with a serial of 0.
type exchange struct {
	name, qtype string
	from        string // client subnet; "" for none: the client is on loopback, whose region is westus
	rcode       int
	answer      []string
	authority   []string
	additional  []string
	ede         string // "code text"
}

const (
	exampleSOA = "example.io. 60 IN SOA ns1.example.io. hostmaster.example.io. 0 7200 900 1209600 60"
	wholeSOA   = "whole.example.com. 60 IN SOA ns1.example.io. hostmaster.whole.example.com. 0 7200 900 1209600 60"
)

// noData and nxDomain are the negative answers.
func noData(name, qtype string) exchange {
	return exchange{name: name, qtype: qtype, authority: []string{exampleSOA}}
}

func nxDomain(name, qtype string) exchange {
	e := noData(name, qtype)
	e.rcode = dns.RcodeNameError
	return e
}

// globalNames are the exchanges of global names: one replica, all its addresses.
func globalNames() []exchange {
	const alias = "myregistry.example.io. 60 IN CNAME myregistry."
	return []exchange{
		{name: "myregistry.example.io", qtype: "A", answer: []string{
			alias + "westus.geo.example.io.",
			"myregistry.westus.geo.example.io. 300 IN A 192.0.2.10", "myregistry.westus.geo.example.io. 300 IN A 192.0.2.11",
		}},
		{name: "myregistry.example.io", qtype: "A", from: newYork, answer: []string{
			alias + "eastus.geo.example.io.", "myregistry.eastus.geo.example.io. 300 IN A 192.0.2.20",
		}},
		{name: "myregistry.example.io", qtype: "AAAA", from: amsterdam, answer: []string{
			alias + "westeurope.geo.example.io.",
			"myregistry.westeurope.geo.example.io. 300 IN AAAA 2001:db8::30", "myregistry.westeurope.geo.example.io. 300 IN AAAA 2001:db8::31",
		}},
		{name: "myregistry.example.io", qtype: "CNAME", from: newYork, answer: []string{alias + "eastus.geo.example.io."}},
		{name: "myregistry.example.io", qtype: "TXT", from: newYork, answer: []string{alias + "eastus.geo.example.io."}},
		{name: "myregistry.example.io", qtype: "HTTPS", answer: []string{alias + "westus.geo.example.io."}},
		{name: "myregistry.example.io", qtype: "ANY", from: amsterdam, answer: []string{alias + "westeurope.geo.example.io."}},
		{name: "plain.example.io", qtype: "A", answer: []string{"plain.example.io. 45 IN A 192.0.2.110", "plain.example.io. 45 IN A 192.0.2.111"}},
		{name: "plain.example.io", qtype: "AAAA", from: amsterdam, answer: []string{"plain.example.io. 45 IN AAAA 2001:db8::130"}},
		noData("plain.example.io", "TXT"), noData("plain.example.io", "CNAME"), noData("plain.example.io", "HTTPS"),
		// westus is not routed: the global name never leads there, the regional does.
		{name: "two.labels.example.io", qtype: "A", answer: []string{
			"two.labels.example.io. 60 IN CNAME two.labels.eastus.geo.example.io.", "two.labels.eastus.geo.example.io. 300 IN A 192.0.2.220",
		}},
		{name: "two.labels.westus.geo.example.io", qtype: "A", answer: []string{"two.labels.westus.geo.example.io. 300 IN A 192.0.2.210"}},
		{name: "whole.example.com", qtype: "A", from: amsterdam, answer: []string{"whole.example.com. 60 IN A 203.0.113.30"}},
		{name: "whole.example.com", qtype: "AAAA", answer: []string{"whole.example.com. 60 IN AAAA 2001:db8:1::10"}},
		{name: "whole.example.com", qtype: "NS", answer: []string{"whole.example.com. 3600 IN NS ns1.example.io."}},
		{name: "whole.example.com", qtype: "TXT", authority: []string{wholeSOA}},
		{name: "westus.geo.whole.example.com", qtype: "A", from: amsterdam, answer: []string{"westus.geo.whole.example.com. 300 IN A 203.0.113.10"}},
		{name: "cloud.example.io", qtype: "A", from: amsterdam, answer: []string{
			"cloud.example.io. 60 IN CNAME cloud.westeurope.geo.example.io.", "cloud.westeurope.geo.example.io. 300 IN CNAME lb-westeurope.example.net.",
		}},
		{name: "cloud-plain.example.io", qtype: "AAAA", answer: []string{"cloud-plain.example.io. 60 IN CNAME lb-westus.example.net."}},
		{
			name: "nobody.example.io", qtype: "A", from: seattle, authority: []string{exampleSOA},
			ede: "0 no replica takes part in global endpoint routing",
		},
		{name: "nobody.westus.geo.example.io", qtype: "A", answer: []string{"nobody.westus.geo.example.io. 300 IN A 192.0.2.99"}},
	}
}

// fixedNames are the exchanges of all names that are the same for everybody.
func fixedNames() []exchange {
	glue := []string{"ns1.example.io. 3600 IN A 192.0.2.53", "ns1.example.io. 3600 IN AAAA 2001:db8::53"}
	out := []exchange{
		{name: "myregistry.eastus.geo.example.io", qtype: "AAAA", from: seattle, answer: []string{"myregistry.eastus.geo.example.io. 300 IN AAAA 2001:db8::20"}},
		{name: "cloud.westus.geo.example.io", qtype: "TXT", answer: []string{"cloud.westus.geo.example.io. 300 IN CNAME lb-westus.example.net."}},
		{name: "myregistry.eastus.data.example.io", qtype: "A", from: seattle, answer: []string{"myregistry.eastus.data.example.io. 300 IN A 198.51.100.20"}},
		{name: "myregistry.westus.data.example.io", qtype: "AAAA", answer: []string{"myregistry.westus.data.example.io. 300 IN CNAME blobs-westus.example.net."}},
		{name: "example.io", qtype: "SOA", answer: []string{strings.Replace(exampleSOA, " 60 IN", " 3600 IN", 1)}},
		{name: "example.io", qtype: "NS", answer: []string{"example.io. 3600 IN NS ns1.example.io.", "example.io. 3600 IN NS ns2.example.net."}, additional: glue},
		{name: "example.io", qtype: "MX", answer: []string{"example.io. 3600 IN MX 10 mail.example.io."}, additional: []string{"mail.example.io. 300 IN A 192.0.2.25"}},
		{name: "example.io", qtype: "TXT", answer: []string{`example.io. 3600 IN TXT "v=spf1 -all"`}},
		{name: "example.io", qtype: "CAA", answer: []string{`example.io. 3600 IN CAA 0 issue "ca.example.net"`}},
		{name: "ns1.example.io", qtype: "A", answer: glue[:1]},
		{name: "ns1.example.io", qtype: "AAAA", answer: glue[1:]},
		{name: "mail.example.io", qtype: "A", answer: []string{"mail.example.io. 300 IN A 192.0.2.25"}},
		{name: "www.example.io", qtype: "A", answer: []string{"www.example.io. 3600 IN CNAME web.example.net."}},
		{name: "deep.down.example.io", qtype: "TXT", answer: []string{`deep.down.example.io. 3600 IN TXT "below an empty non-terminal"`}},
		{name: "example.org", qtype: "A", rcode: dns.RcodeRefused, ede: "20 "},
		noData("example.io", "A"), noData("mail.example.io", "AAAA"), noData("ns1.example.io", "TXT"),
		nxDomain("nowhere.example.io", "A"), nxDomain("ns2.example.io", "A"), nxDomain("plain.westus.geo.example.io", "A"),
		nxDomain("plain.westus.data.example.io", "A"), nxDomain("myregistry.uksouth.geo.example.io", "A"),
	}
	for _, empty := range []string{
		"geo", "westus.geo", "eastus.geo", "westeurope.geo", "labels", "labels.westus.geo", "data", "eastus.data", "down",
	} {
		for _, qtype := range []string{"A", "AAAA", "TXT", "NS"} {
			out = append(out, noData(empty+".example.io", qtype))
		}
	}
	return out
}

// TestNames asks for every kind of name over every transport.
func TestNames(t *testing.T) {
	t.Parallel()
	s := serveProtocol(t)
	for _, e := range slices.Concat(globalNames(), fixedNames()) {
		for _, c := range s.clients() {
			e.compare(t, c)
		}
	}
}

// compare asks without EDNS, if the client is not told by it, and with; sections
// are compared as they come, in order.
func (e *exchange) compare(t *testing.T, c client) {
	t.Helper()
	if e.from == "" {
		e.sections(t, c, c.ask(t, question(e.name, e.qtype)))
	}
	q := question(e.name, e.qtype, edns(1232))
	if e.from != "" {
		q = question(e.name, e.qtype, subnet(e.from))
	}
	m := c.ask(t, q)
	ede := ""
	if o, ok := optionOf[*dns.EDNS0_EDE](m); ok {
		ede = fmt.Sprintf("%d %s", o.InfoCode, o.ExtraText)
	}
	m.Extra = slices.DeleteFunc(m.Extra, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeOPT })
	e.sections(t, c, m)
	if ede != e.ede {
		t.Errorf("%v: %s %s: extended error %q, want %q", c, e.name, e.qtype, ede, e.ede)
	}
}

func (e *exchange) sections(t *testing.T, c client, m *dns.Msg) {
	t.Helper()
	if m.Rcode != e.rcode || m.Authoritative != (e.rcode != dns.RcodeRefused) {
		t.Errorf("%v: %s %s for %q: rcode %d, AA %v", c, e.name, e.qtype, e.from, m.Rcode, m.Authoritative)
	}
	for i, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range section {
			if soa, ok := rr.(*dns.SOA); ok {
				soa.Serial = 0
			}
		}
		want := [][]string{e.answer, e.authority, e.additional}[i]
		if got := records(section); !slices.Equal(got, want) {
			t.Errorf("%v: %s %s for %q: section %d is\n%s\nwant\n%s", c, e.name, e.qtype, e.from, i+1, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// TestDiagnostics asks the names that explain, and the server who it is.
func TestDiagnostics(t *testing.T) {
	t.Parallel()
	s := serveProtocol(t)
	for _, c := range s.clients() {
		m := c.ask(t, question("_explain.myregistry.example.io", "TXT", subnet(newYork)))
		text := strings.Join(records(m.Answer), "\n")
		for _, want := range []string{
			`_explain.myregistry.example.io. 0 IN TXT "answer eastus (`, "ttl 60 scope /", "client 128.59.0.0/24 by the client subnet 128.59.0.0/24",
			"place US near ", "rank 1 eastus ", "rank 2 westus ", "rank 3 westeurope ", "node e2e generation 1 serial ",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("%v: _explain lacks %q:\n%s", c, want, text)
			}
		}
		asker := "127.0.0.1"
		if c.server.Addr().Is6() {
			asker = "::1"
		}
		m = c.ask(t, question("_whoami.example.io", "TXT", subnet(amsterdam)))
		text = strings.Join(records(m.Answer), "\n")
		for _, want := range []string{`_whoami.example.io. 0 IN TXT "resolver ` + asker + `"`, `"subnet 145.18.0.0/24"`, `"place NL near `, `"node e2e"`} {
			if !strings.Contains(text, want) {
				t.Errorf("%v: _whoami lacks %q:\n%s", c, want, text)
			}
		}
		for name, want := range map[string]string{"id.server": "e2e", "hostname.bind": "e2e", "version.bind": "e2e-version", "version.server": "e2e-version"} {
			q := question(name, "TXT")
			q.Question[0].Qclass = dns.ClassCHAOS
			wantText(want)(t, c, nil, c.ask(t, q))
		}
		q := question("example.io", "SOA", edns(1232))
		q.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_NSID{Code: dns.EDNS0NSID}}
		if o, ok := optionOf[*dns.EDNS0_NSID](c.ask(t, q)); !ok || o.Nsid != fmt.Sprintf("%x", "e2e") {
			t.Errorf("%v: NSID %v", c, o)
		}
		for _, name := range []string{"_explain.myregistry.example.io", "_whoami.example.io"} {
			e := noData(name, "A")
			e.compare(t, c)
		}
	}
}

// randomPrefixes returns client subnets of all lengths that resolvers send, from
// a fixed seed.
func randomPrefixes(n int) []string {
	r := rand.New(rand.NewPCG(1, 7871))
	out := make([]string, n)
	for i := range out {
		if i%3 == 2 { // IPv6: global unicast, most of it where addresses are given out
			a := [16]byte{0x20 + byte(r.IntN(2))*4, byte(r.IntN(256)), byte(r.IntN(256)), byte(r.IntN(256)), byte(r.IntN(256)), byte(r.IntN(256))}
			out[i] = netip.PrefixFrom(netip.AddrFrom16(a), 32+8*r.IntN(4)).Masked().String()
			continue
		}
		a := [4]byte{byte(1 + r.IntN(222)), byte(r.IntN(256)), byte(r.IntN(256)), byte(r.IntN(256))}
		out[i] = netip.PrefixFrom(netip.AddrFrom4(a), 16+4*r.IntN(5)).Masked().String()
	}
	return out
}

// replicasOf says which replica an address belongs to.
var replicasOf = map[string]string{
	"192.0.2.10": "westus", "192.0.2.11": "westus", "2001:db8::10": "westus",
	"192.0.2.20": "eastus", "2001:db8::20": "eastus",
	"192.0.2.30": "westeurope", "2001:db8::30": "westeurope", "2001:db8::31": "westeurope",
	"192.0.2.110": "westus", "192.0.2.111": "westus", "2001:db8::110": "westus",
	"192.0.2.120": "eastus", "2001:db8::120": "eastus",
	"192.0.2.130": "westeurope", "2001:db8::130": "westeurope",
	"203.0.113.10": "westus", "2001:db8:1::10": "westus",
	"203.0.113.30": "westeurope", "2001:db8:1::30": "westeurope",
}

// TestOneReplica asks for many clients: A and AAAA lead to the same replica, with
// the same scope, and so does every transport, with the same bytes.
func TestOneReplica(t *testing.T) {
	t.Parallel()
	s := serveProtocol(t)
	chosen := make(map[string]int)
	for i, prefix := range randomPrefixes(300) {
		name := []string{"myregistry.example.io", "plain.example.io", "whole.example.com"}[i%3]
		v4, scope4 := s.replica(t, name, "A", prefix)
		v6, scope6 := s.replica(t, name, "AAAA", prefix)
		if v4 != v6 || scope4 != scope6 {
			t.Errorf("%s for %s: A leads to %s with scope %d, AAAA to %s with scope %d", name, prefix, v4, scope4, v6, scope6)
		}
		chosen[v4]++
	}
	for _, region := range failoverRegions {
		if chosen[region] < 10 {
			t.Errorf("%s was chosen %d times: too few to prove anything: %v", region, chosen[region], chosen)
		}
	}
}

// replica asks over every transport and returns the one replica of the answers.
func (s *server) replica(t *testing.T, name, qtype, prefix string) (region string, scope uint8) {
	t.Helper()
	var first []byte
	q := question(name, qtype, subnet(prefix))
	for _, c := range s.clients() {
		answer := c.wire(t, q)
		if first == nil {
			first = answer
		}
		if !bytes.Equal(first, answer) {
			t.Errorf("%s %s for %s over %v:\n%x, want\n%x", name, qtype, prefix, c, answer, first)
		}
	}
	m := new(dns.Msg)
	if err := m.Unpack(first); err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses(m) {
		if r := replicasOf[a]; r == "" || cmp.Or(region, r) != r {
			t.Errorf("%s %s for %s: two replicas in one answer, or a strange one: %v", name, qtype, prefix, m)
		}
		region = replicasOf[a]
	}
	for _, rr := range m.Answer {
		if alias, ok := rr.(*dns.CNAME); ok && !strings.Contains(alias.Target, "."+region+".geo.") {
			t.Errorf("%s %s for %s: the alias and the addresses name two replicas: %v", name, qtype, prefix, m)
		}
	}
	o, ok := optionOf[*dns.EDNS0_SUBNET](m)
	if !ok || netip.PrefixFrom(netip.MustParseAddr(o.Address.String()).Unmap(), int(o.SourceNetmask)).String() != prefix {
		t.Fatalf("%s %s for %s: client subnet %v", name, qtype, prefix, o)
	}
	return region, o.SourceScope
}

// TestRegionalBytes asks for regional and data names: the records are the same
// octets whoever asks, and from a server that has the replicas in another order.
func TestRegionalBytes(t *testing.T) {
	t.Parallel()
	head, replicas, ok := strings.Cut(minimalRegional, "    replicas:\n")
	if !ok {
		t.Fatal("no replicas in the configuration")
	}
	lines := strings.SplitAfter(strings.TrimSuffix(replicas, "\n"), "\n")
	lines[len(lines)-1] += "\n"
	slices.Reverse(lines)
	one := serve(t, nil, minimalRegional)
	two := serve(t, nil, head+"    replicas:\n"+strings.Join(lines, ""))
	clients := append([]string{"", "0.0.0.0/0"}, randomPrefixes(30)...)
	for _, region := range failoverRegions {
		for _, qtype := range []string{"A", "AAAA"} {
			for _, kind := range []string{"geo", "data"} {
				name := "myregistry." + region + "." + kind + ".example.io"
				want := body(t, one.client(), question(name, qtype))
				for _, prefix := range clients {
					for _, c := range slices.Concat(one.clients()[:2], two.clients()) {
						q := question(name, qtype)
						if prefix != "" {
							q = question(name, qtype, subnet(prefix))
						}
						if got := body(t, c, q); !bytes.Equal(got, want) {
							t.Errorf("%s %s for %q over %v of %v:\n%x, want\n%x", name, qtype, prefix, c, c.server, got, want)
						}
					}
				}
			}
		}
	}
}

const minimalRegional = `
server: {listen: ["127.0.0.1:0", "[::1]:0"], identity: e2e}
admin: {socket: $DIR/admin.sock, metrics: "127.0.0.1:0"}
state: {dir: $DIR}
zones: {example.io: {nameservers: {ns1: [192.0.2.53, "2001:db8::53"]}}}
registries:
  myregistry:
    regional_endpoints: enabled
    data_endpoints: enabled
    replicas:
      westus: {addresses: [192.0.2.10, 192.0.2.11, "2001:db8::10"], data: {addresses: [192.0.2.110, "2001:db8::110"]}}
      eastus: {addresses: [192.0.2.20, "2001:db8::20"], data: {addresses: [192.0.2.120, "2001:db8::120"]}}
      westeurope: {addresses: [192.0.2.30, "2001:db8::30"], data: {addresses: [192.0.2.130, "2001:db8::130"]}}
`

// body returns the octets of an answer but for its identifier and its OPT record,
// which echoes what the client said.
func body(t *testing.T, c client, q *dns.Msg) []byte {
	t.Helper()
	answer := c.wire(t, q)
	m := new(dns.Msg)
	if err := m.Unpack(answer); err != nil {
		t.Fatal(err)
	}
	if len(m.Answer) == 0 {
		t.Fatalf("%v: %v", c, m)
	}
	if o := m.IsEdns0(); o != nil {
		answer = answer[:len(answer)-dns.Len(o)]
		answer[11]-- // ARCOUNT
	}
	return answer[2:]
}
