//go:build linux

package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The fleet of TestScale: registries with eight replicas each, spread over sixty
// regions and behind 10,000 front ends, each of which is probed every ten seconds.
const (
	scaleReplicas = 8
	scaleRegions  = 60
	scaleTargets  = 10_000
	scalePort     = "4430"
)

// TestScale prints what a server of PORTOLAN_SCALE registries (100000 unless it says
// otherwise; the test is one of PORTOLAN_LONG=1) costs, from a folder of files: the time to start, to
// reload after one change, memory, and the processor time of probing.
func TestScale(t *testing.T) {
	registries, err := strconv.Atoi(os.Getenv("PORTOLAN_SCALE"))
	switch {
	case err == nil:
	case os.Getenv("PORTOLAN_LONG") == "":
		t.Skip("takes a minute: set PORTOLAN_LONG=1, or PORTOLAN_SCALE to a number of registries")
	default:
		registries = 100_000
	}
	n := newNetns(t, "")
	frontEnds(t, n)
	main := "server: {listen: ['127.0.0.1:0']}\nadmin: {socket: $DIR/admin.sock, metrics: '127.0.0.1:0'}\nstate: {dir: $DIR/state}\n" +
		"zones: {example.io: {nameservers: {ns1: [192.0.2.53]}}}\nprobes: {tcp: {type: tcp, port: " + scalePort + ", interval: 10s}}\ninclude: ['registries-*.yaml']\n" +
		scaleRegionsText()
	files := make([]file, 0, 100)
	for i := range cap(files) {
		per := registries / cap(files)
		files = append(files, file{fmt.Sprintf("registries-%02d.yaml", i), scaleText(i*per, per, "60s")})
	}
	s := serveWithin(t, 10*patience, n, main, files...)
	t.Logf("start: %.1f s until it serves, %.1f s of processor time", time.Since(s.began).Seconds(), s.processor().Seconds())
	t.Logf("after the start: %s", s.memoryText(t))

	s.write(t, file{files[50].name, scaleText(registries/2, registries/100, "61s")})
	before := s.processor()
	at := s.log.len()
	s.signal(syscall.SIGHUP)
	line := s.waitLogWithin(10*patience, at, "reload")
	took := regexp.MustCompile(`took=(\S+)`).FindStringSubmatch(line)
	if took == nil {
		t.Fatalf("no reload: %s", line)
	}
	t.Logf("reload with %d changed registries: %s, %.1f s of processor time", registries/100, took[1], (s.processor() - before).Seconds())
	for before, now := 0, s.memory(); now != before; before, now = now, s.memory() {
		time.Sleep(500 * time.Millisecond) // the old world is collected behind the line in the log
	}
	t.Logf("after the reload: %s", s.memoryText(t))

	before, began := s.processor(), time.Now()
	probed := s.scrape().sum("portolan_probe_results_total")
	for time.Since(began) < 30*time.Second { // what is measured is time
		time.Sleep(time.Second)
	}
	rate := (s.scrape().sum("portolan_probe_results_total") - probed) / time.Since(began).Seconds()
	share := (s.processor() - before).Seconds() / time.Since(began).Seconds()
	t.Logf("%.0f probes a second: %.1f %% of a core", rate, 100*share)
	t.Logf("after them: %s", s.memoryText(t))
}

// frontEnds answers connections to all loopback addresses of the namespace.
func frontEnds(t *testing.T, n *netns) {
	t.Helper()
	var l net.Listener
	err := n.do(func() (err error) {
		l, err = net.Listen("tcp4", "0.0.0.0:"+scalePort) // the namespace has nothing but loopback
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
}

func scaleRegionsText() string {
	var b strings.Builder
	b.WriteString("regions:\n")
	for i := range scaleRegions {
		fmt.Fprintf(&b, "  region%d: {latitude: %d, longitude: %d}\n", i, i%12*10-55, i*6-180)
	}
	return b.String()
}

// scaleText writes some registries; the first of them answers with the TTL.
func scaleText(first, n int, ttl string) string {
	var b strings.Builder
	b.WriteString("registries:\n")
	for i := first; i < first+n; i++ {
		fmt.Fprintf(&b, "  registry%d:\n    zone: example.io\n    regional_endpoints: enabled\n    sticky: {ttl: %s}\n    replicas:\n", i, ttl)
		for j := range scaleReplicas {
			k := i*scaleReplicas + j
			front := k % scaleTargets
			fmt.Fprintf(&b, "      region%d: {addresses: [10.%d.%d.%d], probe: tcp, probe_target: \"127.1.%d.%d:%s\"}\n",
				(i+j*7)%scaleRegions, k>>16, k>>8&0xff, k&0xff, front>>8, front&0xff, scalePort)
		}
	}
	return b.String()
}

// processor returns the processor time that the server has used.
func (s *server) processor() time.Duration {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(s.now.Pid), "stat"))
	if err != nil {
		s.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	fields := strings.Fields(rest)
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * (time.Second / 100) // USER_HZ
}

// memoryText says how much memory the server has now and had at most.
func (s *server) memoryText(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(s.now.Pid), "status"))
	if err != nil {
		t.Fatal(err)
	}
	megabytes := func(key string) int {
		m := regexp.MustCompile(key + `:\s+([0-9]+) kB`).FindSubmatch(data)
		if m == nil {
			t.Fatalf("no %s in %s", key, data)
		}
		n, _ := strconv.Atoi(string(m[1]))
		return n >> 10
	}
	return fmt.Sprintf("%d MB resident, %d MB at most", megabytes("VmRSS"), megabytes("VmHWM"))
}
