//go:build linux

package e2e

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// blocks returns the text of the fenced blocks of a kind in a file of the repository.
func blocks(t *testing.T, name, kind string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../..", name))
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, m := range regexp.MustCompile("(?ms)^```"+kind+"\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		found = append(found, m[1])
	}
	if len(found) == 0 {
		t.Fatalf("%s has no block of %s", name, kind)
	}
	return found
}

// operable is the configuration of the README for a test: free ports, its own
// folder, stand-ins for the replicas, and a short grace.
func operable(t *testing.T, readme string) string {
	t.Helper()
	stand := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(stand.Close)
	target := `probe_target: "` + strings.TrimPrefix(stand.URL, "http://") + `"`
	for _, change := range [][2]string{
		{`["127.0.0.1:8053", "[::1]:8053"]`, `["127.0.0.1:0"]`},
		{"/run/portolan/admin.sock", "$DIR/admin.sock"},
		{"127.0.0.1:9353", "127.0.0.1:0"},
		{"{type: registry, ", "{type: registry, tls: false, "},
		{`probe_target: "10.0.0.30:443"`, target},
		{"probe: registry}", "probe: registry, " + target + "}"},
	} {
		if !strings.Contains(readme, change[0]) {
			t.Fatalf("the README's configuration has no %s", change[0])
		}
		readme = strings.ReplaceAll(readme, change[0], change[1])
	}
	return readme + "state: {dir: $DIR, grace: 1s}\n"
}

const atlanta = "130.207.0.0/24"

// operated is a server and a shell beside its configuration.
type operated struct {
	*server
	t *testing.T
}

// sh runs a command line as an operator types it, in the folder of the configuration.
func (o *operated) sh(line string) outcome {
	o.t.Helper()
	return run(o.t, nil, "env", "PORTOLAN_SOCKET="+o.socket(), "PATH="+filepath.Dir(portolan(o.t))+":"+os.Getenv("PATH"),
		"sh", "-c", "cd "+o.dir+" && "+line)
}

// TestReadmeConfiguration checks the configuration of the README as it stands there.
func TestReadmeConfiguration(t *testing.T) {
	t.Parallel()
	for _, text := range blocks(t, "README.md", "yaml") {
		if out := must(t, nil, portolan(t), "check", "-c", writeConfig(t, text)); strings.Contains(out, "warning") {
			t.Errorf("%s", out)
		}
	}
}

// TestOperations runs every command of docs/operations.md, in order, against a server
// with the configuration of the README.
func TestOperations(t *testing.T) {
	t.Parallel()
	o := &operated{serve(t, nil, operable(t, blocks(t, "README.md", "yaml")[0])), t}
	eventually(t, patience, "all replicas have been seen", func() bool {
		return o.scrape().sum("portolan_probe_results_total", `verdict="pass"`) >= 3
	})
	commands := 0
	for _, block := range blocks(t, "docs/operations.md", "console") {
		for line := range strings.Lines(block) {
			command, ok := strings.CutPrefix(strings.TrimSpace(line), "$ ")
			if !ok || !strings.HasPrefix(command, "portolan ") {
				continue
			}
			commands++
			out := o.sh(command)
			if out.code != 0 || out.text == "" {
				t.Errorf("%s: exit code %d:\n%s", command, out.code, out.text)
				continue
			}
			o.promised(command, out.text)
		}
	}
	if commands < 15 {
		t.Errorf("%d commands: the document or its reader has changed", commands)
	}
	o.recorded()
}

// promised checks what the document says of a command where that is cheap.
func (o *operated) promised(command, text string) {
	o.t.Helper()
	verb := strings.Fields(command)[1]
	switch {
	case verb == "drain":
		o.drained(command, text)
	case verb == "upgrade":
		o.follow(0)
	case verb == "undrain":
		o.leads(atlanta, "eastus")
	case strings.Contains(command, "--global-endpoint-routing true"):
		o.leads(amsterdam, "westeurope")
	case strings.Contains(command, "--global-endpoint-routing config"):
		o.leadsAway(amsterdam, "westeurope")
		st := o.sh("portolan replication show -r myregistry -n westeurope -o json")
		if !strings.Contains(st.text, `"routed": false`) || strings.Contains(st.text, `"routing_by"`) {
			o.t.Errorf("%s: %s", command, st.text)
		}
	case verb == "explain":
		if !strings.HasPrefix(text, "answer ") || !strings.Contains(text, "\nrank 1 ") {
			o.t.Errorf("%s: %s", command, text)
		}
	}
	switch verb {
	case "status", "show-endpoints", "events", "explain", "replication", "reload", "check":
		var v any
		if out := o.sh(command + " -o json"); out.code != 0 || json.Unmarshal([]byte(out.text), &v) != nil {
			o.t.Errorf("%s -o json: exit code %d: %s", command, out.code, out.text)
		}
	default: // what changes something is not run twice
	}
}

// drained looks at what a drain prints, and waits until new clients have stopped.
func (o *operated) drained(command, text string) {
	o.t.Helper()
	for _, want := range []string{"effective", "held", "bound"} {
		if !strings.Contains(strings.ToLower(text), want) {
			o.t.Errorf("%s does not say %s:\n%s", command, want, text)
		}
	}
	o.leadsAway(atlanta, "eastus")
	var drains []struct{ Deadline, Reason string }
	o.operator(o.t).get("/v1/drains", &drains)
	if len(drains) != 1 || drains[0].Reason != "kernel update" || (drains[0].Deadline != "") != strings.Contains(command, "--deadline") {
		o.t.Errorf("%s: %+v", command, drains)
	}
}

// leads waits until a client that has never asked would be led to a region,
// leadsAway until it would not.
func (o *operated) leads(client, want string) {
	o.t.Helper()
	o.newcomer(client, func(got string) bool { return got == want })
}

func (o *operated) leadsAway(client, from string) {
	o.t.Helper()
	o.newcomer(client, func(got string) bool { return got != from })
}

func (o *operated) newcomer(prefix string, ok func(region string) bool) {
	o.t.Helper()
	eventually(o.t, patience, "a new client in "+prefix+" is led where it should be", func() bool {
		var decision struct{ Answer string }
		o.operator(o.t).get("/v1/explain?registry=myregistry&client="+prefix, &decision)
		return ok(decision.Answer)
	})
}

// recorded looks whether the ledger tells what was done, by whom and why.
func (o *operated) recorded() {
	o.t.Helper()
	out := o.sh("portolan events --limit 20")
	for _, want := range []string{"drain", "undrain", "routing", "config", "kernel update"} {
		if !strings.Contains(out.text, want) {
			o.t.Errorf("the events do not name %s:\n%s", want, out.text)
		}
	}
	if st := o.status(o.t); st.LedgerError != "" || len(st.Registries) != 1 {
		o.t.Errorf("%+v", st)
	}
}
