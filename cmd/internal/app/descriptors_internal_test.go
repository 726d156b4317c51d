package app

import (
	"strconv"
	"testing"
	"time"

	"portolan.dev/health"
)

// As many probes are counted as can be under way when all targets hang, each check
// once, and no more than run.
func TestProbesUnderWay(t *testing.T) {
	checks := func(n int, timeout time.Duration, targets int) (out []health.Endpoint) {
		for i := range n {
			out = append(out, health.Endpoint{Checks: []health.Check{{Key: strconv.Itoa(i % targets), Interval: 10 * time.Second, Timeout: timeout}}})
		}
		return out
	}
	for name, c := range map[string]struct {
		endpoints []health.Endpoint
		want      int
	}{
		"none":           {nil, 0},
		"one":            {checks(1, 2*time.Second, 1), 1},
		"ten":            {checks(10, 2*time.Second, 10), 3},
		"always running": {checks(10, 10*time.Second, 10), 10},
		"shared":         {checks(1000, 2*time.Second, 1), 1},
		"many":           {checks(100_000, 2*time.Second, 100_000), health.DefaultConcurrency},
		"long":           {checks(10, time.Minute, 10), 10},
	} {
		if got := probesUnderWay(c.endpoints); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// Connections never take from the reserve, but for the few that there always are.
func TestConnectionsHeld(t *testing.T) {
	d := descriptors{connections: 1000, reserve: 500}
	for limit, want := range map[int]int{1 << 20: 1000, 1500: 1000, 1499: 999, 600: 100, 516: 16, 500: 16, 0: 16} {
		if got := d.held(limit); got != want {
			t.Errorf("limit %d: %d, want %d", limit, got, want)
		}
	}
	if got := (descriptors{connections: 5, reserve: 500}).held(100); got != 5 {
		t.Errorf("more than configured: %d", got)
	}
}
