package app

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.yaml.in/yaml/v3"

	"portolan.dev/config"
)

const deploy = "../../../deploy/"

// metricNames returns the names of all metrics, with those that a histogram's parts
// go by.
func metricNames() map[string]bool {
	names := make(map[string]bool)
	descs := make(chan *prometheus.Desc)
	go func() {
		defer close(descs)
		m := newMetrics(&App{clock: newClock(time.Now, nil, nil)})
		for _, c := range []prometheus.Collector{m, m.probeTime, m.probeResults, m.reloadOK, m.reloadAt, m.reloadTook, m.reloads} {
			c.Describe(descs)
		}
	}()
	name := regexp.MustCompile(`fqName: "([^"]+)"`)
	for d := range descs {
		n := name.FindStringSubmatch(d.String())[1]
		for _, suffix := range []string{"", "_bucket", "_sum", "_count"} {
			names[n+suffix] = true
		}
	}
	names["portolan_build_info"] = true
	return names
}

// expressions collects the values of all keys expr and query, however deep.
func expressions(v any, found *[]string) {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			if text, ok := value.(string); ok && (key == "expr" || key == "query") {
				*found = append(*found, text)
			}
			expressions(value, found)
		}
	case []any:
		for _, value := range v {
			expressions(value, found)
		}
	}
}

// What alerts and the dashboard ask for is there.
func TestDeployedExpressionsNameRealMetrics(t *testing.T) {
	known := metricNames()
	metric := regexp.MustCompile(`portolan_[a-z_0-9]+`)
	for file, unmarshal := range map[string]func([]byte, any) error{
		"prometheus/alerts.yaml": yaml.Unmarshal, "grafana/dashboard.json": json.Unmarshal,
	} {
		data, err := os.ReadFile(deploy + file)
		if err != nil {
			t.Fatal(err)
		}
		var content any
		if err := unmarshal(data, &content); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		var found []string
		expressions(content, &found)
		used := 0
		for _, e := range found {
			for _, name := range metric.FindAllString(e, -1) {
				used++
				if !known[name] {
					t.Errorf("%s: %s is no metric of this server", file, name)
				}
			}
		}
		if used < 8 {
			t.Errorf("%s: only %d metrics are used", file, used)
		}
	}
}

// The configurations that are deployed load without a warning.
func TestDeployedConfigurationsLoad(t *testing.T) {
	data, err := os.ReadFile(deploy + "portolan.yaml")
	if err != nil {
		t.Fatal(err)
	}
	packaged, _, _ := strings.Cut(string(data), "\ninclude:")
	data, err = os.ReadFile(deploy + "kubernetes/portolan.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var configMap struct {
		Data map[string]string `yaml:"data"`
	}
	for document := range strings.SplitSeq(string(data), "\n---\n") {
		if err := yaml.Unmarshal([]byte(document), &configMap); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"portolan.yaml": packaged, "kubernetes": configMap.Data["portolan.yaml"]} {
		c, err := config.Parse(name, []byte(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(c.Registries) == 0 || len(c.Warnings) > 0 {
			t.Errorf("%s: %d registries, warnings %v", name, len(c.Registries), c.Warnings)
		}
	}
}

// The socket unit opens the addresses that the packaged configuration serves, and only
// those; it comes with the service, when that is enabled and when it is started.
func TestSocketUnitHasTheAddressesOfTheConfiguration(t *testing.T) {
	read := func(name string) string {
		t.Helper()
		data, err := os.ReadFile(deploy + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	packaged, _, _ := strings.Cut(read("portolan.yaml"), "\ninclude:")
	c, err := config.Parse("portolan.yaml", []byte(packaged))
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, a := range c.Server.Listen {
		want = append(want, "Datagram="+a.String(), "Stream="+a.String())
	}
	for _, a := range c.Server.TLS.Listen {
		want = append(want, "Stream="+a.String())
	}
	var got []string
	for line := range strings.Lines(read("systemd/portolan.socket")) {
		if address, ok := strings.CutPrefix(strings.TrimSpace(line), "Listen"); ok {
			got = append(got, address)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("portolan.socket opens %v, portolan.yaml serves %v", got, want)
	}
	service := read("systemd/portolan.service")
	for _, line := range []string{"Also=portolan.socket", "Sockets=portolan.socket", "After=network-online.target portolan.socket", "Wants=network-online.target portolan.socket"} {
		if !strings.Contains(service, "\n"+line+"\n") {
			t.Errorf("portolan.service has no line %q", line)
		}
	}
}
