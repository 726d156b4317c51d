//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// parsed is JSON that a verb has printed.
type parsed map[string]any

// jsonOf runs a verb with -o json and returns what it printed.
func jsonOf(t *testing.T, args ...string) parsed {
	t.Helper()
	text := must(t, nil, portolan(t), append(args, "-o", "json")...)
	var v parsed
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v: %v: %s", args, err, text)
	}
	return v
}

// TestVerbs runs the verbs that need no server.
func TestVerbs(t *testing.T) {
	t.Parallel()
	good := writeConfig(t, strings.Replace(protocolConfig, "    records: example.io.zone\n", "", 1))
	bad := writeConfig(t, broken[2].config+"regions: {mars: {latitude: 200}}\n")
	for _, v := range []struct {
		args []string
		code int
		want []string
	}{
		{[]string{"check", "-c", good}, 0, []string{"zones          2\n", "registries     7\n", "the configuration is sound"}},
		{[]string{"check", "-c", bad}, 1, []string{bad + ":11:20:", "adresses: unknown key (did you mean addresses?)", bad + ":12:28:", "regions.mars.latitude"}},
		{[]string{"check", "-c", "/nowhere/portolan.yaml"}, 1, []string{"/nowhere/portolan.yaml"}},
		{[]string{"check"}, 2, []string{"-c FILE", "see `portolan check --help`"}},
		{[]string{"check", "-c", good, "-o", "xml"}, 2, []string{"use table or json"}},
		{[]string{"serve", "-c", bad}, 1, []string{bad + ":11:20:", bad + ":12:28:"}},
		{[]string{"serve", "--wrong"}, 2, []string{"--wrong"}},
		{[]string{"explain", "myregistry", "--client", "128.95.0.1", "-c", good}, 0, []string{"answer westus (nearest) ttl 60", "client 128.95.0.0/24", "rank 1 westus ", "rank 3 westeurope "}},
		{[]string{"explain", "myregistry.example.io", "--client", amsterdam, "-c", good}, 0, []string{"answer westeurope (nearest)"}},
		{[]string{"explain", "nowhere", "--client", amsterdam, "-c", good}, 1, []string{`"nowhere"`}},
		{[]string{"explain", "myregistry", "-c", good}, 2, []string{"--client"}},
		{[]string{"geo", "lookup", "145.18.0.1", "--regions", "westus,westeurope"}, 0, []string{"145.18.0.1", "NL", "westeurope "}},
		{[]string{"geo", "lookup", "145.18.0.1", "nonsense"}, 1, []string{"145.18.0.1", `"nonsense" is no address`}},
		{[]string{"version"}, 0, []string{"portolan ", "go1", "DB-IP"}},
		{[]string{"--help"}, 0, []string{"serve", "demo", "check", "probe", "explain", "status", "geo", "version"}},
		{[]string{"status", "--socket", "/nowhere/admin.sock"}, 1, []string{"/nowhere/admin.sock", "is it running"}},
	} {
		o := run(t, nil, portolan(t), v.args...)
		if o.code != v.code {
			t.Errorf("%v: exit code %d, want %d", v.args, o.code, v.code)
		}
		for _, want := range v.want {
			if !strings.Contains(o.text, want) {
				t.Errorf("%v: no %q in\n%s", v.args, want, o.text)
			}
		}
	}
	if v := jsonOf(t, "check", "-c", good); v["zones"] != 2.0 || v["registries"] != 7.0 {
		t.Errorf("check: %v", v)
	}
	if v := jsonOf(t, "geo", "lookup", "145.18.0.1"); v["country"] != "NL" || v["kind"] != "located" {
		t.Errorf("geo lookup: %v", v)
	}
	if v := jsonOf(t, "version"); v["version"] == "" {
		t.Errorf("version: %v", v)
	}
}

// TestProbeVerb probes registries of all sorts from the command line.
func TestProbeVerb(t *testing.T) {
	t.Parallel()
	stand := func(status int, challenge string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if challenge != "" {
				w.Header().Set("WWW-Authenticate", challenge)
			}
			w.WriteHeader(status)
		}))
		t.Cleanup(s.Close)
		return strings.TrimPrefix(s.URL, "http://")
	}
	config := writeConfig(t, fmt.Sprintf(`
zones: {example.io: {nameservers: {ns1: [192.0.2.53]}}}
probes: {registry: {type: registry, tls: false, timeout: 2s}}
registries:
  myregistry:
    replicas:
      westus: {addresses: [192.0.2.1], probe: registry, probe_target: "%s"}
      eastus: {addresses: [192.0.2.2], probe: registry, probe_target: "%s"}
      westeurope: {addresses: [192.0.2.3], probe: registry, probe_target: "%s"}
      japaneast: {addresses: [192.0.2.4], probe: registry, probe_target: "%s"}
`, stand(200, ""), stand(503, ""), stand(401, `Bearer realm="http://127.0.0.1/token",service="test"`), freePort(t)))
	o := run(t, nil, portolan(t), "probe", "-c", config)
	for _, want := range []string{
		`myregistry/westus +registry \S+ +pass .*200 OK`, `myregistry/eastus .* fail .*503`,
		`myregistry/westeurope .* pass .*401 with a bearer challenge`, `myregistry/japaneast .* fail .*refused`,
	} {
		if !regexp.MustCompile(want).MatchString(o.text) {
			t.Errorf("probe: no line like %q in\n%s", want, o.text)
		}
	}
	if o.code != 1 {
		t.Errorf("probe with replicas that fail: exit code %d", o.code)
	}
	if text := must(t, nil, portolan(t), "probe", "-c", config, "myregistry/westus"); strings.Contains(text, "eastus") {
		t.Errorf("probe of one replica: %s", text)
	}
}

// TestAskTheServer runs the verbs that talk to a running server: they say what it
// answers.
func TestAskTheServer(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, minimal)
	for _, prefix := range []string{seattle, newYork, amsterdam} {
		v := jsonOf(t, "explain", "myregistry", "--client", prefix, "--socket", s.socket())
		m := s.client().ask(t, question("myregistry.example.io", "A", subnet(prefix)))
		want := map[string]string{"192.0.2.10": "westus", "192.0.2.20": "eastus"}[addresses(m)[0]]
		if v["answer"] != want || v["client"] != prefix || v["node"] != "e2e" {
			t.Errorf("explain for %s: %v, but the answer is %s", prefix, v, want)
		}
	}
	t.Logf("%s", must(t, nil, portolan(t), "status", "--socket", s.socket()))
	if v := jsonOf(t, "status", "--socket", s.socket()); v["node"] != "e2e" || v["generation"] != 1.0 {
		t.Errorf("status: %v", v)
	}
	info, err := os.Stat(s.socket())
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o660 {
		t.Errorf("the socket's mode is %o", mode)
	}
	s.stop()
	if o := run(t, nil, portolan(t), "status", "--socket", s.socket()); o.code != 1 || !strings.Contains(o.text, "is it running") {
		t.Errorf("status of a stopped server: exit code %d: %s", o.code, o.text)
	}
}

// TestDemo goes through what the guide of the demo tells to try.
func TestDemo(t *testing.T) {
	t.Parallel()
	control := freePort(t)
	p := start(t, nil, portolan(t), "demo", "--listen", "127.0.0.1:0", "--control", control)
	s := &server{process: p}
	s.learn(p.waitLog(0, "msg=serving"))
	guide := p.waitLog(0, "portolan status --socket ")
	socket := guide[strings.LastIndex(guide, " ")+1:]
	for _, want := range []string{fmt.Sprintf("dig @127.0.0.1 -p %d +short", s.addrs[0].Port()), "demo break canadacentral"} {
		if p.log.line(0, want) == "" {
			t.Errorf("the guide lacks %q", want)
		}
	}
	names := map[string]string{"192.0.2.10": "westus", "192.0.2.20": "eastus", "192.0.2.30": "canadacentral", "192.0.2.40": "westeurope"}
	const toronto, newcomer = "128.100.0.0/24", "128.100.77.0/24"
	ask := func(prefix string) string {
		return names[addresses(s.client().ask(t, question(exampleName, "A", subnet(prefix))))[0]]
	}
	if got := ask(toronto); got != "canadacentral" {
		t.Fatalf("Toronto is led to %s", got)
	}
	if said := must(t, nil, portolan(t), "demo", "break", "canadacentral", "--control", control); !strings.Contains(said, "503") {
		t.Errorf("demo break: %s", said)
	}
	var machine stalls
	begin := machine.look()
	eventually(t, patience, "Toronto is led to eastus", func() bool {
		machine.look()
		return ask(toronto) == "eastus"
	})
	if took := time.Since(begin); took > 3*time.Second+slack+machine.total {
		t.Errorf("it took %v, and the guide says three seconds; the machine stood still for %v", took, machine.total)
	}
	if text := must(t, nil, portolan(t), "status", "--socket", socket); !regexp.MustCompile(`canadacentral +true +down `).MatchString(text) {
		t.Errorf("status: %s", text)
	}
	must(t, nil, portolan(t), "demo", "mend", "canadacentral", "--control", control)
	eventually(t, patience, "canadacentral is used again", func() bool {
		return regexp.MustCompile(`canadacentral +true +up `).MatchString(must(t, nil, portolan(t), "status", "--socket", socket))
	})
	// Who has been busy all the time stays where he is; who comes now does not.
	eventually(t, patience, "a newcomer is led to canadacentral", func() bool { return ask(newcomer) == "canadacentral" })
	if got := ask(toronto); got != "eastus" {
		t.Errorf("the busy client is led to %s", got)
	}
	if o := run(t, nil, portolan(t), "demo", "break", "atlantis", "--control", control); o.code != 1 || !strings.Contains(o.text, "canadacentral") {
		t.Errorf("demo break of what is not there: exit code %d: %s", o.code, o.text)
	}
	p.signal(syscall.SIGINT) // as Ctrl-C does
	if code := p.wait(stopWithin); code != 0 {
		t.Errorf("exit code %d after SIGINT", code)
	}
	if _, err := os.Stat(filepath.Dir(socket)); err == nil {
		t.Errorf("%s is left behind", filepath.Dir(socket))
	}
}
