package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"portolan.dev/cmd/internal/admin"
)

func (e *env) status() *cobra.Command {
	var socket string
	var out format
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the running server, its registries and their replicas",
		Args:  args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			st, err := admin.NewClient(socket).Status(cmd.Context())
			if err != nil {
				return err
			}
			return out.print(e.out, st, func(w io.Writer) { statusTable(w, &st) })
		},
	}
	e.socketFlag(cmd, &socket)
	outputFlag(cmd, &out)
	return cmd
}

func statusTable(w io.Writer, st *admin.Status) {
	fmt.Fprintf(w, "node %s, version %s, generation %d, started %s\nlocation data: %s, built %s\n\n", st.Node, st.Version,
		st.Generation, st.Started.UTC().Format(time.RFC3339), st.GeoSource, st.GeoBuilt.UTC().Format(time.DateOnly))
	fmt.Fprintln(w, "REGISTRY\tREGION\tGLOBAL ROUTING\tHEALTH\tSINCE\tLAST PROBE")
	for _, r := range st.Registries {
		for _, replica := range r.Replicas {
			since := "-"
			if replica.Since != nil {
				since = replica.Since.UTC().Format(time.RFC3339)
			}
			state := replica.State
			if replica.EligibleAt != nil {
				state += " until " + replica.EligibleAt.UTC().Format(time.TimeOnly)
			}
			fmt.Fprintf(w, "%s\t%s\t%t\t%s\t%s\t%s\n", r.Registry, replica.Region, replica.Routed, state, since, replica.Last)
		}
	}
}
