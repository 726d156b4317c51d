package config

import (
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// good loads a file of testdata/config/good.
func good(t *testing.T, name string) *Config {
	t.Helper()
	c, err := Load(filepath.Join("../testdata/config/good", name))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func addrs(list ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

// equal compares values, leaving out where they stood.
func equal(t *testing.T, want, got any) {
	t.Helper()
	opts := []cmp.Option{
		cmpopts.IgnoreTypes(Pos{}),
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
		cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	}
	if diff := cmp.Diff(want, got, opts...); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func prefixes(texts ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		out[i] = netip.MustParsePrefix(text)
	}
	return out
}

func TestServerSections(t *testing.T) {
	c, err := Parse("t.yaml", []byte(zoneLine+`
server:
  proxy_from: [198.51.100.7, "2001:db8:1::/48"]
  tls: {listen: [192.0.2.53, "[2001:db8::53]:8853"], certificate: tls/cert.pem, key: /etc/key.pem}
  cookies: {secrets: secrets, enforce: true}
  rate_limit: {answers: 1000, burst: 1000, errors: 0, exempt: [], dry_run: true}
`))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, TLS{
		Listen:      []netip.AddrPort{netip.MustParseAddrPort("192.0.2.53:853"), netip.MustParseAddrPort("[2001:db8::53]:8853")},
		Certificate: "tls/cert.pem", Key: "/etc/key.pem",
	}, c.Server.TLS)
	equal(t, prefixes("198.51.100.7/32", "2001:db8:1::/48"), c.Server.ProxyFrom)
	equal(t, Cookies{Secrets: "secrets", Enforce: true}, c.Server.Cookies)
	equal(t, RateLimit{Enabled: true, Answers: 1000, Negatives: 100, Burst: 1000, Slip: 2, DryRun: true}, c.Server.RateLimit)
	for text, want := range map[string]string{
		"server: {tls: {listen: [\":853\"]}}":            "server.tls.certificate: is missing",
		"server: {tls: {certificate: a, key: b}}":        "server.tls.listen: is missing",
		"server: {rate_limit: {errors: 1000}}":           "server.rate_limit.burst: 250 is less than the rate of 1000 a second",
		"server: {proxy_from: [10.0.0.0/8, 10.0.0.0/8]}": "given twice",
	} {
		if _, err := Parse("t.yaml", []byte(zoneLine+text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

func TestDefaults(t *testing.T) {
	c := good(t, "minimal.yaml")
	equal(t, &Config{
		Server: Server{
			Listen:  []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:53"), netip.MustParseAddrPort("[::]:53")},
			UDPSize: 1232, ECS: true, Sandbox: true,
			TCP: TCP{Connections: 1000, PerPrefix: 100, Idle: 10 * time.Second, Message: 2 * time.Second, Handshake: 3 * time.Second, Pipeline: 10000, Transfers: 10},
			RateLimit: RateLimit{
				Enabled: true, Answers: 100, Negatives: 100, Errors: 100, Burst: 250, Slip: 2,
				Exempt: prefixes("127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7", "fe80::/10"),
			},
		},
		Admin:       Admin{Socket: "/run/portolan/admin.sock"},
		State:       State{Dir: "/var/lib/portolan", Grace: 15 * time.Second, Memory: "/dev/shm"},
		Diagnostics: Diagnostics{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}},
		Zones: []Zone{{
			Name: "example.io.", Nameservers: []Nameserver{{Name: "ns.example.net."}},
			Contact: "hostmaster.example.io.", TTL: time.Hour, NegativeTTL: time.Minute,
		}},
		Files: []string{"../testdata/config/good/minimal.yaml"},
	}, c)
}

func TestDesignExample(t *testing.T) {
	c := good(t, "design.yaml")
	r := c.Registries[0]
	equal(t, Registry{
		Key: "myregistry", Name: "myregistry", Zone: "example.io.", Home: "westus", RegionalEndpoints: true,
		Answer: AnswerAuto, RegionalTTL: 5 * time.Minute, RecoveryHold: 10 * time.Minute, AllDown: AllDownNearest, Failback: FailbackAuto,
		Sticky: Sticky{TTL: time.Minute, Idle: 5 * time.Minute, Hold: 15 * time.Minute, Renewals: 4, HoldWritten: true},
		Replicas: []Replica{
			{Region: "westus", Addresses: addrs("192.0.2.10", "2001:db8::10"), Probe: "registry", GlobalEndpointRouting: true},
			{Region: "eastus", Addresses: addrs("192.0.2.20", "2001:db8::20"), Probe: "registry"},
			{Region: "westeurope", Addresses: addrs("192.0.2.30", "2001:db8::30"), Probe: "registry", ProbeTarget: "10.0.0.30:443", GlobalEndpointRouting: true},
		},
	}, r)
	if got := c.Zones[0].Records; got != "../testdata/config/good/example.io.zone" {
		t.Errorf("records = %q, want it beside the file", got)
	}
	// lab is declared and not used; eastus is used and not declared.
	var regions []string
	for _, r := range c.Regions {
		regions = append(regions, r.Name)
	}
	equal(t, []string{"westus", "westeurope", "eastus"}, regions)
	equal(t, Summary{Files: 1, Zones: 1, Regions: 3, Networks: 2, Probes: 1, Registries: 1, Replicas: 3, Names: 4}, c.Summary())
	want := Pos{File: "../testdata/config/good/design.yaml", Line: 31, Column: 7}
	if got := r.Replicas[1].Pos; got != want {
		t.Errorf("position of eastus = %v, want %v", got, want)
	}
}

func TestNames(t *testing.T) {
	c := good(t, "apex.yaml")
	own, team := &c.Registries[0], &c.Registries[1]
	for got, want := range map[string]string{
		own.GlobalName():                       "myregistry.example.com.",
		own.RegionalName(Label(own.Home)):      "us-east-1.geo.myregistry.example.com.",
		own.DataName("us-east-1"):              "us-east-1.data.myregistry.example.com.",
		team.GlobalName():                      "deep.team.example.io.",
		team.RegionalName(Label(team.Home)):    "deep.team.westus.geo.example.io.",
		team.DataName("westus"):                "deep.team.westus.data.example.io.",
		c.Zones[0].Contact:                     `first\.last.example.com.`,
		c.Zones[1].Contact:                     "dnsadmin.example.io.",
		c.Zones[0].Nameservers[0].Name:         "ns1.myregistry.example.com.",
		c.Zones[0].Nameservers[1].Name:         "ns.example.net.",
		c.Zones[1].Name:                        "example.io.",
		c.Zones[1].Nameservers[0].Name:         "ns1.example.io.",
		own.Replicas[0].Region:                 "aws/us-east-1",
		Label("aws/US-East-1") + Label("west"): "us-east-1west",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestAnchors(t *testing.T) {
	c := good(t, "anchors.yaml")
	yes := true
	headers := []Header{{"X-Probe", "portolan"}}
	ok := []StatusRange{{200, 299}}
	equal(t, []Probe{
		{Name: "base", Type: ProbeHTTP, Port: 80, Path: "/", Method: "GET", Headers: headers, Status: ok, Interval: 10 * time.Second, Timeout: time.Second, Fall: 3, Rise: 3},
		{Name: "other", Type: ProbeHTTPS, Port: 443, Path: "/health", Method: "GET", Verify: &yes, Headers: headers, Status: ok, Interval: 10 * time.Second, Timeout: time.Second, Fall: 3, Rise: 3},
		{Name: "third", Type: ProbeHTTP, Port: 8443, Path: "/", Method: "GET", Headers: headers, Status: ok, Interval: 10 * time.Second, Timeout: time.Second, Fall: 7, Rise: 3},
	}, c.Probes)
	a, b, again := c.Registries[0], c.Registries[1], c.Registries[2]
	equal(t, a.Sticky, b.Sticky)
	equal(t, a.Replicas[0].Addresses, b.Replicas[0].Addresses)
	equal(t, a.Replicas, again.Replicas)
	if again.Name != "c" {
		t.Errorf("name = %q, want the key it stands under", again.Name)
	}
}

func TestProbes(t *testing.T) {
	yes, no := true, false
	ok := []StatusRange{{200, 299}}
	times := func(p Probe) Probe {
		p.Interval, p.Timeout, p.Fall, p.Rise = 5*time.Second, 2*time.Second, 3, 3
		return p
	}
	dir := "../testdata/config/good/"
	equal(t, []Probe{
		times(Probe{Name: "registry", Type: ProbeRegistry, Port: 443, Path: "/v2/", TLS: &yes, Verify: &yes}),
		{
			Name: "registry-full", Type: ProbeRegistry, Port: 5000, Path: "/v2/?probe=1", Host: "registry.example.net:5000",
			ServerName: "registry.example.net", TLS: &yes, Verify: &yes, CAFile: dir + "ca.pem", Headers: []Header{{"X-Probe", "portolan"}},
			Manifest: "probes/canary@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", Blob: true, Write: "probes/canary",
			Credentials: "/etc/portolan/probe.credentials", TokenService: "https://auth.example.net/token",
			ClientCertificate: dir + "own.pem", ClientKey: dir + "own.key", Source: addrs("192.0.2.9", "2001:db8::9"),
			Interval: 10 * time.Second, Timeout: 10 * time.Second, Fall: 2, Rise: 1,
		},
		times(Probe{Name: "registry-plain", Type: ProbeRegistry, Port: 80, Path: "/v2/", TLS: &no}),
		times(Probe{Name: "http", Type: ProbeHTTP, Port: 80, Path: "/", Method: "GET", Status: ok}),
		times(Probe{
			Name: "harbor", Type: ProbeHTTPS, Port: 443, Path: "/api/v2.0/health", Method: "GET", Verify: &no,
			Status: []StatusRange{{200, 200}, {204, 204}, {400, 499}}, Body: "healthy", BodyRegexp: `"status": *"healthy"`,
			JSON: []JSONMatch{{"status", "healthy"}, {"components[0].up", "true"}, {"components[0].count", "3"}},
		}),
		times(Probe{Name: "tcp", Type: ProbeTCP, Port: 443}),
		times(Probe{Name: "tls", Type: ProbeTLS, Port: 8443, ServerName: "registry.example.net", Verify: &yes}),
		times(Probe{Name: "exec", Type: ProbeExec, Command: []string{"/usr/local/bin/check", "--deep", ""}}),
		times(Probe{Name: "portless", Type: ProbeTCP, Source: addrs("192.0.2.9")}),
		{Name: "fast", Type: ProbeHTTP, Port: 80, Path: "/", Method: "GET", Status: ok, Interval: time.Second, Timeout: time.Second, Fall: 3, Rise: 3},
	}, good(t, "probes.yaml").Probes)
}

// TestFamilies sees that what families excludes is gone, everywhere.
func TestFamilies(t *testing.T) {
	r := good(t, "targets.yaml").Registries[0]
	equal(t, []Replica{
		{Region: "westus", Addresses: addrs("192.0.2.10"), GlobalEndpointRouting: true, Data: &DataEndpoint{Target: "blobs.example.net."}},
		{Region: "eastus", Addresses: addrs("192.0.2.20"), GlobalEndpointRouting: true, Data: &DataEndpoint{Addresses: addrs("192.0.2.20")}},
		{Region: "westeurope", Target: "lb.example.net.", GlobalEndpointRouting: true, Data: &DataEndpoint{Target: "lb.example.net."}},
		{Region: "northeurope", Target: "lb2.example.net.", GlobalEndpointRouting: true, Data: &DataEndpoint{Addresses: addrs("192.0.2.40")}},
	}, r.Replicas)
	if r.Sticky.Hold != 0 || r.Sticky.TTL != time.Minute || r.Home != "eastus" || r.AllDown != AllDownNoData || r.Answer != AnswerAddress {
		t.Errorf("registry = %+v", r)
	}
}
