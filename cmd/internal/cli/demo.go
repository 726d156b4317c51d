package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"portolan.dev/cmd/internal/app"
	"portolan.dev/cmd/internal/demo"
)

func (e *env) demo() *cobra.Command {
	var listen, control string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run the Contoso example: four regions on loopback, nothing to install",
		Long: `Serve an example zone on loopback with four stand-in registries in the process,
and print what to try. Needs no configuration, no root and no network.`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			d, err := demo.Start(listen, control, app.Options{Source: app.Source{Now: e.now}, Log: e.logger(false, false)})
			if err != nil {
				return e.report(err)
			}
			defer func() { err = errors.Join(err, d.Stop()) }()
			if err := d.Guide(e.out); err != nil {
				return err
			}
			return d.App().Run(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:8053", "address to answer at")
	cmd.PersistentFlags().StringVar(&control, "control", demo.ControlAddr, "address where the demo listens for break and mend")
	for _, verb := range []struct{ name, short string }{
		{"break", "Make a replica of the running demo unhealthy"},
		{"mend", "Make a replica of the running demo healthy again"},
	} {
		cmd.AddCommand(&cobra.Command{
			Use:   verb.name + " REGION",
			Short: verb.short,
			Args:  args(cobra.ExactArgs(1)),
			RunE: func(cmd *cobra.Command, a []string) error {
				said, err := demo.Tell(cmd.Context(), control, verb.name, a[0])
				if err == nil {
					fmt.Fprintln(e.out, said)
				}
				return err
			},
		})
	}
	return cmd
}
