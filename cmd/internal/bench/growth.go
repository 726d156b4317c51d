//go:build linux

package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"portolan.dev/geo"
)

// replicasOf is how many replicas a registry has, where there are as many regions.
const replicasOf = 8

func (r *rig) growth() *cobra.Command {
	sizes, regions := []int{1, 10, 100, 1000, 10_000, 100_000}, []int{4, 30, 60}
	cmd := r.command("growth", "Measure from one registry to very many, and from few regions to many", func(r *rig, ctx context.Context) error {
		return r.grow(ctx, sizes, regions)
	})
	cmd.Flags().IntSliceVar(&sizes, "registries", sizes, "how many registries, in 16 regions")
	cmd.Flags().IntSliceVar(&regions, "regions", regions, "how many regions, with 1000 registries")
	return cmd
}

// grow measures each size by itself, as the largest would crowd the others out.
func (r *rig) grow(ctx context.Context, sizes, regions []int) error {
	l, probePort, err := listen()
	if err != nil {
		return err
	}
	defer l.Close()
	t := new(table)
	t.add("registries", "regions", "replicas", "first answer after", "answers/s", "CPU/answer", "of it user", "RSS", "PSS", "lost", "reload", "of one file")
	for _, n := range sizes {
		if err := r.growTo(ctx, t, n, 16, probePort); err != nil {
			return err
		}
	}
	for _, n := range regions {
		if err := r.growTo(ctx, t, 1000, n, probePort); err != nil {
			return err
		}
	}
	t.print(r.out)
	r.printf("Every registry is asked for alike, for random clients; %d rounds of %s, medians. The first answer counts from the start of the process. "+
		"A reload counts from the request to the changed answer of one registry, on two CPUs and without load: of files of %d registries, and of one file.\n",
		r.rounds, r.duration, perFile)
	return nil
}

// growTo adds one row: registries in so many regions.
func (r *rig) growTo(ctx context.Context, t *table, registries, regions, probePort int) error {
	r.progress("%d registries, %d regions", registries, regions)
	dir, addr := fmt.Sprintf("growth-%d-%d", registries, regions), r.port()
	config, err := r.many(dir, addr, registries, regions, probePort, false)
	if err != nil {
		return err
	}
	mix, err := r.write(dir+"/mix.txt", mixOf(registries))
	if err != nil {
		return err
	}
	p, err := r.serve(ctx, []int{r.serverCPU}, addr, dir, config)
	if err != nil {
		return err
	}
	defer p.stop()
	f, err := r.drive(ctx, p, mix)
	if err != nil {
		return err
	}
	p.stop()
	var reload [2]time.Duration
	for i, inOne := range []bool{false, true} {
		if reload[i], err = r.reloads(ctx, registries, regions, probePort, inOne); err != nil {
			return err
		}
	}
	t.add(strconv.Itoa(registries), strconv.Itoa(regions), strconv.Itoa(registries*min(replicasOf, regions)), p.started.Round(time.Millisecond).String(),
		thousands(median(f.perSecond)), us(median(f.cpu)), us(median(f.user)), mebibytes(f.memory.rss), mebibytes(f.memory.pss), strconv.FormatUint(f.lost, 10),
		reload[0].Round(time.Millisecond).String(), reload[1].Round(time.Millisecond).String())
	return nil
}

// drive measures a server with many registries under load.
func (r *rig) drive(ctx context.Context, p *portolan, mix string) (*figures, error) {
	f := new(figures)
	for range r.rounds {
		a := r.closed(p.addr, mix)
		m, err := r.measure(ctx, p.process, &a)
		if err != nil {
			return nil, err
		}
		f.perSecond, f.cpu, f.user = append(f.perSecond, m.PerSecond), append(f.cpu, m.cpu()), append(f.user, m.user)
		f.lost += m.Lost
	}
	var err error
	f.memory, err = p.memory()
	return f, err
}

// registryName is the label of registry i; the first is the one everybody serves.
func registryName(i int) string {
	if i == 0 {
		return "myregistry"
	}
	return fmt.Sprintf("registry%06d", i)
}

// mixOf asks for every registry alike.
func mixOf(registries int) string {
	var b strings.Builder
	for i := range registries {
		fmt.Fprintf(&b, "1 %s.example.io A random4/24\n", registryName(i))
	}
	return b.String()
}

// regionNames returns n well-known regions, spread over the list of one cloud.
func regionNames(n int) []string {
	var names []string
	for _, region := range geo.WellKnownRegions() {
		if strings.HasPrefix(region.Name, "azure/") {
			names = append(names, region.Name)
		}
	}
	for _, region := range geo.WellKnownRegions() { // one cloud may not have as many
		if strings.HasPrefix(region.Name, "aws/") {
			names = append(names, region.Name)
		}
	}
	return slices.Clone(names[:min(n, len(names))])
}

// perFile is how many registries stand in one included file.
const perFile = 10_000

// registriesFile is the file of the registries from one on.
func registriesFile(first int) string { return fmt.Sprintf("registries.d/%06d.yaml", first) }

// many returns a configuration of registries: with all of them inOne file, else one
// that includes files of them, which it writes.
func (r *rig) many(dir string, addr netip.AddrPort, registries, regions, probePort int, inOne bool) (string, error) {
	names := regionNames(regions)
	head := r.head(addr, 1) + fmt.Sprintf("geo: {default_region: %s}\nprobes: {alive: {type: tcp, port: %d}}\n", names[0], probePort)
	if inOne {
		return head + fleet(0, registries, names, probePort), nil
	}
	for first := 0; first < registries; first += perFile {
		if _, err := r.write(dir+"/"+registriesFile(first), fleet(first, min(first+perFile, registries), names, probePort)); err != nil {
			return "", err
		}
	}
	return head + "include: [\"registries.d/*.yaml\"]\n", nil
}

// fleet is some registries as they stand in a file. The replicas of a region share
// one probe target.
func fleet(first, end int, names []string, probePort int) string {
	var b strings.Builder
	b.WriteString("registries:\n")
	for i := first; i < end; i++ {
		fmt.Fprintf(&b, "  %s:\n    replicas:\n", registryName(i))
		for j := range min(replicasOf, len(names)) {
			at := (i + j) % len(names)
			host := 10<<24 + i<<6 + at
			fmt.Fprintf(&b, "      %s: {addresses: [%d.%d.%d.%d], probe: alive, probe_target: \"127.2.0.%d:%d\"}\n", names[at],
				host>>24, host>>16&255, host>>8&255, host&255, at+1, probePort)
		}
	}
	return b.String()
}
