package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"portolan.dev/cmd/internal/app"
	"portolan.dev/resolver/compile"
)

// checked is what check says of a sound configuration.
type checked struct {
	Zones      int      `json:"zones"`
	Registries int      `json:"registries"`
	Replicas   int      `json:"replicas"`
	Regions    int      `json:"regions"`
	Names      int      `json:"names"`
	Probes     int      `json:"probes"`
	Targets    int      `json:"probe_targets"`
	GeoSource  string   `json:"geo_source"`
	Warnings   []string `json:"warnings"`
}

func (e *env) check() *cobra.Command {
	var path string
	var out format
	cmd := &cobra.Command{
		Use:   "check -c FILE",
		Short: "Check a configuration and say what it defines",
		Long: `Load the configuration and everything it names, as serve would, without opening
a socket. Every fault is printed with its place and what to do; exit code 1 if
there is any.`,
		Args: args(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			if err := needConfig(path); err != nil {
				return err
			}
			w, err := app.Source{Path: path, Now: e.now}.Build(nil, compile.NewSlots())
			if err != nil {
				return e.report(err)
			}
			s := w.Compiled.Snapshot
			c := checked{
				Zones: len(s.Names.Zones()), Registries: len(s.Registries), Replicas: len(s.Replicas), Regions: len(s.Regions),
				Names: s.Names.Names(), Probes: len(w.Config.Probes), Targets: len(w.Compiled.Endpoints),
				GeoSource: w.Table.Source(), Warnings: []string{},
			}
			for _, warning := range w.Config.Warnings {
				c.Warnings = append(c.Warnings, warning.Error())
			}
			c.Warnings = append(c.Warnings, app.HoldWarnings(w)...)
			c.Warnings = append(c.Warnings, app.DescriptorWarnings(w)...)
			return out.print(e.out, c, func(w io.Writer) { c.table(w) })
		},
	}
	configFlag(cmd, &path)
	outputFlag(cmd, &out)
	return cmd
}

func (c *checked) table(w io.Writer) {
	for _, warning := range c.Warnings {
		fmt.Fprintf(w, "warning: %s\n", warning)
	}
	fmt.Fprintf(w, "zones\t%d\nregistries\t%d\nreplicas\t%d\nregions\t%d\nnames\t%d\nprobes\t%d\nprobe targets\t%d\nlocation data\t%s\n",
		c.Zones, c.Registries, c.Replicas, c.Regions, c.Names, c.Probes, c.Targets, c.GeoSource)
	fmt.Fprintln(w, "the configuration is sound")
}

// report prints every fault of a failed load on a line of its own.
func (e *env) report(err error) error {
	for _, line := range app.Lines(err) {
		fmt.Fprintln(e.err, line)
	}
	return errReported
}
