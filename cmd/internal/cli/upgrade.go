package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"portolan.dev/cmd/internal/admin"
)

func (e *env) upgrade() *cobra.Command {
	var server target
	var out format
	var request admin.UpgradeRequest
	cmd := &cobra.Command{
		Use:   "upgrade",
		Short: "Give the place of the running server to the program on disk",
		Long: `Have the running server start the program that is now on disk, with the arguments it
was started with itself, and give it its place: sockets, TCP connections, drains, holds,
state of probes and counters. The new process loads, restores and asks itself before
the old one stops answering, so that no query is lost. If it fails at any of that, the
old one goes on, the exit code is 1, and the reason is printed and logged.

The new process reads the configuration anew, and as a reload it is refused (exit code
3), unless forced, if active clients would lose the addresses of their replica. SIGUSR2
does the same.`,
		Example: "  apt-get install portolan && portolan upgrade",
		Args:    args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := server.client().Upgrade(cmd.Context(), request)
			if err != nil {
				return err
			}
			return out.print(e.out, r, func(w io.Writer) { upgradeTable(w, &r) })
		},
	}
	server.flags(e, cmd)
	outputFlag(cmd, &out)
	cmd.Flags().BoolVar(&request.Force, "force", false, "even if active clients lose the addresses of their replica: pushes break")
	return cmd
}

func upgradeTable(w io.Writer, r *admin.UpgradeReport) {
	fmt.Fprintf(w, "process %d serves now: version %s, before %s\n", r.PID, r.To, r.From)
	fmt.Fprintf(w, "it took %v; nothing could be decided for %v of it\n",
		time.Duration(r.Millis)*time.Millisecond, time.Duration(r.Frozen)*time.Millisecond)
}
