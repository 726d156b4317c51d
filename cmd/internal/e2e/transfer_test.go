//go:build linux

package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

const transferConfig = `
server: {listen: ["127.0.0.1:0"], sandbox: false}
admin: {socket: $DIR/admin.sock, metrics: "127.0.0.1:0"}
state: {dir: $DIR/state}
geo: {default_region: westus}
zones:
  file.test:
    records: file.test.zone
    transfer: {allow: [127.0.0.1], tsig: transfer.key, notify: ["127.0.0.1:%d", "127.0.0.1:%d"]}
  open.test:
    nameservers: {ns.file.test.: []}
    transfer: {allow: [127.0.0.0/8]}
registries:
  reg:
    zone: open.test
    regional_endpoints: enabled
    replicas: {westus: {addresses: [192.0.2.1]}, eastus: {addresses: [192.0.2.2]}}
`

const transferKey = `key "xfr.test" {
	algorithm hmac-sha256;
	secret "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
};
`

//nolint:dupword // names at the ends and beginnings of lines
const transferZone = `@ 300 SOA ns host 1 7200 900 1209600 60
@ NS ns
ns A 192.0.2.53
*.wild TXT "any"
sub NS ns.sub
ns.sub A 192.0.2.54
d DNAME wild
a\.b\000 A 192.0.2.4
t TYPE65280 \# 3 010203
`

// portOf is a UDP port that nothing is bound to now.
func portOf(t *testing.T) int {
	t.Helper()
	return int(netip.MustParseAddrPort(freePort(t)).Port())
}

// Real secondaries fetch a zone with a key, hear of a change at once, and serve it;
// whoever has no key gets nothing.
func TestSecondaries(t *testing.T) {
	t.Parallel()
	programs := need(t, "nsd", "knotd", "kdig")
	ports := [2]int{portOf(t), portOf(t)}
	config := fmt.Sprintf(transferConfig, ports[0], ports[1])
	s := serve(t, nil, config, file{"file.test.zone", transferZone}, file{"transfer.key", transferKey})
	port := s.addrs[0].Port()
	start(t, nil, programs[0], "-d", "-c", nsdSecondary(t, ports[0], port))
	start(t, nil, programs[1], "-c", knotSecondary(t, ports[1], port))
	ask := func(port int, name string, qtype uint16) *dns.Msg {
		m := new(dns.Msg)
		m.SetQuestion(name, qtype)
		r, _, err := new(dns.Client).Exchange(m, fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return new(dns.Msg)
		}
		return r
	}
	for _, p := range ports {
		eventually(t, patience, "the secondary has the zone", func() bool {
			r := ask(p, "q.d.file.test.", dns.TypeTXT)
			return r.Authoritative && len(r.Answer) == 3
		})
	}
	s.write(t, file{"file.test.zone", transferZone + "new A 192.0.2.99\n"})
	if line := s.hup(); !strings.Contains(line, "reloaded") {
		t.Fatal(line)
	}
	for _, p := range ports {
		eventually(t, patience, "the secondary hears of the change", func() bool {
			return len(ask(p, "new.file.test.", dns.TypeA).Answer) == 1
		})
	}
	before := s.scrape()
	transferByHand(t, programs[2], int(port))
	after := s.scrape()
	for outcome, atLeast := range map[string]float64{"sent": 3, "refused": 2, "bad_signature": 1} {
		series := `portolan_transfers_total{outcome="` + outcome + `"}`
		if n := after.get(t, series) - before.get(t, series); n < atLeast { // the secondaries may ask meanwhile, too
			t.Errorf("%s rose by %v, want %v", series, n, atLeast)
		}
	}
	if n := after.get(t, "portolan_transfer_bytes_total"); n < 500 {
		t.Errorf("%v octets", n)
	}
	if n := after.get(t, `portolan_zone_notifies_total{outcome="acknowledged"}`); n < 2 {
		t.Errorf("%v were acknowledged", n)
	}
}

// transferByHand asks for zones with kdig.
func transferByHand(t *testing.T, kdig string, port int) {
	t.Helper()
	run := func(args ...string) string {
		var n *netns
		out, _ := n.command(kdig, append([]string{"@127.0.0.1", "-p", strconv.Itoa(port), "+tcp"}, args...)...).CombinedOutput()
		return string(out)
	}
	const key = "hmac-sha256:xfr.test:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	for _, tt := range []struct {
		args []string
		want []string
		not  []string
	}{
		{[]string{"-t", "AXFR", "file.test"}, []string{"REFUSED"}, []string{"192.0.2.54"}},
		{[]string{"-y", key, "-t", "AXFR", "file.test"}, []string{"192.0.2.54", "DNAME", "010203", "192.0.2.99"}, []string{"TSIG error", "REFUSED"}},
		{[]string{"-y", strings.Replace(key, "AAEC", "BBEC", 1), "-t", "AXFR", "file.test"}, []string{"BADSIG"}, []string{"192.0.2.54"}},
		{[]string{"-y", key, "-t", "SOA", "file.test"}, []string{"NOERROR"}, []string{"BADKEY", "NOTAUTH"}},
		{[]string{"-t", "AXFR", "open.test"}, []string{"reg.westus.geo.open.test", "192.0.2.2"}, []string{"\nreg.open.test"}},
		{[]string{"-t", "IXFR=4294967295", "open.test"}, []string{"SOA"}, nil},
		{[]string{"-t", "AXFR", "none.test"}, []string{"REFUSED"}, nil},
	} {
		out := run(tt.args...)
		for _, w := range tt.want {
			if !strings.Contains(out, w) {
				t.Errorf("%v does not say %q:\n%s", tt.args, w, out)
			}
		}
		for _, w := range tt.not {
			if strings.Contains(out, w) {
				t.Errorf("%v says %q:\n%s", tt.args, w, out)
			}
		}
	}
}

// A key that others can read is refused.
func TestTransferKeyMode(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("portolan.yaml", strings.ReplaceAll(fmt.Sprintf(transferConfig, 1, 2), "$DIR", dir), 0o600)
	write("file.test.zone", transferZone, 0o600)
	write("transfer.key", transferKey, 0o644)
	var n *netns
	out, err := n.command(portolan(t), "check", "-c", filepath.Join(dir, "portolan.yaml")).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "transfer.key") || !strings.Contains(string(out), "chmod") {
		t.Errorf("%v\n%s", err, out)
	}
}

func nsdSecondary(t *testing.T, port int, primary uint16) string {
	t.Helper()
	dir := t.TempDir()
	return writeSettings(t, dir, "nsd.conf", fmt.Sprintf(`server:
  ip-address: 127.0.0.1@%d
  server-count: 1
  username: ""
  chroot: ""
  zonesdir: %[2]q
  database: ""
  pidfile: "%[2]s/nsd.pid"
  xfrdfile: "%[2]s/xfrd.state"
  zonelistfile: "%[2]s/zone.list"
  xfrdir: %[2]q
remote-control:
  control-enable: no
key:
  name: xfr.test
  algorithm: hmac-sha256
  secret: "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
zone:
  name: file.test
  zonefile: file.test
  request-xfr: 127.0.0.1@%[3]d xfr.test
  allow-notify: 127.0.0.1 xfr.test
`, port, dir, primary))
}

func knotSecondary(t *testing.T, port int, primary uint16) string {
	t.Helper()
	dir := t.TempDir()
	return writeSettings(t, dir, "knot.conf", fmt.Sprintf(`server:
  rundir: %[2]q
  listen: 127.0.0.1@%[1]d
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
database:
  storage: %[2]q
log:
- target: stderr
  any: info
key:
- id: xfr.test
  algorithm: hmac-sha256
  secret: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=
remote:
- id: primary
  address: 127.0.0.1@%[3]d
  key: xfr.test
acl:
- id: told
  address: 127.0.0.1
  key: xfr.test
  action: notify
zone:
- domain: file.test
  storage: %[2]q
  master: primary
  acl: told
`, port, dir, primary))
}

func writeSettings(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
