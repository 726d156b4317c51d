package app

import (
	"encoding/json"
	"os"
	"regexp"
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
