package cli

import (
	"strings"

	"github.com/spf13/cobra"
)

func (e *env) drains() *cobra.Command {
	var c change
	var wait waiting
	var out format
	cmd := &cobra.Command{
		Use:   "drains [REGION]",
		Short: "Show how far drains have come, or wait until they are safe",
		Long: `Show the drained replicas as drain does, without changing anything. REGION and
the registry of -r are names or globs, and all without.`,
		Args: args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, a []string) error {
			sel, err := c.replicas(strings.Join(a, ""))
			if err != nil {
				return err
			}
			if err := wait.check(); err != nil {
				return usageError{err}
			}
			drains, err := c.client().Drains(cmd.Context(), sel)
			if err != nil {
				return err
			}
			if wait.on {
				if drains, err = e.waitSafe(cmd.Context(), c.client(), sel, drains, &wait); err != nil {
					return err
				}
			}
			return e.printDrains(&out, drains)
		},
		ValidArgsFunction: firstArg(e.regionNames),
	}
	c.target.flags(e, cmd)
	cmd.Flags().StringVarP(&c.registry, "registry", "r", "", "only this registry, or those that match a glob")
	completeFlag(cmd, "registry", e.registryNames)
	wait.flags(cmd)
	outputFlag(cmd, &out)
	return cmd
}
