package admin

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var controlTime = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// controlAPI records what it is asked, and does what its fields say.
type controlAPI struct {
	mu     sync.Mutex
	calls  []string
	err    error // of every call that can fail
	past   []Event
	late   []Event // become past with the first call of Events, after what it sees
	coming chan Event
	from   uint64        // of the last Follow
	enter  chan struct{} // if not nil: told when Reload begins, which waits for leave
	leave  chan struct{}
}

func (a *controlAPI) note(format string, args ...any) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls = append(a.calls, fmt.Sprintf(format, args...))
	return a.err
}

func (a *controlAPI) asked() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return strings.Join(a.calls, "\n")
}

func (a *controlAPI) Explain(registry string, asker netip.Addr, subnet netip.Prefix) (Explanation, error) {
	return Explanation{Registry: registry, Client: subnet.String()}, a.note("explain %s %s %s", registry, asker, subnet)
}

func (a *controlAPI) Status() Status {
	_ = a.note("status")
	return Status{Node: "ns1", Started: controlTime}
}

func (a *controlAPI) Endpoints(registry string) (Endpoints, error) {
	return Endpoints{LoginServer: registry + ".example.io"}, a.note("endpoints %s", registry)
}

func (a *controlAPI) Drain(ctx context.Context, r DrainRequest) ([]DrainStatus, error) {
	return []DrainStatus{{Registry: r.Registry, Region: r.Region, Drained: true, By: r.By, EffectiveAt: controlTime}},
		a.note("drain %+v cancelable %t", r, ctx.Done() != nil)
}

func (a *controlAPI) Undrain(_ context.Context, s Selector, by, reason string) ([]DrainStatus, error) {
	return nil, a.note("undrain %+v %s %s", s, by, reason)
}

func (a *controlAPI) Drains(_ context.Context, s Selector) ([]DrainStatus, error) {
	return nil, a.note("drains %+v", s)
}

func (a *controlAPI) SetRouting(_ context.Context, r RoutingRequest) (ReplicaStatus, error) {
	on := "nil"
	if r.On != nil {
		on = strconv.FormatBool(*r.On)
	}
	return ReplicaStatus{Region: r.Region}, a.note("routing %s %s %s force %t by %s: %s", r.Registry, r.Region, on, r.Force, r.By, r.Reason)
}

func (a *controlAPI) Failback(_ context.Context, s Selector, by, reason string) ([]ReplicaStatus, error) {
	return nil, a.note("failback %+v %s %s", s, by, reason)
}

func (a *controlAPI) Events(_ context.Context, q EventQuery) ([]Event, error) {
	since := "never"
	if q.Since != nil {
		since = q.Since.UTC().Format(time.RFC3339)
	}
	err := a.note("events %+v from %d since %s kind %q limit %d", q.Selector, q.From, since, q.Kind, q.Limit)
	a.mu.Lock()
	defer a.mu.Unlock()
	defer func() { a.past, a.late = append(a.past, a.late...), nil }()
	var found []Event
	for _, e := range a.past {
		if q.matches(&e) {
			found = append(found, e)
		}
	}
	if q.Limit > 0 && len(found) > q.Limit {
		found = found[len(found)-q.Limit:]
	}
	return found, err
}

// followed returns where the last follower began; 0 for none.
func (a *controlAPI) followed() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.from
}

func (a *controlAPI) Follow(_ context.Context, from uint64) (<-chan Event, error) {
	a.mu.Lock()
	a.from = from
	a.mu.Unlock()
	return a.coming, a.err
}

func (a *controlAPI) Reload(ctx context.Context, r ReloadRequest) (ReloadReport, error) {
	if a.enter != nil {
		a.enter <- struct{}{}
		<-a.leave
	}
	return ReloadReport{DryRun: r.DryRun}, a.note("reload %t cancelable %t", r.DryRun, ctx.Done() != nil)
}

// patience bounds every wait for something that has to happen.
const patience = 20 * time.Second

func (a *controlAPI) Upgrade(ctx context.Context, _ UpgradeRequest) (UpgradeReport, error) {
	return UpgradeReport{From: "1", To: "2", PID: 3, Millis: 4, Frozen: 5}, a.note("upgrade cancelable %t", ctx.Done() != nil)
}

// controlServer serves api on a socket in a folder of its own until the test ends.
func controlServer(t *testing.T, api API, shorten func(*Server)) (*Server, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	s, err := New(Options{Socket: path, Gatherer: prometheus.NewRegistry(), API: api, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if shorten != nil {
		shorten(s)
	}
	s.Start()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return s, path
}

// controlReply is what came back of one exchange.
type controlReply struct {
	code int
	head http.Header
	body string
}

func controlAsk(t *testing.T, path, method, target, contentType string, body io.Reader) controlReply {
	t.Helper()
	tr := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://portolan"+target, body)
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	return controlReply{resp.StatusCode, resp.Header, string(text)}
}

// controlEventually polls until ok, or fails the test.
func controlEventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timed out: %s", what)
		}
	}
}
