package app_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"portolan.dev/cmd/internal/admin"
	"portolan.dev/cmd/internal/app"
	"portolan.dev/config"
	"portolan.dev/config/ledger"
	"portolan.dev/resolver/compile"
)

// posted is a request as a receiver reads it.
type posted struct {
	DeliveryID string `json:"delivery_id"`
	Node       string `json:"node"`
	admin.Event

	signed bool
}

// hook is a receiver that verifies with a key.
type hook struct {
	*httptest.Server

	mu  sync.Mutex
	got []posted
}

func newHook(tb testing.TB, key string) *hook {
	tb.Helper()
	h := &hook{}
	h.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var p posted
		if err == nil {
			err = json.Unmarshal(body, &p)
		}
		if err != nil {
			tb.Errorf("%q: %v", body, err)
		}
		mac := hmac.New(sha256.New, []byte(key))
		fmt.Fprintf(mac, "%s.%s.%s", p.DeliveryID, r.Header.Get("webhook-timestamp"), body)
		p.signed = r.Header.Get("webhook-signature") == "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil))
		h.mu.Lock()
		defer h.mu.Unlock()
		h.got = append(h.got, p)
	}))
	tb.Cleanup(h.Close)
	return h
}

func (h *hook) posted() []posted {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.got)
}

func (h *hook) kinds() string {
	var kinds []string
	for _, p := range h.posted() {
		kinds = append(kinds, p.Kind)
	}
	return strings.Join(kinds, " ")
}

// receivers is a part of a configuration.
func receivers(entries ...string) string { return "notify: [" + strings.Join(entries, ", ") + "]\n" }

func (s *server) drain(tb testing.TB, reason string) {
	tb.Helper()
	_, err := s.Drain(tb.Context(), admin.DrainRequest{Selector: admin.Selector{Registry: "myregistry", Region: "westus"}, By: "ann", Reason: reason})
	if err != nil {
		tb.Fatal(err)
	}
}

func (s *server) undrain(tb testing.TB) {
	tb.Helper()
	if _, err := s.Undrain(tb.Context(), admin.Selector{Registry: "myregistry", Region: "westus"}, "ann", "done"); err != nil {
		tb.Fatal(err)
	}
}

// What operators do is posted to those who asked for it, over reloads and restarts.
func TestNotify(t *testing.T) {
	const key, other = "hidden-secret-of-one", "hidden-secret-of-two"
	all, drains := newHook(t, key), newHook(t, other)
	base := strings.Replace(contoso, ", records: DIR/example.zone", "", 1)
	s := newServer(t, base, app.Options{})
	secretFile := filepath.Join(s.dir, "hook.secret")
	writeFile(t, secretFile, key+"\n")
	toAll := `{url: "` + all.URL + `", secret_file: DIR/hook.secret, events: [config, drain, undrain]}`
	const toNobody = `{url: "http://127.0.0.1:1/hidden", events: [drain]}`
	s.write(t, base+receivers(toAll, toNobody, `{url: "`+drains.URL+`", events: [drain, undrain], secret: `+other+`}`))
	s.reload(t) // before Start
	s.Start()
	s.drain(t, "repair")
	s.reload(t)
	s.undrain(t)
	eventually(t, "all is posted", func() bool { return all.kinds() == "config drain config undrain" && drains.kinds() == "drain undrain" })
	first := all.posted()[1]
	want, err := s.Events(t.Context(), admin.EventQuery{Kind: "drain"})
	if err != nil || len(want) != 1 {
		t.Fatalf("%+v, %v", want, err)
	}
	if first.Seq != want[0].Seq || first.By != "ann" || first.Reason != "repair" || first.Registry != "myregistry" || !first.DecidedAt.Equal(want[0].DecidedAt) || first.Node != s.Status().Node || first.Node == "" {
		t.Errorf("posted %+v, want %+v", first, want[0])
	}
	for _, p := range slices.Concat(all.posted(), drains.posted()) {
		if !p.signed {
			t.Errorf("not signed: %+v", p)
		}
	}
	eventually(t, "the deliveries are counted", func() bool {
		text := s.metrics(t)
		return strings.Contains(text, "portolan_notify_deliveries_total{outcome=\"delivered\"} 6\n") &&
			strings.Contains(text, "portolan_notify_deliveries_total{outcome=\"expired\"} 0\n") && strings.Contains(text, "portolan_notify_queue 1\n")
	})

	// A secret that is replaced needs no reload.
	writeFile(t, secretFile, "hidden-secret-of-later\n")
	eventually(t, "the secret is taken up", func() bool { return len(s.logs.records(t, "a changed file was taken up")) == 1 })
	writeFile(t, secretFile, key+"\n")
	eventually(t, "the secret is back", func() bool { return len(s.logs.records(t, "a changed file was taken up")) == 2 })
	s.write(t, base+receivers(toAll, toNobody))
	report, err := s.Reload(t.Context(), admin.ReloadRequest{})
	if err != nil || !slices.Contains(report.Changes, "receivers of notifications: 0 added, 1 removed, 0 changed") {
		t.Errorf("%+v, %v", report, err)
	}
	s.drain(t, "again")
	s.stop(t)
	if got := all.kinds(); got != "config drain config undrain config drain" {
		t.Errorf("a stop right after a drain: %s", got)
	}
	if r := s.logs.records(t, "notifications are not delivered: the receiver was removed, or the server stops"); len(r) != 1 || r[0]["lost"] != 2.0 {
		t.Errorf("logged %v", r)
	}
	if n := len(drains.posted()); n != 2 {
		t.Errorf("a receiver that was removed got %d", n)
	}

	again, err := app.New(app.Options{Source: source(s.path, now), Log: discard})
	if err != nil {
		t.Fatal(err)
	}
	s.App = again // stopped with the test
	again.Start()
	defer s.stop(t)
	s.undrain(t)
	eventually(t, "the next event is posted after a restart, and no other", func() bool { return all.kinds() == "config drain config undrain config drain undrain" })
	s.logs.mu.Lock()
	defer s.logs.mu.Unlock()
	if strings.Contains(s.logs.text.String(), "hidden") {
		t.Error("the log shows a secret")
	}
}

// metrics is what a collector reads.
func (s *server) metrics(tb testing.TB) string {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, "http://"+s.MetricsAddr()+"/metrics", nil)
	if err != nil {
		tb.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		tb.Fatal(err)
	}
	return string(body)
}

// What is wrong with the files of receivers is found before anything changes, all at
// once, and without showing them.
func TestNotifyFiles(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"short": "hidden\n", "empty": "\r\n\n", "base64": "whsec_hidden-hidden-hidden\n", "ca.pem": "hidden"} {
		writeFile(t, filepath.Join(dir, name), text)
	}
	path := filepath.Join(dir, "portolan.yaml")
	writeFile(t, path, strings.ReplaceAll(strings.Replace(contoso, ", records: DIR/example.zone", "", 1)+`notify:
  - {url: "https://hooks.example.com/hidden/1", secret_file: DIR/gone}
  - {url: "https://hooks.example.com/hidden/2", secret_file: DIR/short}
  - {url: "https://hooks.example.com/hidden/3", secret_file: DIR/empty}
  - {url: "https://hooks.example.com/hidden/4", secret_file: DIR/base64}
  - {url: "https://hooks.example.com/hidden/5", ca_file: DIR/ca.pem}
  - {url: "https://hooks.example.com/hidden/6", ca_file: DIR/gone.pem}
`, "DIR", dir))
	_, err := app.Source{Path: path, Now: now}.Build(nil, compile.NewSlots())
	if err == nil {
		t.Fatal("accepted")
	}
	first := strings.Count(contoso, "\n") + 2
	lines := app.Lines(err)
	words := []string{"secret_file: stat", "short: a secret has a key of 6 bytes", "empty is empty", "base64: ", "ca.pem holds no certificate", "ca_file: stat"}
	if !strings.HasPrefix(lines[0], "geo.database") { // there is none
		t.Errorf("%q", lines)
	}
	lines = lines[1:]
	for i, want := range words {
		if i >= len(lines) || !strings.Contains(lines[i], want) || !strings.Contains(lines[i], fmt.Sprintf("portolan.yaml:%d:", first+i)) {
			t.Errorf("line %d of %q, want %q", i, lines, want)
		}
	}
	if len(lines) != len(words) || strings.Contains(strings.Join(lines, "\n"), "hidden") {
		t.Errorf("%q", lines)
	}
}

// The kinds that can be asked for are those that the ledger has and the server
// records.
func TestNotifyKinds(t *testing.T) {
	want := []ledger.Kind{ledger.Down, ledger.Up, ledger.Drain, ledger.Undrain, ledger.Routing, ledger.Failback, ledger.Config, ledger.GeoData, ledger.Effective, ledger.Passing}
	var got []ledger.Kind
	for _, kind := range config.NotifyEvents() {
		got = append(got, ledger.Kind(kind))
	}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
