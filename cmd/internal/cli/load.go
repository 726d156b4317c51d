package cli

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"portolan.dev/cmd/internal/load"
)

// loading is the flags of the verb load that are not options of the load itself.
type loading struct {
	o      load.Options
	server string
	mix    string
	names  load.Names
}

func (e *env) load() *cobra.Command {
	l := loading{o: load.Defaults()}
	l.o.Now = e.now
	var out format
	cmd := &cobra.Command{
		Use:   "load --server ADDRESS:PORT --name REGISTRY",
		Short: "Put load on a DNS server and measure its answers",
		Long: `Ask a DNS server many queries and report how many answers a second come back, how
late they are, with which response codes, and how many are lost.

Without --rate it is a closed loop: --in-flight queries are kept unanswered, which
shows what the server can do at most. With --rate the queries are sent on a
schedule, and latency counts from when a query was due, so that a stall of the
server shows in every query it delayed.

--mix is one of ` + strings.Join(load.Kinds(), ", ") + `,
or a file with a line for each kind of query, WEIGHT KIND or WEIGHT NAME [TYPE
[SUBNET]]: a NAME that begins with *. gets a random label, a SUBNET is a prefix,
random4/24, random6/56, or - for none.

Targets that are neither loopback nor private addresses are refused unless you say
--i-own-this-server. Exit code 1 if there was not a single answer.`,
		Example: "  portolan load --server 127.0.0.1:53 --name myregistry.example.io --mix global --rate 50000\n" +
			"  portolan load --server 10.0.0.53:53 --mix queries.txt --tcp --duration 1m",
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := l.complete(); err != nil {
				return err
			}
			r, err := load.Run(cmd.Context(), &l.o)
			if _, ok := errors.AsType[*load.NotOwnError](err); ok {
				return usageError{fmt.Errorf("%w: if it is yours, say --i-own-this-server", err)}
			}
			if r == nil {
				return err
			}
			if err := out.print(e.out, r, func(w io.Writer) { loadTable(w, r) }); err != nil {
				return err
			}
			if r.Answered == 0 {
				return errReported
			}
			return err
		},
	}
	l.flags(cmd)
	outputFlag(cmd, &out)
	return cmd
}

func (l *loading) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&l.server, "server", "", "address and port to ask")
	f.StringVar(&l.names.Name, "name", "", "global name of the registry that is asked for")
	f.StringVar(&l.names.Zone, "zone", "", "zone of the registry (default: the name without its first label)")
	f.StringSliceVar(&l.names.Regions, "regions", nil, "regions whose regional names are asked for")
	f.StringVar(&l.mix, "mix", "global", "what is asked: a kind of query, or a file")
	f.BoolVar(&l.o.TCP, "tcp", false, "ask over pipelined TCP connections")
	f.IntVar(&l.o.PerConnection, "queries-per-connection", l.o.PerConnection, "with --tcp, after how many a new connection is made")
	f.IntVar(&l.o.Rate, "rate", 0, "queries a second; 0 is a closed loop")
	f.IntVar(&l.o.InFlight, "in-flight", l.o.InFlight, "unanswered queries at once, at most; at a --rate by default a second's worth of them")
	f.DurationVar(&l.o.Duration, "duration", l.o.Duration, "how long to measure")
	f.DurationVar(&l.o.Warmup, "warmup", l.o.Warmup, "how long to ask before measuring")
	f.DurationVar(&l.o.Timeout, "timeout", l.o.Timeout, "after how long an answer is lost")
	f.IntVar(&l.o.Threads, "threads", l.o.Threads, "threads that send and receive")
	f.IntVar(&l.o.Sockets, "sockets", l.o.Sockets, "sockets of each thread: a server spreads them over its own threads")
	f.IntSliceVar(&l.o.CPUs, "cpus", nil, "CPUs to bind the threads to, in turn")
	f.BoolVar(&l.o.Spin, "spin", false, "never sleep: steadier figures, for a core of its own")
	f.Uint64Var(&l.o.Seed, "seed", l.o.Seed, "the same seed asks the same queries")
	f.BoolVar(&l.o.Own, "i-own-this-server", false, "allow an address that is neither loopback nor private")
	cmd.PreRun = func(*cobra.Command, []string) {
		if l.o.Rate > 0 && !f.Changed("in-flight") {
			// What is due is sent: only a server that is a second behind is spared.
			l.o.InFlight = min(max(l.o.Rate, l.o.Threads*l.o.Sockets), 50_000*l.o.Threads*l.o.Sockets)
		}
	}
}

// complete reads what the flags name.
func (l *loading) complete() error {
	if l.server == "" {
		return usageError{errors.New("no server: name it with --server ADDRESS:PORT")}
	}
	server, err := netip.ParseAddrPort(l.server)
	if err != nil {
		return usageError{fmt.Errorf("server %q: give an address and a port, such as 127.0.0.1:53 or [::1]:53", l.server)}
	}
	l.o.Server = server
	if slices.Contains(load.Kinds(), l.mix) {
		l.o.Mix, err = load.BuiltIn(l.mix, &l.names)
		if err != nil {
			return usageError{err}
		}
		return nil
	}
	file, err := os.Open(l.mix)
	if err != nil {
		return usageError{fmt.Errorf("mix %q: use one of %s, or a file: %w", l.mix, strings.Join(load.Kinds(), ", "), err)}
	}
	defer file.Close()
	l.o.Mix, err = load.ParseMix(file, l.mix, &l.names)
	return err
}

func loadTable(w io.Writer, r *load.Report) {
	mode := fmt.Sprintf("closed loop, %d in flight", r.InFlight)
	if r.Rate > 0 {
		mode = fmt.Sprintf("%d queries/s", r.Rate)
	}
	fmt.Fprintf(w, "server\t%s %s, %s, %.1f s\n", r.Server, r.Transport, mode, r.Seconds)
	fmt.Fprintf(w, "answers\t%.0f/s, %d of %d queries, %.0f octets each\n", r.PerSecond, r.Answered, r.Sent, r.MeanOctets)
	fmt.Fprintf(w, "lost\t%d (%s)\n", r.Lost, lostShare(r.Lost, r.Sent))
	for _, n := range []struct {
		name  string
		count uint64
		means string
	}{
		{"unsent", r.Unsent, "due, but too many were in flight"},
		{"failed", r.Failed, "not taken by the system"},
		{"stray", r.Stray, "messages that answer nothing in flight"},
		{"truncated", r.Truncated, "answers cut short, to be asked again over TCP"},
		{"connections", r.Connections, "made in place of others"},
	} {
		if n.count > 0 {
			fmt.Fprintf(w, "%s\t%d %s\n", n.name, n.count, n.means)
		}
	}
	codes := make([]string, 0, len(r.Rcodes))
	for code, n := range r.Rcodes {
		codes = append(codes, fmt.Sprintf("%s %d", code, n))
	}
	slices.Sort(codes)
	fmt.Fprintf(w, "rcodes\t%s\n", strings.Join(codes, ", "))
	l := &r.Latency
	fmt.Fprintf(w, "latency\tmin %s, mean %s, p50 %s, p90 %s\n", micros(l.Min), micros(l.Mean), micros(l.P50), micros(l.P90))
	fmt.Fprintf(w, "\tp99 %s, p99.9 %s, max %s\n", micros(l.P99), micros(l.P999), micros(l.Max))
	fmt.Fprintf(w, "generator\tbusy %.0f %% of the time\n", 100*r.Busy)
	if r.Error != "" {
		fmt.Fprintf(w, "error\t%s\n", r.Error)
	}
}

// lostShare writes a share with enough digits to tell one in a million from none.
func lostShare(n, of uint64) string {
	if n == 0 || of == 0 {
		return "0 %"
	}
	return fmt.Sprintf("%.4g %%", 100*float64(n)/float64(of))
}

// micros writes microseconds in the unit that reads best.
func micros(us float64) string {
	if us >= 1000 {
		return fmt.Sprintf("%.4g ms", us/1000)
	}
	return fmt.Sprintf("%.3g us", us)
}
