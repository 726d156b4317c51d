package compile_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// probed has two registries on the same two addresses, in the same two regions.
func probed(probe, first, second string) string {
	return fmt.Sprintf(`
zones: {example.io: {nameservers: {ns1: [192.0.2.53]}}}
probes: {p: {%s}, q: {type: tcp, port: 443, interval: 7s}}
registries:
  a: {%s, replicas: {westus: {addresses: [192.0.2.1], probe: p}, eastus: {addresses: [192.0.2.2], probe: p}}}
  b: {%s, replicas: {eastus: {addresses: [192.0.2.2], probe: p}, westus: {addresses: [192.0.2.1], probe: p}}}
`, probe, first, second)
}

// The same look at the same target is taken once, however many registries share
// it; what is sent differently, or judged differently, is another look.
func TestEndpointsAreShared(t *testing.T) {
	const plain = "home: westus"
	for _, tt := range []struct {
		what, probe, first, second string
		shared                     bool
	}{
		{"tcp sends no name", "type: tcp, port: 443", plain, plain, true},
		{"a registry is asked by its own name", "type: registry", plain, plain, false},
		{"host and server_name are the same", "type: registry, host: r.test, server_name: r.test", plain, plain, true},
		{"host is the same, SNI is not", "type: registry, host: r.test", plain, plain, false},
		{"SNI is the same, host is not", "type: registry, server_name: r.test", plain, plain, false},
		{"without TLS there is no SNI", "type: registry, tls: false, host: r.test", plain, plain, true},
		{"http has no SNI", "type: http, host: r.test", plain, plain, true},
		{"http has a host", "type: http", plain, plain, false},
		{"a handshake has no host", "type: tls, server_name: r.test", plain, plain, true},
		{"a handshake has SNI", "type: tls", plain, plain, false},
		{"a command is told of both", "type: exec, command: [/bin/true]", plain, plain, false},
		{"another hold", "type: tcp, port: 443", plain, "recovery_hold: 1m", false},
	} {
		t.Run(tt.what, func(t *testing.T) {
			r := run{}.must(t, probed(tt.probe, tt.first, tt.second))
			want, members := 4, 1
			if tt.shared {
				want, members = 2, 2
			}
			if len(r.Endpoints) != want {
				t.Fatalf("%d endpoints, want %d", len(r.Endpoints), want)
			}
			for _, e := range r.Endpoints {
				m := r.Members(e.Key)
				if len(m) != members || len(e.Checks) != 1 {
					t.Fatalf("%s: members %v, %d checks", e.Key, m, len(e.Checks))
				}
				if tt.shared && (m[0].Registry == m[1].Registry || m[0].Region != m[1].Region) {
					t.Errorf("%s: members %v", e.Key, m)
				}
				// The member's region is that of the address.
				label := r.Snapshot.Regions[m[0].Region].Label
				if address := map[string]string{"westus": "192.0.2.1:", "eastus": "192.0.2.2:"}[label]; tt.probe[:9] != "type: exe" && !strings.Contains(e.Key, address) {
					t.Errorf("%s decides for %s", e.Key, label)
				}
			}
		})
	}
}

// Every address of a replica is a check of its own; probe_target stands in for
// them, and a target is dialed by name.
func TestChecks(t *testing.T) {
	r := run{}.must(t, `
zones: {example.io: {nameservers: {ns1: [192.0.2.53]}}}
probes: {p: {type: tcp, port: 444, interval: 7s, timeout: 3s, fall: 4, rise: 5}}
registries:
  a: {recovery_hold: 1m, families: ipv4, replicas: {westus: {addresses: [192.0.2.1, 192.0.2.2], probe: p}, eastus: {addresses: [192.0.2.3], probe: p, probe_target: "10.0.0.1:5000"}, westeurope: {addresses: [192.0.2.4]}}}
  b: {replicas: {westus: {target: lb.test, probe: p}}}
  c: {replicas: {westus: {addresses: ["2001:db8::1"], probe: p}}}
`)
	var got []string
	for _, e := range r.Endpoints {
		for _, c := range e.Checks {
			got = append(got, c.Name)
			if c.Interval != 7*time.Second || c.Timeout != 3*time.Second || c.Fall != 4 || c.Rise != 5 || c.Prober == nil {
				t.Errorf("%+v", c)
			}
		}
	}
	if want := []string{"p 192.0.2.1:444", "p 192.0.2.2:444", "p 10.0.0.1:5000", "p lb.test:444", "p [2001:db8::1]:444"}; !slices.Equal(got, want) {
		t.Errorf("checks %q, want %q", got, want)
	}
	if r.Endpoints[0].RecoveryHold != time.Minute || r.Endpoints[2].RecoveryHold != 10*time.Minute {
		t.Errorf("holds %v and %v", r.Endpoints[0].RecoveryHold, r.Endpoints[2].RecoveryHold)
	}
	if len(r.Endpoints) != 4 {
		t.Errorf("%d endpoints", len(r.Endpoints))
	}
}

// Faults of the files that probes name say whose they are, once for each replica.
func TestFaultsOfProbeFiles(t *testing.T) {
	for _, keys := range []string{"ca_file: f", "credentials: f", "client_certificate: f, client_key: k"} {
		key, _, _ := strings.Cut(keys, ":")
		_, err := run{}.compile(t, probed("type: registry, "+keys, "home: westus", "home: westus"))
		says(t, err, "probe p: "+key+": f: cannot be used", "test.yaml:5:", "registries.a.replicas.westus:", "registries.a.replicas.eastus:",
			"registries.b.replicas.eastus:", "registries.b.replicas.westus:")
	}
}

func TestAnchors(t *testing.T) {
	r := run{}.must(t, probed("type: tcp, port: 443", "home: westus", "home: westus")+`health: {anchors: ["192.0.2.9:443", "[2001:db8::9]:53"]}`)
	var got []string
	for _, a := range r.Anchors {
		if a.Prober == nil {
			t.Errorf("%s has no prober", a.Name)
		}
		got = append(got, a.Name)
	}
	if want := []string{"192.0.2.9:443", "[2001:db8::9]:53"}; !slices.Equal(got, want) {
		t.Errorf("anchors %v, want %v", got, want)
	}
}
