package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"time"

	"github.com/spf13/cobra"

	"portolan.dev/cmd/internal/admin"
)

// minInterval keeps a slip from asking the server without a pause.
const minInterval = 10 * time.Millisecond

// intervalFlag adds --interval.
func intervalFlag(cmd *cobra.Command, interval *time.Duration, def time.Duration, of string) {
	cmd.Flags().DurationVar(interval, "interval", def, "pause of "+of)
}

func checkInterval(d time.Duration) error {
	if d < minInterval {
		return usageError{fmt.Errorf("--interval %s is too short: give %s or more", d, minInterval)}
	}
	return nil
}

func (e *env) status() *cobra.Command {
	var c change
	var region string
	var out format
	var watch bool
	var interval time.Duration
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the running server, its registries and their replicas",
		Long: `Show the running server and each replica: whether it takes part in global
endpoint routing (and who switched that), its health and since when, its drain,
how many client units are held on it, its share of the registry's answers over
the last one and ten minutes, and what its last probe saw.`,
		Example: "  portolan status\n  portolan status -r 'team-*' --watch\n  portolan status -o json",
		Args:    args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			sel, err := c.replicas(region)
			if err != nil {
				return err
			}
			if !watch {
				return e.printStatus(cmd.Context(), &c, sel, &out)
			}
			if err := checkInterval(interval); err != nil {
				return err
			}
			return e.watchStatus(cmd.Context(), interval, func(ctx context.Context) error {
				return e.printStatus(ctx, &c, sel, &out)
			})
		},
	}
	c.target.flags(e, cmd)
	outputFlag(cmd, &out)
	cmd.Flags().StringVarP(&c.registry, "registry", "r", "", "only this registry, or those that match a glob")
	cmd.Flags().StringVar(&region, "region", "", "only this region, or those that match a glob")
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "show it again and again")
	intervalFlag(cmd, &interval, 2*time.Second, "--watch")
	completeFlag(cmd, "registry", e.registryNames)
	completeFlag(cmd, "region", e.regionNames)
	return cmd
}

// watchStatus prints until ctx ends. A server that does not answer for a while,
// because it is started again, is no reason to stop watching.
func (e *env) watchStatus(ctx context.Context, interval time.Duration, show func(context.Context) error) error {
	terminal, first := isTerminal(e.out), true
	err := every(ctx, interval, func() (bool, error) {
		if terminal {
			fmt.Fprint(e.out, clearScreen)
		}
		err := show(ctx)
		if err != nil && first {
			return true, err
		}
		if err != nil {
			fmt.Fprintf(e.err, "portolan: %v\n", err)
		}
		first = false
		return false, nil
	})
	if ctx.Err() != nil {
		return nil //nolint:nilerr // whoever watched has seen enough
	}
	return err
}

func (e *env) printStatus(ctx context.Context, c *change, sel admin.Selector, out *format) error {
	st, err := c.client().Status(ctx)
	if err != nil {
		return err
	}
	if st.Registries = selected(st.Registries, sel); len(st.Registries) == 0 && sel != (admin.Selector{}) {
		return errors.New("no replica matches: see `portolan status` without -r and --region")
	}
	return out.print(e.out, st, func(w io.Writer) { statusTable(w, &st, e.now()) })
}

// selected keeps the registries and replicas that match.
func selected(all []admin.RegistryStatus, sel admin.Selector) []admin.RegistryStatus {
	out := []admin.RegistryStatus{}
	for _, r := range all {
		if !matches(sel.Registry, r.Registry) {
			continue
		}
		var replicas []admin.ReplicaStatus
		for i := range r.Replicas {
			if matches(sel.Region, r.Replicas[i].Region) {
				replicas = append(replicas, r.Replicas[i])
			}
		}
		if len(replicas) > 0 {
			r.Replicas = replicas
			out = append(out, r)
		}
	}
	return out
}

func matches(glob, name string) bool {
	if glob == "" {
		return true
	}
	ok, err := path.Match(glob, name)
	return ok && err == nil
}
