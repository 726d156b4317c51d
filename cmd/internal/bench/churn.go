//go:build linux

package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"portolan.dev/cmd/internal/admin"
)

// flapping is how many replicas flap, each at every probe: ten times a second.
const flapping = 10

// churning is a server under load and something that happens to it meanwhile.
type churning struct {
	what string
	p    *portolan
	// disturb does it once; nil for nothing. It is called again and again while the
	// load lasts.
	disturb func(ctx context.Context) error
	// count says how often it has happened, if disturb does not tell.
	count func() uint64

	full, half figures
	times      uint64
	lostFull   uint64
	lostHalf   uint64
	sent       uint64
}

// pause is the time between two disturbances.
const pause = 200 * time.Millisecond

// churn measures how queries fare while a server reloads, loads other location data,
// or sees replicas flap, against the same server left alone. The work of a reload
// competes with the answers for the one CPU.
func (r *rig) churn(ctx context.Context) error {
	a, err := r.respond()
	if err != nil {
		return err
	}
	defer a.close()
	cases, err := r.churns(ctx, a)
	if err != nil {
		return err
	}
	for round := range r.rounds {
		r.progress("round %d of %d", round+1, r.rounds)
		for i := range cases {
			c := &cases[i]
			before := c.happened()
			if err := r.disturbed(ctx, c, 0, &c.full, &c.lostFull); err != nil {
				return fmt.Errorf("%s: %w", c.what, err)
			}
			rate := int(median(cases[0].full.perSecond) / 2)
			if err := r.disturbed(ctx, c, rate, &c.half, &c.lostHalf); err != nil {
				return fmt.Errorf("%s: %w", c.what, err)
			}
			c.times += c.happened() - before
		}
	}
	t := new(table)
	t.add("while", "times", "answers/s", "lost at full load", "p99 at half", "p99 to undisturbed", "p99.9 at half", "lost at half")
	for i := range cases {
		c := &cases[i]
		t.add(c.what, strconv.FormatUint(c.times, 10), thousands(median(c.full.perSecond)), strconv.FormatUint(c.lostFull, 10), us(median(c.half.p99)),
			fmt.Sprintf("%.2f", median(ratios(c.half.p99, cases[0].half.p99))), us(median(c.half.p999)), strconv.FormatUint(c.lostHalf, 10))
	}
	t.print(r.out)
	r.printf("One core for everything, %d rounds in turn, %s each at full load and at half of it, medians; lost of some %.0f k queries in each cell.\n",
		r.rounds, r.duration, float64(cases[0].sent)/2000)
	return nil
}

// churns starts the servers: one that is left alone and reloaded, and one that flaps.
func (r *rig) churns(ctx context.Context, a *responder) ([]churning, error) {
	s, closeSite, err := r.newSite()
	if err != nil {
		return nil, err
	}
	defer closeSite()
	addr, flapAddr := r.port(), r.port()
	config := r.one(addr, 1, a.port)
	p, err := r.serve(ctx, []int{r.serverCPU}, addr, "churn", config)
	if err != nil {
		return nil, err
	}
	flap, err := r.serve(ctx, []int{r.serverCPU}, flapAddr, "flap", r.flappy(flapAddr, a.port))
	if err != nil {
		return nil, err
	}
	// In the folder of the configuration, which the running server may read.
	database, err := os.ReadFile(s.database)
	if err != nil {
		return nil, err
	}
	if _, err := r.write("churn/city.mmdb", string(database)); err != nil {
		return nil, err
	}
	client := admin.NewClient(p.socket(r))
	path := filepath.Join(r.dir, "churn", "portolan.yaml")
	other := strings.Replace(config, "geo: {", "geo: {database: city.mmdb, ", 1)
	var reloads, swaps atomic.Uint64
	return []churning{
		{what: "nothing happens", p: p},
		{what: "it reloads", p: p, count: reloads.Load, disturb: func(ctx context.Context) error {
			reloads.Add(1)
			_, err := client.Reload(ctx, admin.ReloadRequest{})
			return err
		}},
		{what: "it loads other location data", p: p, count: swaps.Load, disturb: func(ctx context.Context) error {
			text := other
			if swaps.Add(1)%2 == 0 {
				text = config
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				return err
			}
			_, err := client.Reload(ctx, admin.ReloadRequest{})
			return err
		}},
		{what: fmt.Sprintf("%d replicas flap, ten times a second each", flapping), p: flap, count: a.flaps.Load},
	}, nil
}

func (c *churning) happened() uint64 {
	if c.count == nil {
		return 0
	}
	return c.count()
}

// disturbed measures once while the case goes on.
func (r *rig) disturbed(ctx context.Context, c *churning, rate int, f *figures, lost *uint64) error {
	during, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- c.keepOn(during) }() // ends with stop
	a := r.closed(c.p.addr, "global4")
	a.rate = rate
	m, err := r.measure(ctx, c.p.process, &a)
	stop()
	if failure := <-ended; failure != nil {
		return failure
	}
	if err != nil {
		return err
	}
	f.perSecond = append(f.perSecond, m.PerSecond)
	f.p99 = append(f.p99, m.Latency.P99)
	f.p999 = append(f.p999, m.Latency.P999)
	*lost += m.Lost
	c.sent += m.Sent
	return nil
}

// keepOn disturbs until ctx is done.
func (c *churning) keepOn(ctx context.Context) error {
	for c.disturb != nil && ctx.Err() == nil {
		// What has begun is finished: a reload that is cut off would be no reload.
		if err := c.disturb(context.WithoutCancel(ctx)); err != nil {
			return err
		}
		_ = sleep(ctx, pause) // cut short at the end
	}
	return nil
}

// flappy is the registry with replicas that are up and down in turn, at each probe,
// and clients that are held meanwhile.
func (r *rig) flappy(addr netip.AddrPort, port int) string {
	var b strings.Builder
	b.WriteString(r.head(addr, 1))
	b.WriteString(`
geo: {default_region: westus}
probes: {flap: {type: http, path: /flap, host: probe.example.io, interval: 100ms, fall: 1, rise: 1}}
registries:
  myregistry:
    recovery_hold: 0s
    replicas:
`)
	for i, region := range regionNames(flapping) {
		fmt.Fprintf(&b, "      %s: {addresses: [%s], probe: flap, probe_target: \"127.4.0.%d:%d\"}\n", region, address(i), i+1, port)
	}
	return b.String()
}
