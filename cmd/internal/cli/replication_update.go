package cli

import (
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"portolan.dev/cmd/internal/admin"
)

func (e *env) replicationUpdate() *cobra.Command {
	var c change
	var name, routing string
	var force bool
	var out format
	cmd := &cobra.Command{
		Use:   "update -r REGISTRY -n REGION --global-endpoint-routing true|false|config",
		Short: "Switch global endpoint routing of a replica",
		Long: `Take a replica out of the global answer of its registry, or put it in again. Its
regional and data names are not touched, and clients in the middle of a push keep
what they have. The switch outlives restarts and reloads; "config" goes back to
what the configuration says.`,
		Example: "  portolan replication update -r myregistry -n eastus --global-endpoint-routing false",
		Args:    args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			on, err := routingValue(routing)
			switch {
			case err != nil:
				return usageError{err}
			case c.registry == "" || name == "":
				return usageError{errors.New("no replica: name it with -r REGISTRY -n REGION")}
			}
			registry, err := findRegistry(cmd, &c)
			if err != nil {
				return err
			}
			r, err := c.client().SetRouting(cmd.Context(), admin.RoutingRequest{
				Registry: registry.Registry, Region: name, On: on, Force: force, By: c.by, Reason: c.reason,
			})
			if err != nil {
				return err
			}
			r.Registry = registry.Registry
			return out.print(e.out, r, func(w io.Writer) {
				replicationTable(w, []admin.ReplicaStatus{r})
				when := "it is in force"
				if r.Pending != nil {
					when = "it takes effect at " + stampOf(&r.Pending.EffectiveAt)
				}
				fmt.Fprintf(w, "\nglobal endpoint routing is decided to be %s; %s.\n"+
					"only the global name changes: regional and data names answer as before\n", decided(on), when)
			})
		},
	}
	e.replicationFlags(cmd, &c, &name)
	c.whyFlags(e, cmd)
	outputFlag(cmd, &out)
	cmd.Flags().StringVar(&routing, "global-endpoint-routing", "", "true, false, or config: as the configuration says")
	cmd.Flags().BoolVar(&force, "force", false, "even if no other replica of the registry is eligible")
	completeFlag(cmd, "global-endpoint-routing", func(*cobra.Command) []cobra.Completion {
		return []cobra.Completion{"true", "false", "config"}
	})
	return cmd
}

// routingValue reads --global-endpoint-routing; nil is the configuration.
func routingValue(s string) (*bool, error) {
	var on bool
	switch s {
	case "true":
		on = true
	case "false":
	case "config":
		return nil, nil //nolint:nilnil // nil is a value here: what the configuration says
	case "":
		return nil, errors.New("nothing to update: give --global-endpoint-routing true, false or config")
	default:
		return nil, fmt.Errorf("--global-endpoint-routing %q is not known: give true, false or config", s)
	}
	return &on, nil
}

func decided(on *bool) string {
	if on == nil {
		return "as the configuration says"
	}
	return strconv.FormatBool(*on)
}
