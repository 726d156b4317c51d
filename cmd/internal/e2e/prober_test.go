//go:build linux

package e2e

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"portolan.dev/cmd/internal/admin"
)

// outageConfig has replicas behind the way out of the machine, and anchors there too,
// one of which refuses connections.
const outageConfig = `
server: {listen: ["127.0.0.1:53"], identity: e2e}
admin: {socket: $DIR/admin.sock, metrics: "127.0.0.1:0"}
state: {dir: $DIR}
health: {anchors: ["198.51.100.53:1", "198.51.100.54:1"]}
zones: {example.io: {nameservers: {ns1: [192.0.2.53, "2001:db8::53"]}}}
probes:
  registry: {type: registry, tls: false, port: 5000, interval: 1s, timeout: 1s, fall: 2, rise: 2}
registries:
  myregistry:
    sticky: off
    recovery_hold: 2s
    replicas:
      westus: {addresses: [198.51.100.10], probe: registry}
      eastus: {addresses: [198.51.100.20], probe: registry}
      westeurope: {addresses: [198.51.100.30], probe: registry}
`

// outages are ways in which a machine loses its way out, and how it gets it back. The
// commands run on the machine, or at its other end.
var outages = []struct {
	name       string
	lose, mend []string
	away       bool
	reason     string
}{
	{
		"link down",
		[]string{"ip link set up0 down"},
		[]string{"ip link set up0 up", "ip route add default via 192.0.2.2"},
		false, "network is unreachable",
	},
	{"no route", []string{"ip route del default"}, []string{"ip route add default via 192.0.2.2"}, false, "network is unreachable"},
	{
		"no address",
		[]string{"ip addr del 192.0.2.1/24 dev up0"},
		[]string{"ip addr add 192.0.2.1/24 dev up0", "ip route add default via 192.0.2.2"},
		false, "network is unreachable",
	},
	{
		"packets vanish",
		[]string{"nft add table inet e2e", "nft add chain inet e2e in { type filter hook input priority 0; policy drop; }"},
		[]string{"nft delete table inet e2e"},
		true, "no anchor answers",
	},
}

// TestOutageOfTheProber takes the way out of the server's machine away, for far longer
// than takes a replica down, and brings it back. Nothing may change by that. A replica
// that dies then is left in time.
func TestOutageOfTheProber(t *testing.T) {
	t.Parallel()
	need(t, "nft")
	for _, o := range outages {
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			here := newNetns(t, "127.0.0.1")
			there := newNetns(t, "127.0.0.1", "198.51.100.10", "198.51.100.20", "198.51.100.30", "198.51.100.53", "198.51.100.54")
			connect(t, here, there)
			var replicas []net.Listener
			for _, a := range []string{"198.51.100.10:5000", "198.51.100.20:5000", "198.51.100.30:5000"} {
				replicas = append(replicas, serveOK(t, there, a))
			}
			s := serve(t, here, outageConfig)
			want := []string{"198.51.100.10", "198.51.100.20", "198.51.100.30"}
			eventually(t, patience, "every replica is up", func() bool { return slices.Equal(states(t, s), []string{"up", "up", "up"}) })

			at, end := s.log.len(), here
			if o.away {
				end = there
			}
			for _, c := range o.lose {
				must(t, end, "sh", "-c", quoted(c))
			}
			began := time.Now()
			for time.Since(began) < 20*time.Second {
				if got := outageAnswers(t, s); !slices.Equal(got, want) {
					t.Fatalf("%v after the loss the answers are %v", time.Since(began), got)
				}
				if got := states(t, s); !slices.Equal(got, []string{"up", "up", "up"}) {
					t.Fatalf("%v after the loss the replicas are %v", time.Since(began), got)
				}
				time.Sleep(100 * time.Millisecond)
			}
			var st admin.Status
			s.operator(t).get("/v1/status", &st)
			if p := st.Prober; !p.Impaired || p.Since == nil || !strings.Contains(p.Reason, o.reason) {
				t.Errorf("status: %+v, want %q", p, o.reason)
			}
			if v := s.scrape().get(t, "portolan_prober_impaired"); v != 1 {
				t.Errorf("portolan_prober_impaired is %v", v)
			}
			if out := must(t, here, portolan(t), "status", "--socket", s.socket()); !strings.Contains(out, "prober: impaired since") {
				t.Errorf("portolan status:\n%s", out)
			}
			if o.away != (s.scrape().get(t, "portolan_probe_local_errors_total") == 0) {
				t.Error("portolan_probe_local_errors_total does not count what failed here, and that alone")
			}
			if n := s.scrape().get(t, "portolan_replicas_unobserved"); !o.away && n != 3 {
				t.Errorf("portolan_replicas_unobserved is %v", n)
			}
			if lost := s.log.line(at, "replicas cannot be probed from here"); (lost == "") != o.away {
				t.Errorf("the log says %q of replicas that are not seen", lost)
			}
			for _, c := range o.mend {
				must(t, end, "sh", "-c", quoted(c))
			}
			s.waitLog(at, "the prober is well again")
			eventually(t, patience, "the metric says so", func() bool { return s.scrape().get(t, "portolan_prober_impaired") == 0 })
			if n := strings.Count(s.log.String()[at:], "the prober is in trouble itself"); n != 1 {
				t.Errorf("%d lines say that the prober is in trouble", n)
			}
			if got := outageAnswers(t, s); !slices.Equal(got, want) {
				t.Errorf("after the outage the answers are %v", got)
			}
			// All are seen again; now one dies.
			eventually(t, patience, "nothing is unobserved", func() bool { return s.scrape().get(t, "portolan_replicas_unobserved") == 0 })
			died := time.Now()
			replicas[0].Close()
			eventually(t, patience, "the dead replica is left", func() bool { return outageAnswers(t, s)[0] != want[0] })
			if took := time.Since(died); took > detectWithin {
				t.Errorf("that took %v, more than %v", took, detectWithin)
			}
			if line := s.log.line(0, `msg="replica is down"`); !strings.Contains(line, "westus") {
				t.Errorf("the first replica down: %s", line)
			}
		})
	}
}

// TestProbeWithoutAWayOut: the verb says that it is the machine, and does not succeed.
func TestProbeWithoutAWayOut(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "portolan.yaml")
	if err := os.WriteFile(path, []byte(outageConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	o := run(t, newNetns(t, "127.0.0.1"), portolan(t), "probe", "-c", path)
	if n := strings.Count(o.text, "here: connect: network is unreachable"); o.code != 1 || n != 3 {
		t.Errorf("exit code %d:\n%s", o.code, o.text)
	}
}

// quoted keeps the shell from taking what is for nft.
func quoted(command string) string {
	return strings.NewReplacer("{", `'{`, "}", `}'`).Replace(command)
}

// connect makes a link between two namespaces, up0 at both ends, and the second one the
// way out of the first.
func connect(t *testing.T, here, there *netns) {
	t.Helper()
	must(t, nil, "ip", "-n", here.name, "link", "add", "up0", "type", "veth", "peer", "name", "up0", "netns", there.name)
	for _, c := range []struct {
		n    *netns
		addr string
	}{{here, "192.0.2.1/24"}, {there, "192.0.2.2/24"}} {
		must(t, c.n, "ip", "addr", "add", c.addr, "dev", "up0")
		must(t, c.n, "ip", "link", "set", "up0", "up")
	}
	must(t, here, "ip", "route", "add", "default", "via", "192.0.2.2")
}

// serveOK answers every request with 200.
func serveOK(t *testing.T, n *netns, addr string) net.Listener {
	t.Helper()
	var l net.Listener
	if err := n.do(func() (err error) { l, err = net.Listen("tcp", addr); return err }); err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), ReadHeaderTimeout: patience}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { s.Close(); <-done })
	return l
}

// outageAnswers returns the address that each client is led to.
func outageAnswers(t *testing.T, s *server) (out []string) {
	t.Helper()
	for _, from := range []string{seattle, newYork, amsterdam} {
		out = append(out, addresses(s.client().ask(t, question("myregistry.example.io", "A", subnet(from))))...)
	}
	return out
}

// states returns the health of the replicas in the order of the file.
func states(t *testing.T, s *server) (out []string) {
	t.Helper()
	var st admin.Status
	s.operator(t).get("/v1/status", &st)
	for _, r := range st.Registries[0].Replicas {
		out = append(out, r.State)
	}
	return out
}
