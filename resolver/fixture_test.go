package resolver_test

import (
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"portolan.dev/config"
	"portolan.dev/geo"
	"portolan.dev/geo/embedded"
	"portolan.dev/resolver"
	"portolan.dev/resolver/compile"
	"portolan.dev/resolver/decide"
	"portolan.dev/resolver/wire"
)

// contoso is the configuration of most tests: a registry below a zone, one at an
// apex, one without regional endpoints, one by target names.
const contoso = `
server: {listen: ["127.0.0.1:0"], identity: ns1.test, version: portolan-test}
diagnostics: {allow: [127.0.0.0/8]}
geo:
  default_region: westeurope
  networks:
    10.20.0.0/16: westus
    lab: {prefixes: [198.51.100.0/25, "2001:db8:77::/48", 198.51.100.200/32], region: eastus}
zones:
  example.io:
    nameservers: {ns1: [192.0.2.53, "2001:db8::53"], ns.example.net.: []}
    records: example.io.zone
  own.example:
    nameservers: {ns.example.net.: []}
registries:
  myregistry:
    zone: example.io
    home: westus
    regional_endpoints: enabled
    data_endpoints: enabled
    replicas:
      westus: {addresses: [192.0.2.10, "2001:db8::10"]}
      eastus: {addresses: [192.0.2.20, 192.0.2.21, "2001:db8::20"]}
      canadacentral: {addresses: [192.0.2.30, "2001:db8::30"], global_endpoint_routing: false}
      westeurope: {addresses: [192.0.2.40, "2001:db8::40"], data: {target: blobs.example.net}}
  atapex:
    zone: own.example
    name: "@"
    regional_endpoints: enabled
    replicas:
      westus: {addresses: [192.0.2.110]}
      westeurope: {addresses: [192.0.2.140]}
  plain:
    zone: example.io
    name: deep.plain
    replicas:
      westus: {addresses: [192.0.2.210, "2001:db8::210"]}
      westeurope: {addresses: [192.0.2.240, "2001:db8::240"]}
  cloud:
    zone: example.io
    regional_endpoints: enabled
    replicas:
      westus: {target: lb.westus.example.net}
      westeurope: {target: lb.westeurope.example.net}
`

const zoneFile = `
@        3600 IN MX 10 mail
@        3600 IN TXT "v=spf1 -all"
mail     3600 IN A 192.0.2.80
www      300  IN CNAME myregistry
mail2    300  IN CNAME mail
big      60   IN TXT "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789" "a"
big      60   IN TXT "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789" "b"
big      60   IN TXT "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789" "c"
big      60   IN TXT "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789" "d"
big      60   IN TXT "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789" "e"
big      60   IN TXT "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789" "f"
a.b.c    60   IN CAA 0 issue "ca.example.net"
`

// Addresses that the location data puts in these cities.
const (
	seattle   = "128.95.0.0/24"
	atlanta   = "130.207.0.0/24"
	toronto   = "128.100.0.0/24"
	amsterdam = "145.18.0.0/24"
)

var clock = time.Unix(1_800_000_000, 0)

var table = sync.OnceValues(embedded.Table)

// places are those of the configuration compiled last: with the same regions they serve
// the next one, and most of the time of a test is making them.
var places atomic.Pointer[compile.Places]

// build compiles a configuration with the embedded location data.
func build(tb testing.TB, text string) *compile.Result {
	tb.Helper()
	data, err := table()
	if err != nil {
		tb.Fatal(err)
	}
	return buildOn(tb, text, data)
}

func buildOn(tb testing.TB, text string, data *geo.Table) *compile.Result {
	tb.Helper()
	c, err := config.Parse("test.yaml", []byte(text))
	if err != nil {
		tb.Fatal(err)
	}
	result, err := compile.Compile(c, compile.Options{
		Table: data, Places: places.Load(), Slots: compile.NewSlots(), Seed: 42, Now: clock, Identity: "host",
		ReadFile: func(name string) ([]byte, error) {
			if name == "example.io.zone" {
				return []byte(zoneFile), nil
			}
			return nil, os.ErrNotExist
		},
	})
	if err != nil {
		tb.Fatal(err)
	}
	places.Store(result.Places)
	return result
}

// server answers with a worker for datagrams and one for streams.
type server struct {
	t           testing.TB
	resolver    *resolver.Resolver
	s           *resolver.Snapshot
	udp, stream *resolver.Worker
}

func newServer(tb testing.TB, text string) *server {
	tb.Helper()
	return serverOf(tb, build(tb, text).Snapshot)
}

func serverOf(tb testing.TB, s *resolver.Snapshot) *server {
	tb.Helper()
	s.Holds = decide.NewHolds(200_000)
	r := resolver.New(s, wire.CookieSecret{1, 2, 3})
	r.Reserve(100)
	return &server{tb, r, s, r.Worker(resolver.UDP), r.Worker(resolver.TCP)}
}

var loopback = netip.MustParseAddrPort("127.0.0.1:4242")

// raw answers octets from loopback over a datagram; nil for no response.
func (s *server) raw(msg []byte) []byte {
	return s.udp.Answer(nil, msg, loopback, clock.Unix())
}

// ask sends m and unpacks the response.
func (s *server) ask(m *dns.Msg, stream bool) *dns.Msg {
	s.t.Helper()
	msg, err := m.Pack()
	if err != nil {
		s.t.Fatal(err)
	}
	w := s.udp
	if stream {
		w = s.stream
	}
	out := w.Answer(nil, msg, loopback, clock.Unix())
	if len(out) == 0 {
		s.t.Fatalf("no response to %v", m)
	}
	r := new(dns.Msg)
	if err := r.Unpack(out); err != nil {
		s.t.Fatalf("%v: %x", err, out)
	}
	return r
}

// q asks for a name, with EDNS and a client subnet unless that is empty.
func (s *server) q(name string, qtype uint16, subnet string) *dns.Msg {
	s.t.Helper()
	return s.ask(question(name, qtype, subnet), false)
}

func question(name string, qtype uint16, subnet string) *dns.Msg {
	m := new(dns.Msg)
	m.SetQuestion(name, qtype)
	m.Id = 4711
	if subnet == "" {
		return m
	}
	m.SetEdns0(1232, false)
	p := netip.MustParsePrefix(subnet)
	e := &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: uint8(p.Bits()), Address: net.IP(p.Addr().AsSlice())}
	if p.Addr().Is6() {
		e.Family = 2
	}
	m.IsEdns0().Option = append(m.IsEdns0().Option, e)
	return m
}

// scopeOf returns the scope of the client subnet in a response; -1 without one.
func scopeOf(m *dns.Msg) int {
	opt := m.IsEdns0()
	if opt == nil {
		return -1
	}
	for _, o := range opt.Option {
		if e, ok := o.(*dns.EDNS0_SUBNET); ok {
			return int(e.SourceScope)
		}
	}
	return -1
}

// edeOf returns the info code of the extended error in a response; -1 without one.
func edeOf(m *dns.Msg) int {
	if opt := m.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if e, ok := o.(*dns.EDNS0_EDE); ok {
				return int(e.InfoCode)
			}
		}
	}
	return -1
}

// texts returns the answer section as lines without owner, TTL spacing and class.
func texts(rrs []dns.RR) []string {
	var out []string
	for _, rr := range rrs {
		out = append(out, rr.String())
	}
	return out
}

// set changes what is up and routed, by region label.
func (s *server) set(registry string, up, routed func(label string) bool) {
	s.t.Helper()
	n, ok := s.s.FindRegistry(registry)
	if !ok {
		s.t.Fatalf("no registry %s", registry)
	}
	var m decide.Masks
	for i, r := range s.s.Regions {
		if s.s.Registries[n].Configured.Has(uint8(i)) {
			m.Up = m.Up.With(uint8(i), up(r.Label))
			m.Routed = m.Routed.With(uint8(i), routed(r.Label))
		}
	}
	s.s.Live[n].Set(m)
}

func all(string) bool  { return true }
func none(string) bool { return false }

func but(label string) func(string) bool {
	return func(l string) bool { return l != label }
}
