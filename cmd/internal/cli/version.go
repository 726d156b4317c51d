package cli

import (
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"

	"portolan.dev/cmd/internal/version"
	"portolan.dev/geo/embedded"
)

func (e *env) version() *cobra.Command {
	var out format
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Say what runs, and whose location data is in it",
		Args:  args(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			v := struct {
				Version string `json:"version"`
				Go      string `json:"go"`
				Data    string `json:"location_data"`
			}{version.Version(), runtime.Version(), embedded.Attribution}
			return out.print(e.out, v, func(w io.Writer) {
				fmt.Fprintf(w, "portolan %s (%s)\n%s\n", v.Version, v.Go, v.Data)
			})
		},
	}
	outputFlag(cmd, &out)
	return cmd
}
