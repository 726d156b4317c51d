package cli

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"portolan.dev/cmd/internal/admin"
)

func (e *env) showEndpoints() *cobra.Command {
	var c change
	var out format
	cmd := &cobra.Command{
		Use:   "show-endpoints -r REGISTRY",
		Short: "Show the login server, regional and data endpoints of a registry",
		Args:  args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if c.registry == "" {
				return usageError{errors.New("no registry: name it with -r REGISTRY")}
			}
			found, err := c.client().Endpoints(cmd.Context(), c.registry)
			if err != nil {
				return err
			}
			return out.print(e.out, found, func(w io.Writer) { endpointsTable(w, &found) })
		},
	}
	e.replicationFlags(cmd, &c, nil)
	outputFlag(cmd, &out)
	return cmd
}

func endpointsTable(w io.Writer, found *admin.Endpoints) {
	fmt.Fprintf(w, "KIND\tREGION\tENDPOINT\nlogin server\t-\t%s\n", found.LoginServer)
	for _, kind := range []struct {
		name string
		of   []admin.Endpoint
	}{{"regional", found.RegionalEndpoints}, {"data", found.DataEndpoints}} {
		for _, x := range kind.of {
			fmt.Fprintf(w, "%s\t%s\t%s\n", kind.name, x.Region, x.Endpoint)
		}
		if len(kind.of) == 0 {
			fmt.Fprintf(w, "%s\t-\tdisabled\n", kind.name)
		}
	}
}
