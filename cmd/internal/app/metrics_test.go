package app_test

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// scrape returns the page of metrics.
func (s *server) scrape(tb testing.TB) string {
	tb.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + s.MetricsAddr() + "/metrics")
	if err != nil {
		tb.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		tb.Fatalf("%s: %v", resp.Status, err)
	}
	return string(text)
}

// metric returns the value of one series, as text; "" if it is not there.
func metric(page, series string) string {
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(series) + ` (\S+)$`).FindStringSubmatch(page)
	if m == nil {
		return ""
	}
	return m[1]
}

// The page is what Prometheus' own tool wants it to be.
func TestMetricsLint(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("not skipped, for this is CI: promtool is not installed")
		}
		t.Skip("promtool is not installed")
	}
	s := startContoso(t)
	_ = s.addresses(t, "myregistry.example.io.", seattle)
	s.write(t, "nonsense")
	if err := s.tryReload(t.Context()); err == nil {
		t.Fatal("nonsense is accepted")
	}
	cmd := exec.Command(promtool, "check", "metrics")
	cmd.Stdin = strings.NewReader(s.scrape(t))
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil || said.Len() > 0 {
		t.Errorf("%v: %s", err, said.String())
	}
}

// What operators watch is there, is true, and goes on over reloads.
func TestMetrics(t *testing.T) {
	s := startContoso(t)
	ask := func(n int) {
		for range n {
			_ = s.addresses(t, "myregistry.example.io.", amsterdam)
			if m := s.ask(t, "nowhere.example.io.", dns.TypeA, ""); m.Rcode != dns.RcodeNameError {
				t.Fatalf("%v", m)
			}
		}
	}
	expect := func(what string, want map[string]string) {
		t.Helper()
		var page string
		for series, value := range want {
			eventually(t, what+": "+series+" "+value, func() bool { // counters may lag by one batch
				page = s.scrape(t)
				return metric(page, series) == value
			})
		}
	}
	ask(3)
	expect("at first", map[string]string{
		`portolan_queries_total{family="ipv4",rcode="NOERROR",transport="udp"}`:  "3",
		`portolan_queries_total{family="ipv4",rcode="NXDOMAIN",transport="udp"}`: "3",
		`portolan_queries_total{family="ipv6",rcode="SERVFAIL",transport="tcp"}`: "0",
		`portolan_answers_total{region="westeurope",registry="myregistry"}`:      "3",
		`portolan_answers_total{region="westus",registry="myregistry"}`:          "0",
		`portolan_replica_up{region="westus",registry="myregistry"}`:             "1",
		`portolan_replica_routed{region="westus",registry="myregistry"}`:         "1",
		`portolan_snapshot_generation`:                                           "2",
		`portolan_config_last_reload_successful`:                                 "1",
		`portolan_config_reloads_total{outcome="success"}`:                       "1",
		`portolan_client_units_forgotten_total{reason="evicted"}`:                "0",
		`portolan_client_units_forgotten_total{reason="full"}`:                   "0",
		`portolan_client_units_forgotten_total{reason="source"}`:                 "0",
	})
	if got := metric(s.scrape(t), `portolan_zone_serial{zone="example.io."}`); got == "" {
		t.Error("the serial is missing")
	}

	s.write(t, "nonsense")
	_ = s.tryReload(t.Context())
	expect("after a failed reload", map[string]string{
		`portolan_config_last_reload_successful`:           "0",
		`portolan_config_reloads_total{outcome="failure"}`: "1",
		`portolan_snapshot_generation`:                     "2",
	})
	s.write(t, strings.Replace(contoso, "westus: {addresses: [192.0.2.10]}", "westus: {addresses: [192.0.2.10], global_endpoint_routing: false}\n      eastus: {addresses: [192.0.2.20]}", 1))
	s.reload(t)
	ask(2)
	expect("after a reload with another region", map[string]string{
		`portolan_answers_total{region="westeurope",registry="myregistry"}`: "5",
		`portolan_replica_routed{region="westus",registry="myregistry"}`:    "0",
		`portolan_config_last_reload_successful`:                            "1",
		`portolan_snapshot_generation`:                                      "3",
	})
}
