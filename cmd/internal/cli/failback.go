package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

func (e *env) failback() *cobra.Command {
	var c change
	var out format
	cmd := &cobra.Command{
		Use:   "failback REGION",
		Short: "Let replicas back that work and wait",
		Long: `Let the replicas of a region be used again that were down and work, in all
registries or those of -r: those that have recovered and wait because the registry has
failback: manual, and at once those whose recovery hold is not over. One that fails
again within an hour has flapped, and waits longer the next time.`,
		Example: "  portolan failback eastus -r myregistry --reason 'data has caught up'",
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, a []string) error {
			sel, err := c.replicas(a[0])
			if err != nil {
				return err
			}
			replicas, err := c.client().Failback(cmd.Context(), sel, c.by, c.reason)
			if err != nil {
				return err
			}
			return out.print(e.out, replicas, func(w io.Writer) {
				fmt.Fprintln(w, "REGISTRY\tREGION\tUP")
				for i := range replicas {
					fmt.Fprintf(w, "%s\t%s\t%t\n", orDash(replicas[i].Registry), replicas[i].Region, replicas[i].Up)
				}
			})
		},
		ValidArgsFunction: firstArg(e.regionNames),
	}
	c.flags(e, cmd)
	outputFlag(cmd, &out)
	return cmd
}
