//go:build linux

package main

import (
	"context"
	"fmt"
	"strings"
)

// holds compares a server that holds clients with one that does not, for clients that
// come again and for clients that never do.
func (r *rig) holds(ctx context.Context) error {
	l, probePort, err := listen()
	if err != nil {
		return err
	}
	defer l.Close()
	var servers [2]*portolan // without and with
	for i, sticky := range []string{"    sticky: {hold: 0s}\n", ""} {
		addr := r.port()
		config := strings.Replace(r.one(addr, 1, probePort), "    replicas:\n", sticky+"    replicas:\n", 1)
		if servers[i], err = r.serve(ctx, []int{r.serverCPU}, addr, fmt.Sprintf("holds%d", i), config); err != nil {
			return err
		}
	}
	again, err := r.write("again.txt", regularClients())
	if err != nil {
		return err
	}
	mixes := []struct{ what, mix string }{
		{fmt.Sprintf("%d client networks that come again", regulars), again},
		{"another client network for each query", "global4"},
	}
	t := new(table)
	t.add("clients", "CPU/answer without holds", "with", "ratio")
	for _, m := range mixes {
		var each [2]figures
		for round := range r.rounds {
			r.progress("%s: round %d of %d", m.what, round+1, r.rounds)
			for i := range servers {
				i ^= round & 1 // whoever comes first in one round comes second in the next
				a := r.closed(servers[i].addr, m.mix)
				got, err := r.measure(ctx, servers[i].process, &a)
				if err != nil {
					return err
				}
				each[i].cpu = append(each[i].cpu, got.cpu())
			}
		}
		t.add(m.what, us(median(each[0].cpu)), us(median(each[1].cpu)), fmt.Sprintf("%.3f", median(ratios(each[1].cpu, each[0].cpu))))
	}
	t.print(r.out)
	r.printf("%d rounds in turn, %s a measurement, medians; the ratio is the median of those within the rounds.\n", r.rounds, r.duration)
	return nil
}
