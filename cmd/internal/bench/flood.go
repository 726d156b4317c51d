//go:build linux

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// regulars is how many client networks make up the normal mix.
const regulars = 4096

func (r *rig) flood() *cobra.Command {
	var soak time.Duration
	cmd := r.command("flood", "Flood with random names and random clients, and watch the memory", func(r *rig, ctx context.Context) error {
		return r.floods(ctx, soak)
	})
	cmd.Flags().DurationVar(&soak, "soak", 5*time.Minute, "how long the memory is watched under random clients")
	return cmd
}

// floods compares what floods cost with what clients that come again cost.
func (r *rig) floods(ctx context.Context, soak time.Duration) error {
	l, probePort, err := listen()
	if err != nil {
		return err
	}
	defer l.Close()
	addr := r.port()
	p, err := r.serve(ctx, []int{r.serverCPU}, addr, "flood", r.one(addr, 1, probePort))
	if err != nil {
		return err
	}
	normal, err := r.write("normal.txt", regularClients())
	if err != nil {
		return err
	}
	random, err := r.write("random.txt", "1 "+name+" A random4/32\n1 "+name+" A random6/128\n")
	if err != nil {
		return err
	}
	mixes := []struct{ what, mix string }{
		{fmt.Sprintf("normal: %d client networks, again and again", regulars), normal},
		{"flood of random subdomains", "random"},
		{"flood of random clients, IPv4 and IPv6", random},
	}
	all := make([]figures, len(mixes))
	for round := range r.rounds {
		r.progress("round %d of %d", round+1, r.rounds)
		for i, m := range mixes {
			a := r.closed(addr, m.mix)
			got, err := r.measure(ctx, p.process, &a)
			if err != nil {
				return err
			}
			f := &all[i]
			f.perSecond, f.cpu, f.user = append(f.perSecond, got.PerSecond), append(f.cpu, got.cpu()), append(f.user, got.user)
			f.lost += got.Lost
		}
	}
	t := new(table)
	t.add("load", "answers/s", "CPU/answer", "of it user", "CPU to normal", "lost")
	for i, m := range mixes {
		f := &all[i]
		t.add(m.what, thousands(median(f.perSecond)), us(median(f.cpu)), us(median(f.user)),
			fmt.Sprintf("%.2f", median(ratios(f.cpu, all[0].cpu))), strconv.FormatUint(f.lost, 10))
	}
	t.print(r.out)
	return r.soak(ctx, p, random, soak)
}

// regularClients is a mix of clients that come again.
func regularClients() string {
	rng := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same clients in every run
	var b strings.Builder
	for range regulars {
		fmt.Fprintf(&b, "1 %s A %d.%d.%d.0/24\n", name, 20+rng.IntN(64), rng.IntN(256), rng.IntN(256))
	}
	return b.String()
}

// soak floods with random clients and shows the memory over time.
func (r *rig) soak(ctx context.Context, p *portolan, mix string, long time.Duration) error {
	if long <= 0 {
		return nil
	}
	const looks = 10
	t := new(table)
	t.add("after so long of random clients", "answers so far", "RSS", "PSS")
	answers := uint64(0)
	for i := range looks + 1 {
		m, err := p.memory()
		if err != nil {
			return err
		}
		t.add((long * time.Duration(i) / looks).String(), fmt.Sprintf("%.1f M", float64(answers)/1e6), mebibytes(m.rss), mebibytes(m.pss))
		if i == looks {
			break
		}
		a := r.closed(p.addr, mix)
		a.duration = long / looks
		report, err := r.ask(ctx, &a)
		if err != nil {
			return err
		}
		answers += report.Answered
	}
	t.print(r.out)
	return nil
}
