package resolver_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// Every kind of name answers as its row says.
func TestNames(t *testing.T) {
	s := newServer(t, contoso)
	const soa = "example.io.\t60\tIN\tSOA\tns1.example.io. hostmaster.example.io. 1800000000 7200 900 1209600 60"
	for _, tt := range []struct {
		name   string
		qtype  uint16
		subnet string
		rcode  int
		answer []string
		ns     []string
	}{
		{"myregistry.example.io.", dns.TypeA, seattle, 0, []string{
			"myregistry.example.io.\t60\tIN\tCNAME\tmyregistry.westus.geo.example.io.",
			"myregistry.westus.geo.example.io.\t300\tIN\tA\t192.0.2.10",
		}, nil},
		{"myregistry.example.io.", dns.TypeAAAA, seattle, 0, []string{
			"myregistry.example.io.\t60\tIN\tCNAME\tmyregistry.westus.geo.example.io.",
			"myregistry.westus.geo.example.io.\t300\tIN\tAAAA\t2001:db8::10",
		}, nil},
		{"myregistry.example.io.", dns.TypeA, atlanta, 0, []string{
			"myregistry.example.io.\t60\tIN\tCNAME\tmyregistry.eastus.geo.example.io.",
			"myregistry.eastus.geo.example.io.\t300\tIN\tA\t192.0.2.20",
			"myregistry.eastus.geo.example.io.\t300\tIN\tA\t192.0.2.21",
		}, nil},
		{"myregistry.example.io.", dns.TypeHTTPS, amsterdam, 0, []string{
			"myregistry.example.io.\t60\tIN\tCNAME\tmyregistry.westeurope.geo.example.io.",
		}, nil},
		{"myregistry.example.io.", dns.TypeCNAME, amsterdam, 0, []string{
			"myregistry.example.io.\t60\tIN\tCNAME\tmyregistry.westeurope.geo.example.io.",
		}, nil},
		{"myregistry.example.io.", dns.TypeANY, amsterdam, 0, []string{
			"myregistry.example.io.\t60\tIN\tCNAME\tmyregistry.westeurope.geo.example.io.",
		}, nil},
		{"myregistry.eastus.geo.example.io.", dns.TypeA, amsterdam, 0, []string{
			"myregistry.eastus.geo.example.io.\t300\tIN\tA\t192.0.2.20",
			"myregistry.eastus.geo.example.io.\t300\tIN\tA\t192.0.2.21",
		}, nil},
		{"myregistry.eastus.geo.example.io.", dns.TypeTXT, "", 0, nil, []string{soa}},
		{"myregistry.canadacentral.geo.example.io.", dns.TypeA, "", 0, []string{
			"myregistry.canadacentral.geo.example.io.\t300\tIN\tA\t192.0.2.30",
		}, nil},
		{"myregistry.eastus.data.example.io.", dns.TypeAAAA, "", 0, []string{
			"myregistry.eastus.data.example.io.\t300\tIN\tAAAA\t2001:db8::20",
		}, nil},
		{"myregistry.westeurope.data.example.io.", dns.TypeA, "", 0, []string{
			"myregistry.westeurope.data.example.io.\t300\tIN\tCNAME\tblobs.example.net.",
		}, nil},
		{"own.example.", dns.TypeA, amsterdam, 0, []string{"own.example.\t60\tIN\tA\t192.0.2.140"}, nil},
		{"own.example.", dns.TypeANY, amsterdam, 0, []string{"own.example.\t60\tIN\tA\t192.0.2.140"}, nil},
		{"own.example.", dns.TypeNS, amsterdam, 0, []string{"own.example.\t3600\tIN\tNS\tns.example.net."}, nil},
		{"westus.geo.own.example.", dns.TypeA, amsterdam, 0, []string{"westus.geo.own.example.\t300\tIN\tA\t192.0.2.110"}, nil},
		{"deep.plain.example.io.", dns.TypeA, seattle, 0, []string{"deep.plain.example.io.\t60\tIN\tA\t192.0.2.210"}, nil},
		{"deep.plain.example.io.", dns.TypeTXT, seattle, 0, nil, []string{soa}},
		{"deep.plain.westus.geo.example.io.", dns.TypeA, "", dns.RcodeNameError, nil, []string{soa}},
		{"cloud.example.io.", dns.TypeA, amsterdam, 0, []string{
			"cloud.example.io.\t60\tIN\tCNAME\tcloud.westeurope.geo.example.io.",
			"cloud.westeurope.geo.example.io.\t300\tIN\tCNAME\tlb.westeurope.example.net.",
		}, nil},
		{"cloud.westus.geo.example.io.", dns.TypeAAAA, "", 0, []string{
			"cloud.westus.geo.example.io.\t300\tIN\tCNAME\tlb.westus.example.net.",
		}, nil},
		// Empty non-terminals.
		{"geo.example.io.", dns.TypeA, "", 0, nil, []string{soa}},
		{"eastus.geo.example.io.", dns.TypeA, seattle, 0, nil, []string{soa}},
		{"data.example.io.", dns.TypeAAAA, "", 0, nil, []string{soa}},
		{"plain.example.io.", dns.TypeA, "", 0, nil, []string{soa}},
		{"c.example.io.", dns.TypeA, "", 0, nil, []string{soa}},
		{"b.c.example.io.", dns.TypeCAA, "", 0, nil, []string{soa}},
		// Apex and static names.
		{"example.io.", dns.TypeSOA, "", 0, []string{strings.Replace(soa, "\t60\t", "\t3600\t", 1)}, nil},
		{"example.io.", dns.TypeNS, "", 0, []string{"example.io.\t3600\tIN\tNS\tns1.example.io.", "example.io.\t3600\tIN\tNS\tns.example.net."}, nil},
		{"example.io.", dns.TypeMX, "", 0, []string{"example.io.\t3600\tIN\tMX\t10 mail.example.io."}, nil},
		{"example.io.", dns.TypeDS, "", 0, nil, []string{soa}},
		{"example.io.", dns.TypeA, "", 0, nil, []string{soa}},
		{"ns1.example.io.", dns.TypeAAAA, "", 0, []string{"ns1.example.io.\t3600\tIN\tAAAA\t2001:db8::53"}, nil},
		{"www.example.io.", dns.TypeA, "", 0, []string{
			"www.example.io.\t300\tIN\tCNAME\tmyregistry.example.io.",
			"myregistry.example.io.\t60\tIN\tCNAME\tmyregistry.westeurope.geo.example.io.",
			"myregistry.westeurope.geo.example.io.\t300\tIN\tA\t192.0.2.40",
		}, nil},
		{"www.example.io.", dns.TypeCNAME, "", 0, []string{"www.example.io.\t300\tIN\tCNAME\tmyregistry.example.io."}, nil},
		{"www.example.io.", dns.TypeANY, "", 0, []string{"www.example.io.\t300\tIN\tCNAME\tmyregistry.example.io."}, nil},
		{"a.b.c.example.io.", dns.TypeCAA, "", 0, []string{"a.b.c.example.io.\t60\tIN\tCAA\t0 issue \"ca.example.net\""}, nil},
		{"a.b.c.example.io.", 65534, "", 0, nil, []string{soa}},
		// Not there.
		{"nothing.example.io.", dns.TypeA, seattle, dns.RcodeNameError, nil, []string{soa}},
		{"below.myregistry.example.io.", dns.TypeA, "", dns.RcodeNameError, nil, []string{soa}},
		{"myregistry.northeurope.geo.example.io.", dns.TypeA, "", dns.RcodeNameError, nil, []string{soa}},
		{"example.org.", dns.TypeA, "", dns.RcodeRefused, nil, nil},
		{"io.", dns.TypeNS, "", dns.RcodeRefused, nil, nil},
		{".", dns.TypeNS, "", dns.RcodeRefused, nil, nil},
	} {
		t.Run(tt.name+dns.TypeToString[tt.qtype], func(t *testing.T) {
			for _, stream := range []bool{false, true} {
				got := s.ask(question(tt.name, tt.qtype, tt.subnet), stream)
				if got.Rcode != tt.rcode {
					t.Errorf("rcode %d, want %d", got.Rcode, tt.rcode)
				}
				if d := cmp.Diff(tt.answer, texts(got.Answer)); d != "" {
					t.Errorf("answer:\n%s", d)
				}
				if d := cmp.Diff(tt.ns, texts(got.Ns)); d != "" {
					t.Errorf("authority:\n%s", d)
				}
				if got.Authoritative != (tt.rcode != dns.RcodeRefused) || got.RecursionAvailable || got.AuthenticatedData {
					t.Errorf("flags %+v", got.MsgHdr)
				}
			}
		})
	}
}

// A client with an address of one family and another gets the same replica, and
// no answer ever names two.
func TestOneReplicaForAllTypes(t *testing.T) {
	s := newServer(t, contoso)
	for i := range 2000 {
		subnet := fmt.Sprintf("%d.%d.%d.0/24", 1+i%222, i*7%256, i*13%256)
		a := s.q("myregistry.example.io.", dns.TypeA, subnet)
		aaaa := s.q("myregistry.example.io.", dns.TypeAAAA, subnet)
		https := s.q("myregistry.example.io.", dns.TypeHTTPS, subnet)
		for _, m := range []*dns.Msg{aaaa, https} {
			if m.Answer[0].String() != a.Answer[0].String() || scopeOf(m) != scopeOf(a) {
				t.Fatalf("%s: %v scope %d, but A %v scope %d", subnet, m.Answer[0], scopeOf(m), a.Answer[0], scopeOf(a))
			}
		}
		target := a.Answer[0].(*dns.CNAME).Target
		for _, rr := range append(a.Answer[1:], aaaa.Answer[1:]...) {
			if rr.Header().Name != target {
				t.Fatalf("%s: %v beside %s", subnet, rr, target)
			}
		}
	}
}

func TestHealthAndRoutingMoveOnlyTheGlobalAnswer(t *testing.T) {
	s := newServer(t, contoso)
	target := func() string {
		return s.q("myregistry.example.io.", dns.TypeA, atlanta).Answer[0].(*dns.CNAME).Target
	}
	regional := func() string {
		m := s.q("myregistry.eastus.geo.example.io.", dns.TypeA, atlanta)
		return m.String()
	}
	before := regional()
	for _, step := range []struct {
		up, routed func(string) bool
		want       string
		ede        int
	}{
		{all, but("canadacentral"), "myregistry.eastus.geo.example.io.", -1},
		{but("eastus"), but("canadacentral"), "myregistry.westus.geo.example.io.", -1},
		{all, but("eastus"), "myregistry.canadacentral.geo.example.io.", -1},
		{none, all, "myregistry.eastus.geo.example.io.", 0},
		{none, but("eastus"), "myregistry.canadacentral.geo.example.io.", 0},
	} {
		s.set("myregistry", step.up, step.routed)
		if got := target(); got != step.want {
			t.Errorf("got %s, want %s", got, step.want)
		}
		if got := edeOf(s.q("myregistry.example.io.", dns.TypeA, atlanta)); got != step.ede {
			t.Errorf("EDE %d, want %d", got, step.ede)
		}
		if got := regional(); got != before {
			t.Errorf("the regional answer moved:\n%s\nto\n%s", before, got)
		}
	}
	s.set("myregistry", all, none)
	got := s.q("myregistry.example.io.", dns.TypeA, atlanta)
	if got.Rcode != 0 || len(got.Answer) != 0 || len(got.Ns) != 1 || edeOf(got) != 0 || scopeOf(got) != 0 {
		t.Errorf("nothing routed: %v", got)
	}
}

func TestAllDownNoData(t *testing.T) {
	s := newServer(t, strings.Replace(contoso, "    home: westus\n", "    home: westus\n    all_down: nodata\n", 1))
	s.set("myregistry", none, all)
	got := s.q("myregistry.example.io.", dns.TypeAAAA, atlanta)
	if got.Rcode != 0 || len(got.Answer) != 0 || len(got.Ns) != 1 || edeOf(got) != 0 {
		t.Errorf("%v", got)
	}
}

// The order of replicas in the file changes nothing but ties.
func TestOrderInTheFileDoesNotMatter(t *testing.T) {
	lines := strings.Split(contoso, "\n")
	first := slices.IndexFunc(lines, func(l string) bool { return strings.Contains(l, "westus: {addresses: [192.0.2.10,") })
	slices.Reverse(lines[first : first+4])
	a, b := newServer(t, contoso), newServer(t, strings.Join(lines, "\n"))
	for _, name := range []string{"myregistry.example.io.", "myregistry.eastus.geo.example.io.", "myregistry.westeurope.data.example.io."} {
		for _, subnet := range []string{seattle, atlanta, toronto, amsterdam} {
			if x, y := a.q(name, dns.TypeA, subnet), b.q(name, dns.TypeA, subnet); x.String() != y.String() {
				t.Errorf("%s %s: %v\nother order: %v", name, subnet, x, y)
			}
		}
	}
}

func TestLocality(t *testing.T) {
	s := newServer(t, contoso)
	for _, tt := range []struct {
		name, subnet, from string
		want               string
		scope              int
	}{
		{"a configured network by subnet", "10.20.3.0/24", "192.0.2.1", "westus", 16},
		{"a site by its first prefix", "198.51.100.0/26", "192.0.2.1", "eastus", 25},
		{"a site over IPv6", "2001:db8:77::/56", "192.0.2.1", "eastus", 48},
		{"a single host of a site", "198.51.100.200/32", "192.0.2.1", "eastus", 32},
		{"its neighbour is special: the asker counts", "198.51.100.201/32", "145.18.0.1", "westeurope", 32},
		{"private subnet, asker in Amsterdam", "192.168.1.0/24", "145.18.0.1", "westeurope", 16},
		{"private subnet, asker in Seattle", "172.16.0.0/16", "128.95.0.1", "westus", 12},
		{"loopback subnet", "127.0.0.0/24", "128.95.0.1", "westus", 8},
		{"multicast subnet, beside reserved space", "224.0.0.0/24", "128.95.0.1", "westus", 3},
		{"source 0, asker in Seattle", "0.0.0.0/0", "128.95.0.1", "westus", 0},
		{"no subnet, asker in Amsterdam", "", "145.18.0.1", "westeurope", -1},
		{"no subnet, mapped asker", "", "::ffff:145.18.0.1", "westeurope", -1},
		{"nowhere at all: the default region", "", "10.0.0.1", "westeurope", -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			msg, err := question("myregistry.example.io.", dns.TypeA, tt.subnet).Pack()
			if err != nil {
				t.Fatal(err)
			}
			var m dns.Msg
			out := s.udp.Answer(nil, msg, netip.AddrPortFrom(netip.MustParseAddr(tt.from), 53), clock.Unix())
			if err := m.Unpack(out); err != nil {
				t.Fatal(err)
			}
			if want := "myregistry." + tt.want + ".geo.example.io."; m.Answer[0].(*dns.CNAME).Target != want {
				t.Errorf("got %v, want %s", m.Answer[0], want)
			}
			if scopeOf(&m) != tt.scope {
				t.Errorf("scope %d, want %d", scopeOf(&m), tt.scope)
			}
		})
	}
}

// NAT64 and 6to4 subnets carry an IPv4 place; the scope speaks of it in IPv6.
func TestEmbeddedIPv4(t *testing.T) {
	s := newServer(t, contoso)
	v4 := scopeOf(s.q("myregistry.example.io.", dns.TypeA, seattle))
	for subnet, shift := range map[string]int{"64:ff9b::805f:0/120": 96, "2002:805f:1::/48": 16, "::ffff:128.95.0.0/120": 96} {
		m := question("myregistry.example.io.", dns.TypeA, "2001:db8::/56")
		p := netip.MustParsePrefix(subnet).Masked()
		e := m.IsEdns0().Option[0].(*dns.EDNS0_SUBNET)
		a := p.Addr().As16()
		e.Address, e.SourceNetmask = a[:], uint8(p.Bits())
		msg, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		var got dns.Msg
		if err := got.Unpack(s.raw(msg)); err != nil {
			t.Fatal(err)
		}
		if len(got.Answer) == 0 || got.Answer[0].(*dns.CNAME).Target != "myregistry.westus.geo.example.io." || scopeOf(&got) != v4+shift {
			t.Errorf("%s: %v scope %d, want %d", subnet, got.Answer, scopeOf(&got), v4+shift)
		}
	}
}

func TestScopeZeroWhereTheClientDoesNotMatter(t *testing.T) {
	s := newServer(t, contoso)
	for _, name := range []string{"myregistry.eastus.geo.example.io.", "example.io.", "nothing.example.io.", "geo.example.io.", "ns1.example.io."} {
		if got := scopeOf(s.q(name, dns.TypeA, seattle)); got != 0 {
			t.Errorf("%s: scope %d", name, got)
		}
	}
	for _, name := range []string{"example.org."} {
		if got := scopeOf(s.q(name, dns.TypeA, seattle)); got != -1 {
			t.Errorf("%s: REFUSED carries a scope of %d", name, got)
		}
	}
}

func TestECSOff(t *testing.T) {
	s := newServer(t, strings.Replace(contoso, "identity: ns1.test,", "identity: ns1.test, ecs: false,", 1))
	got := s.q("myregistry.example.io.", dns.TypeA, seattle)
	if scopeOf(got) != -1 || got.Answer[0].(*dns.CNAME).Target != "myregistry.westeurope.geo.example.io." {
		t.Errorf("%v", got)
	}
}

// At an apex whose targets are not resolved yet, only addresses have to wait.
func TestUnresolvedTargetAtAnApex(t *testing.T) {
	text := strings.NewReplacer("westus: {addresses: [192.0.2.110]}", "westus: {target: lb.example.net}",
		"westeurope: {addresses: [192.0.2.140]}", "westeurope: {target: lb2.example.net}").Replace(contoso)
	s := newServer(t, text)
	if got := s.q("own.example.", dns.TypeA, seattle); got.Rcode != dns.RcodeServerFailure || edeOf(got) != 14 {
		t.Errorf("A: %v", got)
	}
	for _, qtype := range []uint16{dns.TypeSOA, dns.TypeNS} {
		if got := s.q("own.example.", qtype, seattle); got.Rcode != 0 || len(got.Answer) != 1 || !got.Authoritative {
			t.Errorf("%s: %v", dns.TypeToString[qtype], got)
		}
	}
	if got := s.q("own.example.", dns.TypeTXT, seattle); got.Rcode != 0 || len(got.Ns) != 1 {
		t.Errorf("TXT: %v", got)
	}
}
