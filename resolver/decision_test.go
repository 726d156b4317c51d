package resolver_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"portolan.dev/resolver"
	"portolan.dev/resolver/compile"
	"portolan.dev/resolver/decide"
)

// answersAt returns the records that a client in Seattle gets at a moment, a line each.
func (s *server) answersAt(t *testing.T, name string, qtype uint16, at time.Time) string {
	t.Helper()
	msg, err := question(name, qtype, seattle).Pack()
	if err != nil {
		t.Fatal(err)
	}
	var m dns.Msg
	if err := m.Unpack(s.udp.Answer(nil, msg, loopback, at.Unix())); err != nil {
		t.Fatal(err)
	}
	return strings.Join(texts(m.Answer), "\n")
}

// A client of a registry that holds is kept on its replica through a drain, and
// _explain says so; the registry goes by the names that operators call it.
func TestHeldAndExplained(t *testing.T) {
	s := newServer(t, strings.Replace(contoso, "  atapex:\n    zone: own.example\n", "  atapex:\n    zone: own.example\n    sticky: {hold: 15m}\n", 1))
	registry, ok := s.s.FindRegistry("atapex")
	if !ok {
		t.Fatal("no registry atapex")
	}
	ask := func(name string, qtype uint16, at time.Time) string { return s.answersAt(t, name, qtype, at) }
	if got := ask("own.example.", dns.TypeA, clock); !strings.Contains(got, "192.0.2.110") {
		t.Fatalf("%s, want westus", got)
	}
	drained := s.s.Live[registry].Masks()
	drained.Routed = drained.Routed.With(s.region("westus"), false)
	s.s.Live[registry].Change(drained, clock.Add(10*time.Second), false)
	if got := ask("own.example.", dns.TypeA, clock.Add(20*time.Second)); !strings.Contains(got, "192.0.2.110") {
		t.Errorf("%s, want westus, for the client is held", got)
	}
	got := ask("_explain.own.example.", dns.TypeTXT, clock.Add(20*time.Second))
	for _, want := range []string{
		"answer westus (held)", "hold until " + clock.Add(10*time.Second+15*time.Minute).UTC().Format(time.RFC3339) + " instead of westeurope",
		"excluded: global endpoint routing is off",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	// A client that comes only now is not.
	if got := s.trace(t, registry, amsterdam).Outcome; got != decide.Nearest {
		t.Errorf("a new client is %v", got)
	}
	// Without a table nobody is.
	s.s.Holds = nil
	if got := ask("own.example.", dns.TypeA, clock.Add(20*time.Second)); !strings.Contains(got, "192.0.2.140") {
		t.Errorf("%s without a table, want westeurope", got)
	}
	if got := ask("_explain.own.example.", dns.TypeTXT, clock.Add(20*time.Second)); !strings.Contains(got, "answer westeurope (nearest)") {
		t.Errorf("%s without a table, want westeurope", got)
	}
	// And where no replica takes part there is nothing to hold on.
	s.set("atapex", all, none)
	if got := ask("own.example.", dns.TypeA, clock.Add(20*time.Second)); got != "" {
		t.Errorf("%s, want no data", got)
	}
}

func (s *server) trace(t *testing.T, registry int, subnet string) resolver.Trace {
	t.Helper()
	return s.s.Trace(registry, loopback.Addr(), netip.MustParsePrefix(subnet), clock.Unix())
}

// Where the operator has taken every replica out, all types that the decision would
// answer are no data, and others are answered as ever.
func TestNoneRouted(t *testing.T) {
	s := newServer(t, contoso)
	s.set("atapex", all, none)
	for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeCNAME, dns.TypeANY, dns.TypeTXT} {
		if got := s.q("own.example.", qtype, seattle); got.Rcode != 0 || len(got.Answer) != 0 || len(got.Ns) != 1 || edeOf(got) != 0 || scopeOf(got) != 0 {
			t.Errorf("%s: %v", dns.Type(qtype), got)
		}
	}
	if got := s.q("own.example.", dns.TypeNS, seattle); len(got.Answer) != 1 || edeOf(got) != 0 {
		t.Errorf("NS: %v", got)
	}
	if got := strings.Join(texts(s.q("_explain.own.example.", dns.TypeTXT, seattle).Answer), "\n"); !strings.Contains(got, "answer none (none-routed) ttl 60") {
		t.Errorf("the full form: %s", got)
	}
	s.s.Allow = nil
	if got := strings.Join(texts(s.q("_explain.own.example.", dns.TypeTXT, seattle).Answer), "\n"); !strings.Contains(got, "replica=none reason=none-routed client=subnet") {
		t.Errorf("the short form: %s", got)
	}
	if got := strings.Join(texts(s.q("_explain.own.example.", dns.TypeTXT, "").Answer), "\n"); !strings.Contains(got, "client=resolver scope=/0") {
		t.Errorf("the short form without a subnet: %s", got)
	}
}

// A registry whose replicas have no IPv4 answers ANY with what there is.
func TestIPv6Alone(t *testing.T) {
	text := strings.NewReplacer("westus: {addresses: [192.0.2.110]}", `westus: {addresses: ["2001:db8::110"]}`,
		"westeurope: {addresses: [192.0.2.140]}", `westeurope: {addresses: ["2001:db8::140"]}`).Replace(contoso)
	s := newServer(t, text)
	for qtype, want := range map[uint16]int{dns.TypeANY: 1, dns.TypeAAAA: 1, dns.TypeA: 0} {
		got := s.q("own.example.", qtype, seattle)
		if got.Rcode != 0 || len(got.Answer) != want || want == 1 && got.Answer[0].(*dns.AAAA).AAAA.String() != "2001:db8::110" {
			t.Errorf("%s: %v", dns.Type(qtype), got)
		}
	}
	if got := s.q("myregistry.example.io.", dns.TypeANY, seattle); len(got.Answer) != 1 || got.Answer[0].Header().Rrtype != dns.TypeCNAME {
		t.Errorf("ANY with an alias: %v", got)
	}
}

// A target that is not resolved yet leaves a CNAME that leads to it alone, and is
// answered when it is.
func TestTargetBehindAnAlias(t *testing.T) {
	text := strings.Replace(contoso, "  cloud:\n    zone: example.io\n    regional_endpoints: enabled\n", "  cloud:\n    zone: example.io\n    answer: address\n    name: myregistry2\n", 1)
	text = strings.ReplaceAll(text, "  myregistry:\n    zone: example.io\n", "  myregistry:\n    zone: example.io\n    name: other\n")
	text = strings.ReplaceAll(text, "name: myregistry2", "name: myregistry") // www leads there
	s := newServer(t, text)
	for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
		got := s.q("www.example.io.", qtype, seattle)
		if got.Rcode != 0 || len(got.Answer) != 1 || edeOf(got) != 14 || !got.Authoritative {
			t.Errorf("%s: %v", dns.Type(qtype), got)
		}
		if got := s.q("myregistry.example.io.", qtype, seattle); got.Rcode != dns.RcodeServerFailure || got.Authoritative {
			t.Errorf("%s, asked for: %v", dns.Type(qtype), got)
		}
	}
	if got := s.q("myregistry.example.io.", dns.TypeANY, seattle); got.Rcode != dns.RcodeServerFailure {
		t.Errorf("ANY: %v", got)
	}
	for i := range s.s.Resolved {
		record := []byte{0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 99}
		s.s.Resolved[i].Store(&resolver.Addresses{IPv4: record, IPv4Count: 1})
	}
	for qtype, want := range map[uint16]int{dns.TypeA: 1, dns.TypeANY: 1, dns.TypeAAAA: 0} {
		got := s.q("myregistry.example.io.", qtype, seattle)
		if got.Rcode != 0 || len(got.Answer) != want || want == 1 && got.Answer[0].(*dns.A).A.String() != "192.0.2.99" {
			t.Errorf("%s, resolved: %v", dns.Type(qtype), got)
		}
	}
}

// While some addresses of a replica are dead the others are answered, in whatever form the
// replica is, and an explanation says so.
func TestLivingAddresses(t *testing.T) {
	r := build(t, `
server: {identity: ns1.test}
diagnostics: {allow: [127.0.0.0/8]}
zones: {example.io: {nameservers: {ns1: [192.0.2.53]}}}
probes: {each: {type: tcp, port: 443}}
registries:
  direct: {replicas: {westus: {addresses: [192.0.2.1, "2001:db8::1", 192.0.2.2], probe: each}}}
  alias: {regional_endpoints: enabled, replicas: {westus: {addresses: [192.0.2.3, "2001:db8::3", 192.0.2.4], probe: each}}}
`)
	s := serverOf(t, r.Snapshot)
	for registry, addrs := range map[string][3]string{"direct": {"192.0.2.1", "2001:db8::1", "192.0.2.2"}, "alias": {"192.0.2.3", "2001:db8::3", "192.0.2.4"}} {
		number, _ := r.Snapshot.FindRegistry(registry)
		name := registry + ".example.io."
		has := func(qtype uint16, want ...string) {
			t.Helper()
			var got []string
			for _, rr := range s.q(name, qtype, "").Answer {
				switch rr := rr.(type) {
				case *dns.A:
					got = append(got, rr.A.String())
				case *dns.AAAA:
					got = append(got, rr.AAAA.String())
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s %s: %v, want %v", registry, dns.Type(qtype), got, want)
			}
		}
		has(dns.TypeA, addrs[0], addrs[2])
		if !r.SetLiving(compile.Member{Registry: number}, 0b110) {
			t.Fatal("not a change")
		}
		has(dns.TypeA, addrs[2])
		has(dns.TypeAAAA, addrs[1])
		lines := strings.Join(texts(s.q("_explain."+name, dns.TypeTXT, "").Answer), "\n")
		if !strings.Contains(lines, "addresses "+addrs[2]+" "+addrs[1]) || !strings.Contains(lines, "dead, left out "+addrs[0]) {
			t.Errorf("%s", lines)
		}
		r.SetLiving(compile.Member{Registry: number}, 0b111)
		has(dns.TypeA, addrs[0], addrs[2])
		if lines := strings.Join(texts(s.q("_explain."+name, dns.TypeTXT, "").Answer), "\n"); strings.Contains(lines, "dead") {
			t.Errorf("%s", lines)
		}
	}
}

// An explanation says of resolved addresses when they are older than they should be,
// and nothing of those that are not resolved.
func TestStaleAddressesAreExplained(t *testing.T) {
	text := strings.NewReplacer("westus: {addresses: [192.0.2.110]}", "westus: {target: lb.example.net}",
		"westeurope: {addresses: [192.0.2.140]}", "westeurope: {target: lb2.example.net}").Replace(contoso)
	s := newServer(t, text)
	for age, want := range map[time.Duration]bool{time.Minute: true, 0: false} {
		until := clock.Add(-age)
		s.s.Resolved[0].Store(&resolver.Addresses{At: until.Add(-time.Minute), Until: until})
		got := strings.Join(texts(s.q("_explain.own.example.", dns.TypeTXT, seattle).Answer), "\n")
		note := " (addresses are stale, resolved at " + until.Add(-time.Minute).UTC().Format(time.RFC3339) + ")"
		if strings.Contains(got, note) != want || strings.Count(got, "stale") > 1 {
			t.Errorf("%v past their time:\n%s", age, got)
		}
	}
}

// _whoami says which subnet came, in both families, and when it does not count.
func TestWhoamiOfOthers(t *testing.T) {
	s := newServer(t, contoso)
	for subnet, want := range map[string][]string{
		"10.99.1.0/24":     {`"subnet 10.99.1.0/24 (does not count)"`, `special-purpose address`},
		"198.51.100.0/24":  {`"subnet 198.51.100.0/24"`, `"place configured network lab, block 198.51.100.0/25"`},
		"2a00:1450::/48":   {`"subnet 2a00:1450::/48"`},
		"2001:db8:77::/48": {`"place configured network lab, block 2001:db8:77::/48"`},
	} {
		got := strings.Join(texts(s.q("_whoami.example.io.", dns.TypeTXT, subnet).Answer), "\n")
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("%s: no %s in\n%s", subnet, w, got)
			}
		}
	}
	if got := strings.Join(texts(s.q("_whoami.example.io.", dns.TypeTXT, "").Answer), "\n"); !strings.Contains(got, `"subnet none"`) {
		t.Errorf("without a subnet:\n%s", got)
	}
}

// _explain names biases, networks, subnets that do not count, clients of IPv6, only
// the registry's own replicas, and what is down although nobody says why.
func TestExplainMore(t *testing.T) {
	s := newServer(t, strings.Replace(contoso, "zones:\n", "regions: {westus: {bias: 250}, eastus: {}, canadacentral: {}, westeurope: {}}\nzones:\n", 1))
	s.set("plain", but("westus"), all)
	for subnet, want := range map[string][]string{
		seattle:              {"answer westeurope (nearest)", " bias 250 excluded: down"},
		"10.99.1.0/24":       {"by the address that asked, 127.0.0.1; the client subnet 10.99.1.0/24 does not count"},
		"198.51.100.0/24":    {"place configured network lab, "},
		"2a00:1450:400::/40": {"client 2a00:1450:400::/48 by the client subnet "},
	} {
		got := strings.Join(texts(s.q("_explain.deep.plain.example.io.", dns.TypeTXT, subnet).Answer), "\n")
		for _, w := range append(want, "rank 2 ") {
			if !strings.Contains(got, w) {
				t.Errorf("%s: no %s in\n%s", subnet, w, got)
			}
		}
		if strings.Contains(got, "rank 3 ") || strings.Contains(got, "canadacentral") {
			t.Errorf("%s: replicas of others in\n%s", subnet, got)
		}
	}
}

// Class CHAOS answers ANY with what it has, and nothing else.
func TestChaosTypes(t *testing.T) {
	s := newServer(t, contoso)
	for qtype, want := range map[uint16]int{dns.TypeTXT: 1, dns.TypeANY: 1, dns.TypeA: 0} {
		m := question("id.server.", qtype, "")
		m.Question[0].Qclass = dns.ClassCHAOS
		if got := s.ask(m, false); len(got.Answer) != want || (got.Rcode == dns.RcodeRefused) != (want == 0) {
			t.Errorf("%s: %v", dns.Type(qtype), got)
		}
	}
}

// A configuration without ECS, holds or health is answered in batches as one by one.
func TestABatchWithoutMuch(t *testing.T) {
	text := strings.Replace(contoso, "identity: ns1.test,", "identity: ns1.test, ecs: false,", 1)
	compareBatches(t, text, 50, stray)
	one, together := newServer(t, contoso), newServer(t, contoso)
	one.s.Holds, together.s.Holds = nil, nil
	compareServers(t, one, together, 50, stray)
	const registries = 1200
	one, together = newServer(t, fleetText(registries)), newServer(t, fleetText(registries))
	for _, s := range []*server{one, together} {
		for i := range s.s.Live {
			if i%3 == 0 {
				s.s.Live[i].Set(decide.Masks{})
			}
		}
	}
	compareServers(t, one, together, 20, ofTheFleet(registries))
}

// A replica that works is answered while none is up, without an error, and counted as
// what it is.
func TestLastResort(t *testing.T) {
	t.Parallel()
	s := newServer(t, contoso)
	registry, ok := s.s.FindRegistry("atapex")
	if !ok {
		t.Fatal("no registry atapex")
	}
	m := s.s.Live[registry].Masks()
	m.Up, m.Resort = 0, 1<<s.region("westeurope")
	s.s.Live[registry].Change(m, clock.Add(10*time.Second), true)
	msg, err := question("own.example.", dns.TypeA, seattle).Pack()
	if err != nil {
		t.Fatal(err)
	}
	before := s.resolver.Totals().AllDown
	var answer dns.Msg
	if err := answer.Unpack(s.udp.Answer(nil, msg, loopback, clock.Unix()+20)); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(texts(answer.Answer), " "); !strings.Contains(got, "192.0.2.140") {
		t.Errorf("%s, want westeurope", got)
	}
	for _, o := range answer.IsEdns0().Option {
		if o.Option() == dns.EDNS0EDE {
			t.Errorf("an error with a replica that works: %v", o)
		}
	}
	if n := s.resolver.Totals().AllDown - before; n != 1 {
		t.Errorf("counted %d times", n)
	}
	if got := s.trace(t, registry, seattle); got.Outcome.String() != "last-resort" {
		t.Errorf("explained as %v", got.Outcome)
	}
}
