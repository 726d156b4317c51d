package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

func (e *env) undrain() *cobra.Command {
	var c change
	var out format
	cmd := &cobra.Command{
		Use:   "undrain REGION",
		Short: "Put drained replicas back",
		Long: `End the drain of the replicas of a region, in all registries or those of -r. They
are used again after the grace time (state.grace), if they are healthy. To
undrain what is not drained changes nothing.`,
		Example: "  portolan undrain eastus -r myregistry",
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, a []string) error {
			sel, err := c.replicas(a[0])
			if err != nil {
				return err
			}
			drains, err := c.client().Undrain(cmd.Context(), sel, c.by, c.reason)
			if err != nil {
				return err
			}
			return out.print(e.out, drains, func(w io.Writer) {
				fmt.Fprintln(w, "REGISTRY\tREGION\tSTATE\tLAST ANSWER")
				for i := range drains {
					d := &drains[i]
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", d.Registry, d.Region, drainState(d, e.now()), stampOf(d.LastAnswer))
				}
			})
		},
		ValidArgsFunction: firstArg(e.regionNames),
	}
	c.flags(e, cmd)
	outputFlag(cmd, &out)
	return cmd
}
