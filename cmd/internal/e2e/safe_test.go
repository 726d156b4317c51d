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
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// drainCase is one registry whose replica in westus is drained while clients ask for
// it through a cache.
type drainCase struct {
	name   string
	sticky string // and further keys of the registry
	ttl    time.Duration
	held   time.Duration // how long clients can be held after the drain took effect
	how    string        // further members of the request
}

// drainCases have short TTLs, so that many expire in the time of the test. Each kind
// of end of a hold is there.
var drainCases = []drainCase{
	{"no-holds", "sticky: {ttl: 3s, hold: 0s}", 3 * time.Second, 0, ""},
	{"short-ttl", "sticky: {ttl: 1s, idle: 3s, hold: 2s, renewals: 1}", time.Second, 2 * time.Second, ""},
	{"one-period", "sticky: {ttl: 2s, idle: 4s, hold: 3s, renewals: 1}", 2 * time.Second, 3 * time.Second, ""},
	{"renewed", "sticky: {ttl: 2s, idle: 3s, hold: 2s, renewals: 3}", 2 * time.Second, 6 * time.Second, ""},
	{"alias", "sticky: {ttl: 2s, idle: 4s, hold: 3s, renewals: 1}\n    regional_endpoints: enabled", 2 * time.Second, 3 * time.Second, ""},
	{"deadline", "sticky: {ttl: 2s, idle: 5s, hold: 30s, renewals: 4}", 2 * time.Second, 3 * time.Second, `, "deadline": "4s"`},
	{"now", "sticky: {ttl: 3s, idle: 5s, hold: 30s, renewals: 4}", 3 * time.Second, 0, `, "now": true`},
}

const drainGrace = time.Second

func drainConfig(nameserver string, cases []drainCase) string {
	var b strings.Builder
	fmt.Fprintf(&b, `
server: {listen: ["127.0.0.1:53"], identity: e2e}
admin: {socket: $DIR/admin.sock, metrics: "127.0.0.1:0"}
state: {dir: $DIR, grace: %v}
zones: {example.io: {nameservers: {ns1: [%s]}}}
registries:
`, drainGrace, nameserver)
	for i, d := range cases {
		fmt.Fprintf(&b, "  %s:\n    %s\n    replicas: {westus: {addresses: [192.0.2.1%[3]d]}, eastus: {addresses: [192.0.2.2%[3]d]}}\n", d.name, d.sticky, i)
	}
	return b.String()
}

// drainStatus is what the server says of a drain, as far as the test looks.
type drainStatus struct {
	Registry    string     `json:"registry"`
	Region      string     `json:"region"`
	EffectiveAt time.Time  `json:"effective_at"`
	Held        int        `json:"held"`
	SafeAt      *time.Time `json:"safe_at"`
	Bound       time.Time  `json:"bound"`
	Safe        bool       `json:"safe"`
}

// admin makes one request to the admin socket, which must answer 200, and returns
// the drains of the answer.
func (s *server) admin(t *testing.T, method, path, body string) (drains []drainStatus) {
	t.Helper()
	unix := &http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", s.socket())
		},
	}}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://portolan"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := unix.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s %s: %s, %v: %s", method, path, body, resp.Status, err, text)
	}
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(&drains); err != nil {
		t.Fatalf("%s %s: %v: %s", method, path, err, text)
	}
	return drains
}

// audience is the clients of one registry behind the cache, each a /24 in Seattle.
type audience struct {
	c        *cached
	registry string

	decided   chan struct{} // closed when effective is set
	effective time.Time     // when the drain takes effect

	mu    sync.Mutex
	last  time.Time // when the last query was sent that got the drained replica
	from  string    // who sent it
	asked int
}

// ask asks for one client and notes what it got.
func (a *audience) ask(t *testing.T, client string) (region string) {
	t.Helper()
	sent := time.Now()
	m, err := a.c.host("").exchange(question(a.registry+".example.io", "A", subnet(client)), patience)
	if err != nil {
		t.Errorf("%s: the cache does not answer: %v", a.registry, err)
		return ""
	}
	region = cachedReplica(t, m)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked++
	if region == "westus" && sent.After(a.last) {
		a.last, a.from = sent, client
	}
	return region
}

// Clients of an audience: some ask all the time; some are silent from before the
// drain until some moment after it, so that all ends of holds are met; and new ones
// keep coming, who ask until they are led elsewhere.
const (
	busyClients = 4
	sleepers    = 20
	askEvery    = 100 * time.Millisecond
	newEvery    = 100 * time.Millisecond
)

func audienceClient(i int) string { return fmt.Sprintf("128.95.%d.0/24", i) }

// run lets all clients ask until stop is closed.
func (a *audience) run(t *testing.T, d drainCase, stop <-chan struct{}) {
	t.Helper()
	var wg sync.WaitGroup
	defer wg.Wait()
	for i := range busyClients + sleepers {
		wg.Go(func() {
			if i >= busyClients {
				// They wake one after the other, while anybody may be held or in the cache.
				select {
				case <-stop:
					return
				case <-a.decided:
				}
				wake := a.effective.Add((d.held + d.ttl) * time.Duration(i-busyClients) / sleepers)
				wait(time.Until(wake), stop)
			}
			every(askEvery, stop, func() { a.ask(t, audienceClient(i)) })
		})
	}
	n := 0
	every(newEvery, stop, func() {
		client := fmt.Sprintf("128.%d.%d.0/24", 208+n/250, n%250)
		n++
		wg.Go(func() {
			for a.ask(t, client) == "westus" && wait(askEvery, stop) {
			}
		})
	})
}

// every calls f at once and then again and again, until stop is closed.
func every(period time.Duration, stop <-chan struct{}, f func()) {
	for f(); wait(period, stop); f() {
	}
}

// wait waits, and reports false if stop was closed meanwhile.
func wait(d time.Duration, stop <-chan struct{}) bool {
	select {
	case <-stop:
		return false
	case <-time.After(d):
		return true
	}
}

// TestSafeAt drains replicas while clients ask through a cache that honours TTLs, and
// compares when the server says that no cache holds the replica any more with when
// the cache gave it last.
func TestSafeAt(t *testing.T) {
	t.Parallel()
	t.Run("near", func(t *testing.T) {
		t.Parallel()
		drainThrough(t, serveCached(t, unbound, drainConfig(authorityAddr, drainCases)), drainCases)
	})
	t.Run("distant", func(t *testing.T) {
		t.Parallel()
		cases := slices.DeleteFunc(slices.Clone(drainCases), func(d drainCase) bool {
			if !long() { // beside all other tests the questions of more would queue up
				return d.name != "no-holds" && d.name != "one-period"
			}
			return d.name == "alias" // behind it Unbound asks four times for each client
		})
		drainThrough(t, serveDistant(t, unbound, 300*time.Millisecond, drainConfig(distantAddr, cases)), cases)
	})
}

// drainThrough drains each case's replica in westus while clients ask through c.
func drainThrough(t *testing.T, c *cached, cases []drainCase) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	audiences := make([]*audience, len(cases))
	// Holds of clients that were seen in the second of the start are shorter: it counts
	// as a change of the configuration.
	time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second)))
	for i, d := range cases {
		a := &audience{c: c, registry: d.name, decided: make(chan struct{})}
		audiences[i] = a
		var first sync.WaitGroup
		for client := range busyClients + sleepers {
			first.Go(func() {
				if got := a.ask(t, audienceClient(client)); got != "westus" {
					t.Errorf("%s: before the drain %s gets %q", d.name, audienceClient(client), got)
				}
			})
		}
		first.Wait()
		wg.Go(func() { a.run(t, d, ctx.Done()) })
	}
	// Late in a second: what is given then comes to a distant cache in the next one,
	// and Unbound, which counts whole seconds, keeps it as if it had been given there.
	time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(1800 * time.Millisecond)))
	for i, d := range cases {
		request := fmt.Sprintf(`{"registry": %q, "region": "westus", "by": "test"%s}`, d.name, d.how)
		drains := c.admin(t, http.MethodPost, "/v1/drain", request)
		if len(drains) != 1 || drains[0].Registry != d.name || drains[0].Safe {
			t.Fatalf("POST /v1/drain %s: %+v", request, drains)
		}
		audiences[i].effective = drains[0].EffectiveAt
		close(audiences[i].decided)
	}
	said := c.watchDrains(t, len(cases))
	time.Sleep(time.Second) // the time in which nobody may get it is part of what is tested
	stop()
	wg.Wait()
	for i, d := range cases {
		audiences[i].compare(t, d, said[d.name])
	}
}

// watched is what the server has said of one drain.
type watched struct {
	earliest, latest time.Time // of all safe_at
	safe             time.Time // when it was first said that it is safe
	bound            time.Time
	effective        time.Time
	held             int // the most
}

// watchDrains follows all drains until each is safe.
func (c *cached) watchDrains(t *testing.T, count int) map[string]*watched {
	t.Helper()
	all := make(map[string]*watched)
	eventually(t, patience, "all drains are safe", func() bool {
		safe := 0
		for _, d := range c.admin(t, http.MethodGet, "/v1/drains", "") {
			w := all[d.Registry]
			if w == nil {
				w = &watched{bound: d.Bound, effective: d.EffectiveAt}
				all[d.Registry] = w
			}
			w.held = max(w.held, d.Held)
			if d.SafeAt != nil {
				if w.earliest.IsZero() || d.SafeAt.Before(w.earliest) {
					w.earliest = *d.SafeAt
				}
				if d.SafeAt.After(w.latest) {
					w.latest = *d.SafeAt
				}
			}
			if d.Safe {
				safe++
				if w.safe.IsZero() {
					w.safe = time.Now()
				}
			}
		}
		return safe == count
	})
	return all
}

// compare holds what the server said against what the cache gave.
func (a *audience) compare(t *testing.T, d drainCase, w *watched) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	after := func(at time.Time) time.Duration { return at.Sub(w.effective).Round(time.Millisecond) }
	t.Logf("%s: after the drain took effect: last given %v to %s, safe_at %v to %v, safe said %v, bound %v; %d queries, %d held at most",
		d.name, after(a.last), a.from, after(w.earliest), after(w.latest), after(w.safe), after(w.bound), a.asked, w.held)
	if !a.last.Before(w.earliest) {
		t.Errorf("%s: the cache gave the drained replica to %s %v after safe_at", d.name, a.from, a.last.Sub(w.earliest))
	}
	if !a.last.Before(w.safe) {
		t.Errorf("%s: the cache gave the drained replica to %s %v after the server had said it is safe", d.name, a.from, a.last.Sub(w.safe))
	}
	if w.latest.After(w.bound) {
		t.Errorf("%s: safe_at is %v after the bound", d.name, w.latest.Sub(w.bound))
	}
	// A server that never lets go would pass too: it must not take much longer. Clients
	// that do not come to ask, on a busy machine, let the last answer seem earlier.
	if late := w.latest.Sub(a.last); late > 10*time.Second {
		t.Errorf("%s: safe_at is %v after the cache gave the replica last", d.name, late)
	}
	// What the cache gave after the drain took effect was in it, or held.
	if a.last.Before(w.effective) {
		t.Errorf("%s: the cache gave the drained replica last %v before the drain took effect: nothing is proved", d.name, w.effective.Sub(a.last))
	}
}
