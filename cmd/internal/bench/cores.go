//go:build linux

package main

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"portolan.dev/cmd/internal/load"
)

// spread is how many sockets a load has where a server has several workers: enough
// for the kernel to spread them evenly.
const spread = 16

// cores compares the CPU an answer costs in one process with two workers with that
// of two processes with a worker each. Both arrangements fill both CPUs with the
// same servers and loads, so that what differs is what the workers share.
func (r *rig) cores(ctx context.Context) error {
	l, probePort, err := listen()
	if err != nil {
		return err
	}
	defer l.Close()
	cpus := []int{r.serverCPU, r.loadCPU}
	var apart [2]*portolan
	for i, cpu := range cpus {
		addr := r.port()
		if apart[i], err = r.serve(ctx, []int{cpu}, addr, fmt.Sprintf("apart%d", i), r.one(addr, 1, probePort)); err != nil {
			return err
		}
	}
	addr := r.port()
	together, err := r.serve(ctx, cpus, addr, "together", r.one(addr, len(cpus), probePort))
	if err != nil {
		return err
	}
	var single, two, shared figures
	for round := range r.rounds {
		r.progress("round %d of %d", round+1, r.rounds)
		a := r.closed(apart[0].addr, "global4")
		a.sockets = spread
		m, err := r.measure(ctx, apart[0].process, &a)
		if err != nil {
			return err
		}
		single.perSecond, single.cpu = append(single.perSecond, m.PerSecond), append(single.cpu, m.cpu())
		if err := r.both(ctx, &two, []*process{apart[0].process, apart[1].process}, apart[0].addr, apart[1].addr); err != nil {
			return err
		}
		if err := r.both(ctx, &shared, []*process{together.process}, addr, addr); err != nil {
			return err
		}
	}
	t := new(table)
	t.add("arrangement", "answers/s", "CPU/answer", "to two processes")
	t.add("one worker, the load on the other CPU", thousands(median(single.perSecond)), us(median(single.cpu)), "")
	t.add("two processes, a worker each, the load on the same CPUs", thousands(median(two.perSecond)), us(median(two.cpu)), "1.00")
	t.add("one process, two workers, the load on the same CPUs", thousands(median(shared.perSecond)), us(median(shared.cpu)),
		fmt.Sprintf("%.3f", median(ratios(shared.cpu, two.cpu))))
	t.print(r.out)
	r.printf("%d rounds in turn, %s a measurement, medians. The ratio is what workers cost each other.\n", r.rounds, r.duration)
	return nil
}

// both drives two addresses at once, from the CPU that is not the first worker's
// and from the other, and adds what the processes used for an answer.
func (r *rig) both(ctx context.Context, f *figures, servers []*process, addrs ...netip.AddrPort) error {
	before, err := sum(servers)
	if err != nil {
		return err
	}
	reports, errs := make([]*load.Report, len(addrs)), make([]error, len(addrs))
	var wg sync.WaitGroup
	for i, addr := range addrs {
		a := r.closed(addr, "global4")
		a.sockets = spread
		if i > 0 {
			a.cpus = []int{r.serverCPU}
		}
		wg.Go(func() { reports[i], errs[i] = r.ask(ctx, &a) })
	}
	wg.Wait()
	answered, perSecond := 0.0, 0.0
	for i, report := range reports {
		if errs[i] != nil {
			return errs[i]
		}
		answered += float64(report.Answered)
		perSecond += report.PerSecond
	}
	after, err := sum(servers)
	if err != nil {
		return err
	}
	f.perSecond = append(f.perSecond, perSecond)
	f.cpu = append(f.cpu, float64((after-before).Nanoseconds())/1000/answered)
	return nil
}

// sum is the CPU time that the processes have used.
func sum(processes []*process) (total time.Duration, err error) {
	for _, p := range processes {
		u, err := p.usage()
		if err != nil {
			return 0, err
		}
		total += u.total()
	}
	return total, nil
}
