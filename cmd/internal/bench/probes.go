//go:build linux

package main

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func (r *rig) probes() *cobra.Command {
	targets, interval, long := 10_000, 10*time.Second, 30*time.Second
	cmd := r.command("probes", "Measure what probing many targets costs", func(r *rig, ctx context.Context) error {
		return r.probing(ctx, targets, interval, long)
	})
	cmd.Flags().IntVar(&targets, "targets", targets, "how many targets, four a registry")
	cmd.Flags().DurationVar(&interval, "interval", interval, "between two probes of a target")
	cmd.Flags().DurationVar(&long, "watch", long, "how long to measure")
	return cmd
}

// probing measures a server that does nothing but probe.
func (r *rig) probing(ctx context.Context, targets int, interval, long time.Duration) error {
	a, err := r.respond()
	if err != nil {
		return err
	}
	defer a.close()
	t := new(table)
	t.add("probe targets", "interval", "probes/s", "share of a core", "CPU/probe", "RSS", "PSS")
	for _, n := range []int{0, targets} {
		r.progress("%d targets", n)
		addr, dir := r.port(), fmt.Sprintf("probes%d", n)
		p, err := r.serve(ctx, []int{r.serverCPU}, addr, dir, r.probed(addr, n, interval, a.port))
		if err != nil {
			return err
		}
		if err := r.probingFor(ctx, t, p, a, n, interval, long); err != nil {
			return err
		}
		p.stop()
	}
	t.print(r.out)
	r.printf("Type `registry` without TLS, every target by itself, for %s after the first round.\n", long)
	return nil
}

// probingFor waits for the first round to be over and adds a row.
func (r *rig) probingFor(ctx context.Context, t *table, p *portolan, a *responder, n int, interval, long time.Duration) error {
	if err := sleep(ctx, interval); err != nil {
		return err
	}
	before, err := p.usage()
	if err != nil {
		return err
	}
	asked, begin := a.asked.Load(), r.now()
	if err := sleep(ctx, long); err != nil {
		return err
	}
	after, err := p.usage()
	if err != nil {
		return err
	}
	took, probes := r.now().Sub(begin), float64(a.asked.Load()-asked)
	m, err := p.memory()
	if err != nil {
		return err
	}
	used, each := after.minus(before).total(), ""
	if probes > 0 {
		each = us(float64(used.Microseconds()) / probes)
	}
	t.add(strconv.Itoa(n), interval.String(), fmt.Sprintf("%.0f", probes/took.Seconds()),
		fmt.Sprintf("%.1f %%", 100*used.Seconds()/took.Seconds()), each, mebibytes(m.rss), mebibytes(m.pss))
	return nil
}

// probed is a configuration with n probe targets, and the registry everybody serves.
func (r *rig) probed(addr netip.AddrPort, n int, interval time.Duration, port int) string {
	var b strings.Builder
	b.WriteString(r.head(addr, 1))
	fmt.Fprintf(&b, "geo: {default_region: westus}\nprobes: {registry: {type: registry, tls: false, interval: %s}}\nregistries:\n", interval)
	b.WriteString("  myregistry: {replicas: {westus: {addresses: [127.1.0.1]}}}\n")
	for i := 0; i < n; i += len(regionsOfPeers()) {
		fmt.Fprintf(&b, "  registry%05d:\n    replicas:\n", i)
		for j, region := range regionsOfPeers() {
			target := i + j
			fmt.Fprintf(&b, "      %s: {addresses: [%s], probe: registry, probe_target: \"127.3.%d.%d:%d\"}\n",
				region, address(j), target>>8&255, target&255, port)
		}
	}
	return b.String()
}

// sleep sleeps unless ctx is done first.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
