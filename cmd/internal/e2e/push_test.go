//go:build linux

package e2e

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

const (
	pushes     = 10
	pushLayers = 8
	layerSize  = 256 << 10
	pushName   = "myregistry.example.io"
	repository = "team/app"
)

// pushFamily is a namespace's resolver and the replicas that it leads to.
type pushFamily struct {
	name     string
	resolver string
	replicas []string
}

var pushFamilies = []pushFamily{
	{"IPv4", "127.0.0.1", []string{"127.0.0.11", "127.0.0.12", "127.0.0.13"}},
	{"IPv6", "::1", []string{"fd00::11", "fd00::12", "fd00::13"}},
}

// setUp makes the namespace and starts the replicas.
func (f pushFamily) setUp(t *testing.T) (*netns, []*registry) {
	t.Helper()
	need(t, "skopeo", "docker-registry")
	var extra []string
	for _, a := range f.replicas {
		if strings.Contains(a, ":") {
			extra = append(extra, a+"/128")
		}
	}
	n := newNetns(t, f.resolver, extra...)
	registries := make([]*registry, len(f.replicas))
	for i, a := range f.replicas {
		registries[i] = newRegistry(t, n, net.JoinHostPort(a, "5000"))
	}
	return n, registries
}

// config leads loopback to westeurope, which is neither the first in the file nor
// the first in any order.
func (f pushFamily) config(order ...int) string {
	var b strings.Builder
	fmt.Fprintf(&b, `
server: {listen: ["%s"]}
admin: {socket: $DIR/admin.sock, metrics: "127.0.0.1:0"}
state: {dir: $DIR}
geo: {networks: {here: {prefixes: [127.0.0.0/8, "::1"], region: westeurope}}}
zones: {example.io: {nameservers: {ns1: [192.0.2.53, "2001:db8::53"]}}}
probes: {registry: {type: registry, tls: false, port: 5000, interval: 500ms, fall: 2, rise: 2}}
registries:
  myregistry:
    regional_endpoints: enabled
    recovery_hold: 1s
    replicas:
`, net.JoinHostPort(f.resolver, "53"))
	for _, i := range order {
		fmt.Fprintf(&b, "      %s: {addresses: [\"%s\"], probe: registry}\n", []string{"westus", "westeurope", "eastus"}[i], f.replicas[i])
	}
	return b.String()
}

// TestPush pushes fresh images through the global name with a client that
// resolves the name anew for each of its requests.
func TestPush(t *testing.T) {
	t.Parallel()
	for _, f := range pushFamilies {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			n, registries := f.setUp(t)
			s := serve(t, n, f.config(0, 1, 2))
			pushAll(t, s, registries, "quiet", pushes)
			pushDisturbed(t, s, registries, f)
		})
	}
}

// pushAll pushes that many images and wants each of them on the second replica
// and nowhere else.
func pushAll(t *testing.T, s *server, registries []*registry, tag string, count int) {
	t.Helper()
	succeeded := 0
	var queries, took []string
	for i := range count {
		image := freshImage(t, pushLayers, layerSize)
		before, begin := s.scrape(), time.Now()
		o := image.push(t, s.ns, fmt.Sprintf("%s:5000/%s:%s-%d", pushName, repository, tag, i))
		took = append(took, time.Since(begin).Round(10*time.Millisecond).String())
		queries = append(queries, fmt.Sprint(s.scrape().sum("portolan_queries_total")-before.sum("portolan_queries_total")))
		if o.code != 0 {
			t.Errorf("push %d: exit code %d\n%s", i, o.code, o.text)
			continue
		}
		succeeded++
		image.only(t, registries, 1)
	}
	t.Logf("%s: %d of %d pushes succeeded; queries per push %v; time per push %v", tag, succeeded, count, queries, took)
}

// only wants the whole image in one registry and no part of it in the others.
func (i *image) only(t *testing.T, registries []*registry, at int) {
	t.Helper()
	for j, r := range registries {
		have, manifests := r.blobs(), r.manifests(repository)
		for _, blob := range i.blobs {
			if slices.Contains(have, blob) != (j == at) {
				t.Errorf("blob %s in the registry at %s: %v, want %v", blob, r.addr, j != at, j == at)
			}
		}
		if slices.Contains(manifests, i.manifest) != (j == at) {
			t.Errorf("manifest in the registry at %s: %v, want %v", r.addr, j != at, j == at)
		}
	}
}

// disturbances is how many reloads must have fallen into the pushes of
// pushDisturbed. How many pushes that takes depends on the machine.
const disturbances = 5

// pushDisturbed pushes while everything happens that must not matter: the
// configuration is loaded again and again, in another order each time, and the
// other replicas die and come back.
func pushDisturbed(t *testing.T, s *server, registries []*registry, f pushFamily) {
	t.Helper()
	registries[0].kill()
	stop, done := make(chan struct{}), make(chan struct{})
	var reloads atomic.Int32
	go func() {
		defer close(done)
		s.keepReloading(t, stop, &reloads, f.config(2, 1, 0), f.config(1, 0, 2), f.config(0, 1, 2))
	}()
	pushAll(t, s, registries, "disturbed", 3)
	registries[0].start()
	registries[0].await()
	pushAll(t, s, registries, "again", 2)
	end := time.Now().Add(patience)
	for i := 0; reloads.Load() < disturbances && time.Now().Before(end); i++ {
		pushAll(t, s, registries, fmt.Sprintf("once-more-%d", i), 1)
	}
	close(stop)
	<-done
	if n := reloads.Load(); n < disturbances {
		t.Errorf("%d reloads: nothing was disturbed", n)
	}
}

// keepReloading reloads one configuration after the other until stop is closed,
// and counts in done how often that was finished.
func (s *server) keepReloading(t *testing.T, stop chan struct{}, done *atomic.Int32, configs ...string) {
	t.Helper()
	for n := 0; ; n++ {
		at := s.log.len()
		s.configure(t, configs[n%len(configs)])
		if err := s.now.Signal(syscall.SIGHUP); err != nil {
			t.Error(err)
			return
		}
		for s.log.line(at, "msg=reloaded") == "" {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
		done.Add(1)
	}
}

// TestPushNeedsStickiness is the control: against a name server that leads each
// query to the other replica, as round robin does, pushes fail. Without it,
// TestPush could be passed by a client that never asks twice.
func TestPushNeedsStickiness(t *testing.T) {
	t.Parallel()
	f := pushFamilies[0]
	n, registries := f.setUp(t)
	alternate(t, n, net.JoinHostPort(f.resolver, "53"), f.replicas[:2])
	failed := 0
	const attempts = 3
	for i := range attempts {
		image := freshImage(t, pushLayers, layerSize)
		o := image.push(t, n, fmt.Sprintf("%s:5000/%s:alternate-%d", pushName, repository, i))
		if o.code == 0 {
			continue
		}
		failed++
		if !strings.Contains(o.text, "blob") {
			t.Errorf("the push failed for another reason: %s", o.text)
		}
		t.Logf("alternating: %s", strings.TrimSpace(o.text))
	}
	t.Logf("alternating: %d of %d pushes failed; blobs on the replicas: %d and %d", failed, attempts, len(registries[0].blobs()), len(registries[1].blobs()))
	if failed == 0 {
		t.Error("no push failed: TestPush proves nothing")
	}
}

// alternate serves pushName in a namespace: each query for its address gets the
// next replica, with TTL 0.
func alternate(t *testing.T, n *netns, addr string, replicas []string) {
	t.Helper()
	var next atomic.Uint32
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.Authoritative = true
		text := fmt.Sprintf("%s 60 SOA ns1.%[1]s hostmaster.%[1]s 1 7200 900 1209600 60", dns.Fqdn(pushName))
		if q.Question[0].Qtype == dns.TypeA {
			text = fmt.Sprintf("%s 0 A %s", dns.Fqdn(pushName), replicas[int(next.Add(1))%len(replicas)])
		}
		rr, err := dns.NewRR(text)
		if err != nil {
			panic(err) // the texts above
		}
		if q.Question[0].Qtype == dns.TypeA {
			m.Answer = append(m.Answer, rr)
		} else {
			m.Ns = append(m.Ns, rr)
		}
		_ = w.WriteMsg(m) // who does not get it asks again
	})
	serveDNS(t, n, addr, handler)
}

// serveDNS serves a handler over UDP in a namespace, until the test ends.
func serveDNS(t *testing.T, n *netns, addr string, handler dns.Handler) (at string) {
	t.Helper()
	var conn net.PacketConn
	err := n.do(func() (err error) {
		conn, err = net.ListenPacket("udp", addr)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	srv := &dns.Server{PacketConn: conn, Handler: handler}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.ActivateAndServe() // ends with the connection
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	return conn.LocalAddr().String()
}
