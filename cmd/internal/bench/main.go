//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1) //nolint:forbidigo // this is main
	}
}

// run runs one verb; a signal ends it, and with it what it has started.
func run(args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	r := &rig{out: os.Stdout, log: os.Stderr, now: time.Now} //nolint:forbidigo // here the clock is made
	root := r.root()
	root.SetArgs(args)
	return root.ExecuteContext(ctx)
}

func (r *rig) root() *cobra.Command {
	root := &cobra.Command{
		Use: "bench", Short: "Measure Portolan and its peers", SilenceUsage: true, SilenceErrors: true,
	}
	f := root.PersistentFlags()
	f.StringVar(&r.portolan, "portolan", "bin/portolan", "the binary to measure")
	f.IntVar(&r.serverCPU, "server-cpu", 0, "CPU of the server")
	f.IntVar(&r.loadCPU, "load-cpu", 1, "CPU of the load")
	f.IntVar(&r.rounds, "rounds", 5, "rounds; the median counts")
	f.DurationVar(&r.duration, "duration", 2*time.Second, "of one measurement")
	f.IntVar(&r.inFlight, "in-flight", 128, "unanswered queries in a closed loop: as many as fit into the smallest of the default socket buffers")
	f.StringVar(&r.cache, "cache", ".cache/bench", "where the location database is kept")
	f.DurationVar(&r.limit, "limit", 30*time.Minute, "give up after this time")
	f.StringVar(&r.intoPath, "into", "", "page in which the tables take the place of those of an earlier run")
	f.StringVar(&r.outPath, "out", "", "file to write the tables to, too")
	root.AddCommand(
		r.command("peers", "Compare servers: one core, the same registry, data and load", (*rig).peers),
		r.command("cores", "Compare one worker with two", (*rig).cores),
		r.growth(),
		r.command("holds", "Compare a server that holds clients with one that does not", (*rig).holds),
		r.command("churn", "Reload, swap location data and flip health under load", (*rig).churn),
		r.flip(), r.probes(), r.flood(),
		&cobra.Command{Use: "reflector ADDRESS:PORT", Hidden: true, Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, a []string) error {
			addr, err := netip.ParseAddrPort(a[0])
			if err != nil {
				return err
			}
			return serveReflector(cmd.Context(), addr)
		}},
		&cobra.Command{Use: "handler ADDRESS:PORT", Hidden: true, Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, a []string) error {
			return serveHandler(cmd.Context(), a[0])
		}})
	return root
}

// command makes the verb of one benchmark.
func (r *rig) command(use, short string, run func(*rig, context.Context) error) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) (err error) {
		if err := r.open(); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, r.close()) }()
		write, err := r.into(r.intoPath, use)
		if err != nil {
			return err
		}
		r.machine(use)
		ctx, stop := context.WithTimeout(cmd.Context(), r.limit)
		defer stop()
		if err := run(r, ctx); err != nil {
			return err
		}
		return write()
	}}
}

// progress tells whoever waits what is going on.
func (r *rig) progress(format string, args ...any) {
	fmt.Fprintf(r.log, r.now().Format(time.TimeOnly)+" "+format+"\n", args...)
}

// printf writes to the result.
func (r *rig) printf(format string, args ...any) { fmt.Fprintf(r.out, format, args...) }

// tee makes what is printed go to the file as well.
func (r *rig) tee(path string) (func() error, error) {
	if path == "" {
		return func() error { return nil }, nil
	}
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	r.out = io.MultiWriter(r.out, file)
	return file.Close, nil
}
