package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"portolan.dev/cmd/internal/admin"
)

// What each verb prints, and what it asks of the server.
func TestVerbsPrint(t *testing.T) {
	for _, tt := range []struct {
		name, line, asked string
	}{
		{"status", "status", "status"},
		{"status-region", "status --region east* -r my*", "status"},
		{"status-nothing", "status -r nothing", "status"},
		{"status-json", "status -r other -o json", "status"},
		{"replication-list", "replication list -r myregistry", "status"},
		{"replication-list-name", "replication list -r MyRegistry.example.io", "status"},
		{"replication-list-unknown", "replication list -r nowhere", "status"},
		{"replication-show", "replication show -r other -n EASTUS", "status"},
		{"replication-show-json", "replication show -r other -n eastus -o json", "status"},
		{"replication-show-unknown", "replication show -r other -n westus", "status"},
		{
			"replication-update", "replication update -r other.example.io. -n eastus --global-endpoint-routing false --force --reason broken --by ann",
			"status\nrouting other/eastus false force true by \"ann\": broken",
		},
		{
			"replication-update-config", "replication update -r other -n eastus --global-endpoint-routing config --by ann",
			"status\nrouting other/eastus as the configuration says force false by \"ann\": ",
		},
		{"show-endpoints", "show-endpoints -r myregistry", "endpoints myregistry"},
		{"show-endpoints-json", "show-endpoints -r myregistry -o json", "endpoints myregistry"},
		{
			"drain", "drain *us -r my* --deadline 10m --for 2h --force --by ann --reason why",
			"drain {Selector:{Registry:my* Region:*us} Deadline:10m0s For:2h0m0s Now:false Force:true By:ann Reason:why}",
		},
		{
			"drain-json", "drain eastus --now --by ann -o json",
			"drain {Selector:{Registry: Region:eastus} Deadline:0s For:0s Now:true Force:false By:ann Reason:}",
		},
		{"drains", "drains -r myregistry", "drains {Registry:myregistry Region:}"},
		{"undrain", "undrain eastus --by ann --reason done", `undrain {Registry: Region:eastus} by "ann": done`},
		{"failback", "failback eastus -r myregistry --by ann", `failback {Registry:myregistry Region:eastus} by "ann": `},
		{"events", "events", `events {Registry: Region:} kind "" since ever limit 0`},
		{
			"events-filtered", "events -r my* --region eastus --kind drain --since 2h --limit 3",
			`events {Registry:my* Region:eastus} kind "drain" since 2026-03-01T10:00:00Z limit 3`,
		},
		{"events-json", "events --since 2026-02-01 -o json", `events {Registry: Region:} kind "" since 2026-02-01T00:00:00Z limit 0`},
		{"explain", "explain myregistry --client 192.0.2.7", "explain myregistry 192.0.2.0/24"},
		{"reload", "reload", "reload dry false force false"},
		{"reload-dry", "reload --dry-run", "reload dry true force false"},
		{"reload-json", "reload -o json --force", "reload dry false force true"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			api := &verbsAPI{drains: [][]admin.DrainStatus{{verbsDrain("eastus")}}}
			got := runVerb(t.Context(), verbsServer(t, api), strings.Fields(tt.line))
			golden(t, tt.name, got)
			if api.asked() != tt.asked {
				t.Errorf("asked %q, want %q", api.asked(), tt.asked)
			}
			if strings.HasSuffix(tt.name, "-json") && !json.Valid([]byte(got.out)) {
				t.Errorf("no JSON: %s", got.out)
			}
		})
	}
}

// Mistakes on the command line reach no server, and say what to do.
func TestVerbsUsage(t *testing.T) {
	for _, tt := range []struct{ line, says string }{
		{"status extra", "unknown command"},
		{"status --watch --interval 1ms", "--interval 1ms is too short"},
		{"status -r [", "is no pattern"},
		{"replication list", "name it with -r REGISTRY"},
		{"replication show -r myregistry", "name its region with -n REGION"},
		{"replication update -r myregistry -n eastus", "give --global-endpoint-routing true, false or config"},
		{"replication update -r myregistry -n eastus --global-endpoint-routing maybe", `"maybe" is not known`},
		{"replication update -r myregistry --global-endpoint-routing true", "-n REGION"},
		{"replication bogus", `unknown command "bogus"`},
		{"show-endpoints", "name it with -r REGISTRY"},
		{"drain", "accepts 1 arg"},
		{"drain east[", "is no pattern"},
		{"drain eastus --now --deadline 1m", "exclude each other"},
		{"drain eastus --deadline -1m", "10m or 2h, or none"},
		{"drain eastus --for soon", "invalid argument"},
		{"drain eastus --wait --timeout -1s", "give 0 or more"},
		{"drain eastus --wait --interval 0s", "too short"},
		{"drains a b", "at most 1 arg"},
		{"undrain", "accepts 1 arg"},
		{"failback", "accepts 1 arg"},
		{"events --since yesterday", `"yesterday" is no time`},
		{"events --limit -1", "give 1 or more"},
		{"reload now", "unknown command"},
		{"status -o xml", "use table or json"},
	} {
		t.Run(tt.line, func(t *testing.T) {
			api := &verbsAPI{}
			got := runVerb(t.Context(), verbsServer(t, api), strings.Fields(tt.line))
			if got.code != ExitUsage || !strings.Contains(got.err, tt.says) || !strings.Contains(got.err, "--help") || api.asked() != "" {
				t.Errorf("exit code %d, asked %q, %s\nwant 2 and %q", got.code, api.asked(), got.err, tt.says)
			}
		})
	}
}

// What a server refuses or cannot do has its exit code and its words.
func TestVerbsErrors(t *testing.T) {
	verbs := []string{
		"show-endpoints -r myregistry", "drain eastus", "drains", "undrain eastus", "failback eastus", "events", "reload",
		"replication update -r myregistry -n eastus --global-endpoint-routing false", "explain myregistry --client 192.0.2.7",
	}
	for _, tt := range []struct {
		err  error
		code int
	}{
		{fmt.Errorf("%w: the last one: use --force", admin.ErrRefused), ExitRefused},
		{fmt.Errorf("it is %w: try another", admin.ErrNotFound), ExitFailed},
		{errors.New("the ledger cannot be written: mend the disk"), ExitFailed},
	} {
		for _, line := range verbs {
			got := runVerb(t.Context(), verbsServer(t, &verbsAPI{err: tt.err}), strings.Fields(line))
			if got.code != tt.code || got.out != "" || !strings.Contains(got.err, tt.err.Error()) {
				t.Errorf("%s: exit code %d, %q, %q; want %d and %q", line, got.code, got.out, got.err, tt.code, tt.err)
			}
		}
	}
	for _, line := range append(verbs, "status", "replication list -r myregistry") {
		got := runVerb(t.Context(), "/nowhere/admin.sock", strings.Fields(line))
		if got.code != ExitFailed || !strings.Contains(got.err, "is it running, and is that its admin.socket?") {
			t.Errorf("%s without a server: exit code %d, %s", line, got.code, got.err)
		}
	}
	t.Run("reload", func(t *testing.T) {
		api := &verbsAPI{err: errors.New("a.yaml:1:1: bad\na.yaml:2:2: bad, too")}
		golden(t, "reload-fails", runVerb(t.Context(), verbsServer(t, api), []string{"reload"}))
	})
}

// The server knows who opens its socket; only what sudo hides is said to it.
func TestVerbsBy(t *testing.T) {
	for setting, want := range map[string]string{"NONE=": "By:", "SUDO_USER=ann": "By:ann (sudo)"} {
		api := &verbsAPI{}
		runVerb(t.Context(), verbsServer(t, api), []string{"drain", "eastus"}, setting)
		if !strings.Contains(api.asked(), want) {
			t.Errorf("%s: asked %q, want %q", setting, api.asked(), want)
		}
	}
}

// Names are completed from the server and from a file.
func TestVerbsComplete(t *testing.T) {
	socket := verbsServer(t, &verbsAPI{})
	file := t.TempDir() + "/p.yaml"
	writeFile(t, file, `
zones: {example.io: {nameservers: {ns1: [192.0.2.53]}}}
registries:
  fromfile: {zone: example.io, home: westus, replicas: {westus: {addresses: [192.0.2.1]}}}
`)
	for _, tt := range []struct{ line, want string }{
		{"drain |", "eastus lab westeurope westus"},
		{"drain -r other |", "eastus lab"},
		{"drain eastus |", ""},
		{"undrain --registry |", "myregistry other"},
		{"drains |", "eastus lab westeurope westus"},
		{"failback |", "eastus lab westeurope westus"},
		{"replication show -r myregistry -n |", "eastus westeurope westus"},
		{"replication update --global-endpoint-routing |", "true false config"},
		{"replication list -r |", "myregistry other"},
		{"show-endpoints -r |", "myregistry other"},
		{"explain |", "myregistry other"},
		{"explain -c " + file + " |", "fromfile"},
		{"probe -c " + file + " |", "fromfile"},
		{"explain -c /nowhere |", ""},
		{"events --kind |", "down up drain undrain routing config geodata failback effective passing start"},
		{"events --region |", "eastus lab westeurope westus"},
		{"status -r |", "myregistry other"},
		{"status --region |", "eastus lab westeurope westus"},
		{"drain --socket /nowhere |", ""},
		{"replication |", "list show update"},
	} {
		words := strings.Fields(strings.TrimSuffix(tt.line, "|"))
		got := runVerb(t.Context(), socket, append(append([]string{"__complete"}, words...), ""))
		var names []string
		for line := range strings.Lines(got.out) {
			if name, _, _ := strings.Cut(strings.TrimSpace(line), "\t"); !strings.HasPrefix(name, ":") {
				names = append(names, name)
			}
		}
		if text := strings.Join(names, " "); text != tt.want {
			t.Errorf("%s %q, want %q", tt.line, text, tt.want)
		}
	}
	if got := runVerb(t.Context(), socket, []string{"completion", "bash"}); got.code != 0 || !strings.Contains(got.out, "__start_portolan") {
		t.Errorf("no bash completion: %d %s", got.code, got.err)
	}
}

// The help says every exit code and every verb.
func TestVerbsHelp(t *testing.T) {
	got := runVerb(t.Context(), "", []string{"--help"})
	for _, want := range []string{
		"0 all is well", "1 the answer is no", "2 the command", "3 the server refuses",
		"\n  drain ", "\n  drains ", "\n  undrain ", "\n  events ", "\n  failback ", "\n  reload ", "\n  replication ", "\n  show-endpoints ", "\n  completion ",
	} {
		if !strings.Contains(got.out, want) {
			t.Errorf("no %q in the help:\n%s", want, got.out)
		}
	}
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{1500 * time.Millisecond: "1s", 26 * time.Hour: "26h0m0s", 60 * 24 * time.Hour: "60 days"} {
		if got := age(d); got != want {
			t.Errorf("age(%s) = %q, want %q", d, got, want)
		}
	}
}
