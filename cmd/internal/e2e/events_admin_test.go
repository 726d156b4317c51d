//go:build linux

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// adminConfig has nothing that changes by itself: what differs was done by a request.
const adminConfig = `
server: {listen: ["127.0.0.1:0"], identity: e2e, workers: 1}
admin: {socket: $DIR/admin.sock, metrics: "127.0.0.1:0"}
state: {dir: $DIR/state, grace: 0s}
geo: {database: $DIR/city.mmdb}
zones: {example.io: {nameservers: {ns1: [192.0.2.53]}}}
registries:
  myregistry:
    regional_endpoints: enabled
    replicas:
      westus: {addresses: [192.0.2.10]}
      eastus: {addresses: [192.0.2.20]}
      westeurope: {addresses: [192.0.2.40]}
`

func serveAdmin(t *testing.T) (*server, *operator) {
	t.Helper()
	s := serve(t, nil, adminConfig, file{"city.mmdb", locationData(t, inSeattle, inAmsterdam)})
	return s, s.operator(t)
}

// picture is all that a request could have changed: events, drains and status.
func (o *operator) picture() string {
	o.t.Helper()
	var all []string
	for _, path := range []string{"/v1/events?limit=100000", "/v1/drains", "/v1/status"} {
		var v any
		o.get(path, &v)
		if st, ok := v.(map[string]any); ok {
			delete(st, "units") // clients that ask meanwhile
		}
		b, err := json.Marshal(v)
		if err != nil {
			o.t.Fatal(err)
		}
		all = append(all, string(b))
	}
	return strings.Join(all, "\n")
}

// TestAdminAbuse sends what no client of ours would: each is refused with a reason and
// leaves nothing half done.
func TestAdminAbuse(t *testing.T) {
	t.Parallel()
	s, admin := serveAdmin(t)
	admin.must("/v1/drain", fields{"registry": "myregistry", "region": "westeurope", "reason": "so that there is something to lose"})
	eventually(t, patience, "the drain is in force", func() bool {
		return s.eligible(t) == 2 && strings.Contains(admin.picture(), `"kind":"effective"`)
	})
	before := admin.picture()
	drain, long := "/v1/drain", strings.Repeat("x", 70_000)
	for _, c := range []struct {
		name, method, path, body string
		code                     int
		reason                   string
	}{
		{"no JSON", "POST", drain, `region=eastus`, 400, "body"},
		{"half of it", "POST", drain, `{"region": "eastus"`, 400, "body"},
		{"empty", "POST", drain, ``, 400, "empty"},
		{"null", "POST", drain, `null`, 400, "object"},
		{"a list", "POST", drain, `[{"region": "eastus"}]`, 400, "object"},
		{"two objects", "POST", drain, `{"region": "eastus"}{"region": "westus"}`, 400, "follows"},
		{"a name twice", "POST", drain, `{"region": "eastus", "region": "westus"}`, 400, "twice"},
		{"a field that is not known", "POST", drain, `{"region": "eastus", "forced": true}`, 400, "forced"},
		{"a wrong type", "POST", drain, `{"region": 7}`, 400, "region"},
		{"no region", "POST", drain, `{"registry": "myregistry"}`, 400, "region"},
		{"a bad pattern", "POST", drain, `{"region": "[eastus"}`, 400, "pattern"},
		{"a time below zero", "POST", drain, `{"region": "eastus", "for": "-1h"}`, 400, "below zero"},
		{"a time that is none", "POST", drain, `{"region": "eastus", "deadline": "soon"}`, 400, "soon"},
		{"now and a deadline", "POST", drain, `{"region": "eastus", "now": true, "deadline": "1m"}`, 400, "exclude"},
		{"a region that is not there", "POST", drain, `{"region": "atlantis"}`, 404, "atlantis"},
		{"a registry that is not there", "POST", drain, `{"registry": "nowhere", "region": "eastus"}`, 404, "nowhere"},
		{"too large", "POST", drain, `{"region": "eastus", "reason": "` + long + `"}`, 413, "large"},
		{"undrain of nowhere", "POST", "/v1/undrain", `{"region": "atlantis"}`, 404, "atlantis"},
		{"routing without a value", "POST", "/v1/routing", `{"registry": "myregistry", "region": "eastus"}`, 400, "global_endpoint_routing"},
		{"routing of nowhere", "POST", "/v1/routing", `{"registry": "myregistry", "region": "atlantis", "global_endpoint_routing": false}`, 404, "atlantis"},
		{"failback of what is well", "POST", "/v1/failback", `{"region": "eastus"}`, 409, "out and works"},
		{"all of them", "POST", drain, `{"region": "*"}`, 409, "--force"},
		{"another method", "GET", drain, ``, 405, "POST"},
		{"another path", "POST", "/v1/reboot", `{}`, 404, "openapi"},
		{"a parameter that is not known", "GET", "/v1/events?limits=1", ``, 400, "limits"},
		{"a limit that is none", "GET", "/v1/events?limit=-1", ``, 400, "limit"},
	} {
		var body io.Reader
		if c.method == http.MethodPost {
			body = strings.NewReader(c.body)
		}
		code, text := admin.send(c.method, c.path, body)
		if code != c.code || !strings.Contains(text, c.reason) {
			t.Errorf("%s: %d %s, want %d and %q", c.name, code, text, c.code, c.reason)
		}
		var failure struct {
			Error string `json:"error"`
		}
		if err := json.Unmarshal([]byte(text), &failure); err != nil || failure.Error == "" {
			t.Errorf("%s: no JSON with an error: %s", c.name, text)
		}
		if now := admin.picture(); now != before {
			t.Fatalf("%s has changed something:\n%s\nwas\n%s", c.name, now, before)
		}
	}
	if info, err := os.Stat(s.socket()); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("the socket: %v, %v", info, err)
	}
}

// zeros is a body without end.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// TestAdminFlood sends a gigabyte, with its length and without, and bodies that never
// come: memory stays as it is, others are served meanwhile, and nothing is done.
func TestAdminFlood(t *testing.T) {
	t.Parallel()
	s, admin := serveAdmin(t)
	before, memory := admin.picture(), s.memory()
	var slow []net.Conn
	for range 50 {
		conn, err := new(net.Dialer).DialContext(t.Context(), "unix", s.socket())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, err = io.WriteString(conn, "POST /v1/drain HTTP/1.1\r\nHost: portolan\r\nContent-Type: application/json\r\nContent-Length: 21\r\n\r\n{\"region\":")
		if err != nil {
			t.Fatal(err)
		}
		slow = append(slow, conn)
	}
	for name, body := range map[string]io.Reader{
		"a gigabyte":         io.LimitReader(zeros{}, 1<<30),
		"a gigabyte of JSON": io.MultiReader(strings.NewReader(`{"region": "eastus", "reason": "`), io.LimitReader(zeros{}, 1<<30)),
	} {
		for _, length := range []int64{1 << 30, -1} {
			code, text := admin.flood(body, length)
			if code != http.StatusRequestEntityTooLarge {
				t.Errorf("%s, length %d: %d %s", name, length, code, text)
			}
		}
	}
	if grown := s.memory() - memory; grown > 30<<20 {
		t.Errorf("memory has grown by %d MB", grown>>20)
	}
	for i, conn := range slow {
		if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(conn)
		if err != nil || !bytes.Contains(answer, []byte("408")) || !bytes.Contains(answer, []byte("nothing was changed")) {
			t.Fatalf("slow body %d: %q, %v", i, answer, err)
		}
	}
	if now := admin.picture(); now != before {
		t.Errorf("something has changed:\n%s\nwas\n%s", now, before)
	}
}

// flood posts a body and returns what the server says before it has read all of it; a
// server may also close the connection behind its answer.
func (o *operator) flood(body io.Reader, length int64) (code int, text string) {
	o.t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://portolan/v1/drain", body)
	if err != nil {
		o.t.Fatal(err)
	}
	req.ContentLength = length
	req.Header.Set("Content-Type", "application/json")
	resp, err := o.http.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 1000)) // the code says it
	return resp.StatusCode, string(b)
}

// TestConcurrentDrainsLeaveOne drains every replica at once, again and again: one is
// refused, always exactly one, and stays.
func TestConcurrentDrainsLeaveOne(t *testing.T) {
	t.Parallel()
	s, admin := serveAdmin(t)
	regions := []string{"westus", "eastus", "westeurope"}
	for round := range 30 {
		codes := make([]int, len(regions))
		var wg sync.WaitGroup
		for i, r := range regions {
			wg.Go(func() {
				path, body := "/v1/drain", fields{"registry": "myregistry", "region": r}
				if round%2 == 1 {
					path, body["global_endpoint_routing"] = "/v1/routing", false
				}
				codes[i], _ = admin.post(path, body)
			})
		}
		wg.Wait()
		count := map[int]int{}
		left := ""
		for i, code := range codes {
			count[code]++
			if code == http.StatusConflict {
				left = regions[i]
			}
		}
		if count[http.StatusOK] != 2 || count[http.StatusConflict] != 1 {
			t.Fatalf("round %d: %v", round, codes)
		}
		eventually(t, patience, "the one that is left answers everybody", func() bool {
			prefix := fmt.Sprintf("128.%d.%d.0/24", 100+round, time.Now().UnixNano()&255)
			return region(s.client().ask(t, question(pushName, "A", subnet(prefix)))) == left
		})
		for _, r := range regions {
			admin.must("/v1/undrain", fields{"registry": "myregistry", "region": r})
			admin.must("/v1/routing", fields{"registry": "myregistry", "region": r, "global_endpoint_routing": nil})
		}
		eventually(t, patience, "all are eligible again", func() bool { return s.eligible(t) == len(regions) })
	}
}

// eligible returns how many replicas the decision for a new client may choose from.
func (s *server) eligible(t *testing.T) (n int) {
	t.Helper()
	var decision struct {
		Candidates []struct{ Routed, Up bool }
	}
	s.operator(t).get("/v1/explain?registry=myregistry&client=128.0.255.0/24", &decision)
	for _, c := range decision.Candidates {
		if c.Routed && c.Up {
			n++
		}
	}
	return n
}

// TestFullDisk fills the disk of the ledger: what operators decide is refused, while
// serving and health go on, and everybody who looks can see it. With room it works
// again.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		missing(t, "a small file system needs root")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID, "size=1m"); err != nil {
		missing(t, "a small file system cannot be mounted: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	flapping := newReplicaStandIn(t)
	config := strings.NewReplacer("$DIR/state", dir,
		"eastus: {addresses: [192.0.2.20]}", `eastus: {addresses: [192.0.2.20], probe: p, probe_target: "`+flapping.addr+`"}`,
		"registries:", "probes: {p: {type: registry, tls: false, interval: 100ms, fall: 2, rise: 1}}\nregistries:",
		"    replicas:", "    recovery_hold: 0s\n    replicas:").Replace(adminConfig)
	s := serve(t, nil, config, file{"city.mmdb", locationData(t, inSeattle, inAmsterdam)})
	admin := s.operator(t)
	filler := filepath.Join(dir, "filler")
	fill(t, filler)

	// The ledger may have a few pages of its own left.
	order := fields{"registry": "myregistry", "region": "westus"}
	refuse := func(reason string) (text string) {
		t.Helper()
		order["reason"] = reason
		for i := range 10_000 {
			code, text := admin.post([]string{"/v1/drain", "/v1/undrain"}[i%2], order)
			if code == http.StatusInternalServerError {
				return text
			}
		}
		t.Fatal("there is no end of room")
		return ""
	}
	refuse(strings.Repeat("a long story ", 70))
	if text := refuse("a short one"); !strings.Contains(text, "no space left on device") || !strings.Contains(text, "nothing was ") {
		t.Fatalf("on a full disk: %s", text)
	}
	before := s.eligible(t)
	var events []any
	admin.get("/v1/events?limit=100000", &events)
	code, text := admin.post("/v1/routing", fields{"registry": "myregistry", "region": "westeurope", "global_endpoint_routing": false})
	if code != http.StatusInternalServerError || !strings.Contains(text, "nothing was switched") {
		t.Errorf("another order: %d %s", code, text)
	}
	if now := s.eligible(t); now != before {
		t.Errorf("%d replicas are eligible, and before the refusal %d", now, before)
	}
	var after []any
	if admin.get("/v1/events?limit=100000", &after); len(after) != len(events) {
		t.Errorf("%d events, before the refusal %d", len(after), len(events))
	}

	flapping.broken.Store(true)
	eventually(t, patience, "a dead replica is left all the same", func() bool {
		return s.scrape().get(t, `portolan_replica_up{region="eastus",registry="myregistry"}`) == 0
	})
	flapping.broken.Store(false)
	eventually(t, patience, "and used again", func() bool {
		return s.scrape().get(t, `portolan_replica_up{region="eastus",registry="myregistry"}`) == 1
	})
	if st := s.status(t); !strings.Contains(st.LedgerError, "no space left on device") {
		t.Errorf("status: %+v", st)
	}
	if v := s.scrape().get(t, "portolan_ledger_writable"); v != 0 {
		t.Errorf("portolan_ledger_writable is %v on a full disk", v)
	}

	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, "the ledger is written again, without an order", func() bool {
		return s.scrape().get(t, "portolan_ledger_writable") == 1
	})
	admin.must("/v1/undrain", order)
	admin.must("/v1/drain", order)
	if st := s.status(t); st.LedgerError != "" {
		t.Errorf("with room: %+v", st)
	}
	if v := s.scrape().get(t, "portolan_ledger_writable"); v != 1 {
		t.Errorf("portolan_ledger_writable is %v with room", v)
	}
	s.kill()
	s.again(t)
	eventually(t, patience, "the last drain is in force after a kill", func() bool {
		return region(s.client().ask(t, question(pushName, "A", subnet("128.77.0.0/24")))) == "eastus"
	})
}

// fill writes a file until nothing fits any more.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for {
		if _, err := f.Write(make([]byte, 4096)); err != nil {
			return
		}
	}
}
