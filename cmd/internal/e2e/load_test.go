//go:build linux

package e2e

import (
	"strings"
	"testing"

	"portolan.dev/cmd/internal/load"
)

// TestLoad drives a server with `portolan load` over every address and transport:
// nothing is lost or strange, the response codes are those of the mix, and the
// server has counted what the load says it was answered.
func TestLoad(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, minimal)
	mix := file{"mix.txt", "80 global\n10 nxdomain\n5 random\n5 example.io SOA -\n"}
	s.write(t, mix)
	for _, c := range s.clients() {
		args := []string{
			"load", "--server", c.server.String(), "--name", "myregistry.example.io", "--mix", s.dir + "/" + mix.name,
			"--duration", "1s", "--warmup", "50ms", "--timeout", "15s", "--sockets", "3", "--in-flight", "30",
		}
		if c.network == "tcp" {
			args = append(args, "--tcp", "--queries-per-connection", "200")
		}
		before := s.scrape()
		report := jsonOf(t, args...)
		after := s.scrape()
		count := func(key string) float64 {
			n, ok := report[key].(float64)
			if !ok {
				t.Fatalf("%v: no %s in %v", c, key, report)
			}
			return n
		}
		rcodes, _ := report["rcodes"].(map[string]any)
		if count("answered") < 20 || count("lost") != 0 || count("failed") != 0 || count("stray") != 0 || report["error"] != nil {
			t.Errorf("%v: %v", c, report)
		}
		if len(rcodes) != 2 || rcodes["NOERROR"] == nil || rcodes["NXDOMAIN"] == nil {
			t.Errorf("%v: response codes %v", c, rcodes)
		}
		if got := after.sum("portolan_queries_total") - before.sum("portolan_queries_total"); got < count("answered") {
			t.Errorf("%v: the server has counted %v queries, the load %v answers", c, got, count("answered"))
		}
	}
	for _, kind := range load.Kinds() {
		out := must(t, nil, portolan(t), "load", "--server", s.addrs[0].String(), "--name", "myregistry.example.io", "--regions", "westus",
			"--mix", kind, "--rate", "500", "--duration", "100ms", "--timeout", "15s")
		if !strings.Contains(out, "lost       0 (0 %)") {
			t.Errorf("%s:\n%s", kind, out)
		}
	}
}
