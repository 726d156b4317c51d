package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"portolan.dev/cmd/internal/app"
	"portolan.dev/health"
	"portolan.dev/resolver/compile"
)

// probed is what one check of one replica saw.
type probed struct {
	Replica string  `json:"replica"`
	Shared  int     `json:"shared_by"` // replicas that this check decides for
	Check   string  `json:"check"`
	Verdict string  `json:"verdict"`
	Millis  float64 `json:"ms"`
	Detail  string  `json:"detail"`

	failed bool
}

// probesAtOnce bounds the probes that run side by side.
const probesAtOnce = 32

func (e *env) probe() *cobra.Command {
	var path string
	var out format
	cmd := &cobra.Command{
		Use:   "probe -c FILE [REPLICA]",
		Short: "Run the probes of a configuration once and show what each saw",
		Long: `Run every probe once, from here. REPLICA is a registry, or registry/region, to
run only its probes. Exit code 1 if any fails, or cannot be run from here.`,
		Example: "  portolan probe -c portolan.yaml\n  portolan probe -c portolan.yaml myregistry/eastus",
		Args:    args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, a []string) error {
			if err := needConfig(path); err != nil {
				return err
			}
			w, err := app.Source{Path: path, Now: e.now}.Build(nil, compile.NewSlots())
			if err != nil {
				return e.report(err)
			}
			results := runProbes(cmd.Context(), w, strings.Join(a, ""), e.now)
			if len(results) == 0 && len(a) > 0 {
				return fmt.Errorf("no probed replica %q: name a registry, or registry/region, that has a probe", a[0])
			}
			if err := out.print(e.out, results, func(w io.Writer) { probeTable(w, results) }); err != nil {
				return err
			}
			for _, r := range results {
				if r.failed {
					return errReported
				}
			}
			return nil
		},
	}
	cmd.ValidArgsFunction = firstArg(e.registryNames)
	configFlag(cmd, &path)
	outputFlag(cmd, &out)
	return cmd
}

// runProbes runs the checks of every endpoint with a replica that matches, side
// by side, and returns the results in the order of the file.
func runProbes(ctx context.Context, w *app.World, only string, now func() time.Time) []probed {
	results := []probed{}
	var checks []health.Check
	for _, e := range w.Compiled.Endpoints {
		members := w.Compiled.Members(e.Key)
		name := matching(w, members, only)
		if name == "" {
			continue
		}
		for _, c := range e.Checks {
			checks = append(checks, c)
			results = append(results, probed{Replica: name, Shared: len(members), Check: c.Name})
		}
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, probesAtOnce)
	for i := range checks {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			begin := now()
			ctx, cancel := context.WithTimeout(ctx, checks[i].Timeout)
			defer cancel()
			r := checks[i].Prober.Probe(ctx)
			took := now().Sub(begin)
			results[i].Verdict, results[i].Detail = r.Verdict.String(), r.Detail
			results[i].failed = r.Verdict == health.Fail || r.Verdict == health.Neutral && r.Fault == health.Local
			results[i].Millis = float64(took.Microseconds()) / 1000
		})
	}
	wg.Wait()
	return results
}

// matching returns the name of the first member that only names; "" for none.
func matching(w *app.World, members []compile.Member, only string) string {
	s := w.Compiled.Snapshot
	for _, m := range members {
		registry, region := s.Registries[m.Registry].Key, s.Regions[m.Region].Label
		if only == "" || only == registry || only == registry+"/"+region {
			return registry + "/" + region
		}
	}
	return ""
}

func probeTable(w io.Writer, results []probed) {
	fmt.Fprintln(w, "REPLICA\tCHECK\tVERDICT\tTIME\tDETAIL")
	for _, r := range results {
		name := r.Replica
		if r.Shared > 1 {
			name += fmt.Sprintf(" (+%d)", r.Shared-1)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%.1f ms\t%s\n", name, r.Check, r.Verdict, r.Millis, r.Detail)
	}
}
