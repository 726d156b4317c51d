//go:build linux

package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// readdressable is a server whose replica in westus can be given another address.
const readdressable = `
server: {listen: ["127.0.0.1:0"], identity: e2e}
admin: {socket: $DIR/admin.sock, metrics: "127.0.0.1:0"}
state: {dir: $DIR, grace: 0s}
zones: {example.io: {nameservers: {ns1: [192.0.2.53]}}}
registries:
  myregistry:
    sticky: {ttl: 300s}
    replicas: {westus: {addresses: [192.0.2.10]}, eastus: {addresses: [192.0.2.20]}}
`

// TestAddressesInUse gives a replica another address while a client uses it: by a signal, the
// verb, and an upgrade, each of which gives way and changes nothing; then by force; and
// then in the order that the refusal says.
func TestAddressesInUse(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, readdressable)
	program := portolan(t)
	expect := func(when, want string) {
		t.Helper()
		if got := addresses(s.client().ask(t, question("myregistry.example.io", "A", subnet(seattle)))); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %v, want %s", when, got, want)
		}
	}
	expect("at first", "192.0.2.10")
	const refusal = "the addresses of myregistry/westus (1 active client)"
	at := s.log.len()
	if line := s.reload(strings.Replace(readdressable, "192.0.2.10", "192.0.2.77", 1)); !strings.Contains(line, "level=ERROR") || !strings.Contains(line, refusal) {
		t.Errorf("SIGHUP: %s", line)
	}
	for _, verb := range []string{"reload", "upgrade"} {
		if o := run(t, nil, program, verb, "--socket", s.socket()); o.code != 3 || !strings.Contains(o.text, refusal) || !strings.Contains(o.text, "portolan drain westus -r myregistry --wait") {
			t.Errorf("%s: exit code %d: %s", verb, o.code, o.text)
		}
		expect("after a refused "+verb, "192.0.2.10")
	}
	if text := must(t, nil, program, "reload", "--dry-run", "--socket", s.socket()); !strings.Contains(text, "would be refused: ") || !strings.Contains(text, "myregistry westus loses addresses: 1 active clients") {
		t.Errorf("dry run: %s", text)
	}
	if line := s.log.line(at, "msg=reloaded"); line != "" {
		t.Errorf("something was reloaded: %s", line)
	}
	at = s.log.len()
	must(t, nil, program, "upgrade", "--force", "--socket", s.socket())
	s.follow(at)
	if s.log.line(at, "active clients lose the addresses of their replica") == "" {
		t.Error("a forced upgrade says nothing of the clients")
	}
	expect("after a forced upgrade", "192.0.2.77")

	admin := s.operator(t)
	admin.must("/v1/drain", fields{"registry": "myregistry", "region": "westus", "deadline": "1ms"})
	eventually(t, patience, "nobody is held", func() bool {
		d := s.admin(t, http.MethodGet, "/v1/drains", "")
		return len(d) == 1 && d[0].SafeAt != nil
	})
	s.configure(t, readdressable)
	must(t, nil, program, "reload", "--socket", s.socket())
	admin.must("/v1/undrain", fields{"registry": "myregistry", "region": "westus"})
	newcomers := 0
	eventually(t, patience, "the replica is answered again", func() bool {
		newcomers++ // who has asked while it was drained is held elsewhere
		got := addresses(s.client().ask(t, question("myregistry.example.io", "A", subnet(fmt.Sprintf("128.95.%d.0/24", newcomers)))))
		return len(got) == 1 && got[0] == "192.0.2.10"
	})
}

// TestSafeAtAfterALowerTTL lowers the TTL by a restart, an upgrade and a kill in turn: caches
// have what the process before has answered.
func TestSafeAtAfterALowerTTL(t *testing.T) {
	t.Parallel()
	for _, by := range []struct {
		name string
		take func(t *testing.T, s *server)
	}{
		{"upgrade", func(_ *testing.T, s *server) { s.upgrade() }},
		{"restart", func(t *testing.T, s *server) { t.Helper(); s.stop(); s.again(t) }},
		{"kill", func(t *testing.T, s *server) { t.Helper(); s.kill(); s.again(t) }},
	} {
		t.Run(by.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, nil, strings.Replace(readdressable, "ttl: 300s", "ttl: 300s, hold: 0s", 1))
			s.client().ask(t, question("myregistry.example.io", "A", subnet(seattle)))
			given := time.Now()
			s.configure(t, strings.Replace(readdressable, "ttl: 300s", "ttl: 30s, hold: 0s", 1))
			by.take(t, s)
			taken := time.Now()
			s.operator(t).must("/v1/drain", fields{"registry": "myregistry", "region": "westus"})
			var d drainStatus
			eventually(t, patience, "it is known when the drain is safe", func() bool {
				all := s.admin(t, http.MethodGet, "/v1/drains", "")
				if len(all) != 1 || all[0].SafeAt == nil {
					return false
				}
				d = all[0]
				return true
			})
			// The process before has ended at taken at the latest.
			if earliest, latest := given.Add(300*time.Second), taken.Add(310*time.Second); d.SafeAt.Before(earliest) || d.SafeAt.After(latest) || d.Bound.Before(earliest) {
				t.Errorf("safe at %v, bound %v, want %v to %v", d.SafeAt, d.Bound, earliest, latest)
			}
		})
	}
}
