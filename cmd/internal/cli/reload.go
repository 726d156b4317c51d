package cli

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"portolan.dev/cmd/internal/admin"
)

func (e *env) reload() *cobra.Command {
	var server target
	var dry bool
	var out format
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Load the configuration and the location data again",
		Long: `Have the running server load its configuration and location data again, and say
what changed, which share of the located addresses has another nearest replica,
and which share of the recent queries. If anything is wrong nothing changes, every
fault is printed, and the exit code is 1. Drains and routing switches stay.

With --dry-run it only says what would change.`,
		Example: "  portolan reload --dry-run && portolan reload",
		Args:    args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := server.client().Reload(cmd.Context(), dry)
			if st, ok := errors.AsType[*admin.StatusError](err); ok && st.Code == http.StatusUnprocessableEntity {
				fmt.Fprintln(e.err, st.Text) // a fault a line
				return errors.New("the configuration does not load: nothing has changed")
			}
			if err != nil {
				return err
			}
			return out.print(e.out, r, func(w io.Writer) { reloadTable(w, &r) })
		},
	}
	server.flags(e, cmd)
	outputFlag(cmd, &out)
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only say what would change")
	return cmd
}

func reloadTable(w io.Writer, r *admin.ReloadReport) {
	verb, gets := "moved", "is"
	if r.DryRun {
		verb, gets = "would move", "would be"
	}
	for _, line := range r.Changes {
		fmt.Fprintln(w, line)
	}
	for i := range r.Registries[:min(len(r.Registries), shownRegistries)] {
		fmt.Fprintf(w, "  %s\n", registryChange(&r.Registries[i], verb))
	}
	if more := len(r.Registries) + r.RegistriesLeftOff - shownRegistries; more > 0 {
		fmt.Fprintf(w, "  and %d more\n", more)
	}
	if len(r.Changes) == 0 {
		fmt.Fprintln(w, "nothing differs")
	}
	fmt.Fprintf(w, "%s: %s of located addresses, %s of recent queries\n", verb, percent(r.MovedCells), percent(r.MovedQueries))
	if len(r.Restart) > 0 {
		fmt.Fprintf(w, "takes a restart: %s\n", strings.Join(r.Restart, ", "))
	}
	fmt.Fprintf(w, "generation %s %d, in %d ms\n", gets, r.Generation, r.Millis)
}

// shownRegistries is how many registries are shown one by one; -o json has more.
const shownRegistries = 20

// registryChange says in one line how a registry differs.
func registryChange(c *admin.RegistryChange, verb string) string {
	text := c.Registry + " " + c.Change
	var parts []string
	if c.Settings {
		parts = append(parts, "settings")
	}
	for _, p := range []struct {
		what    string
		regions []string
	}{{"added", c.Added}, {"removed", c.Removed}, {"changed", c.Changed}} {
		if len(p.regions) > 0 {
			parts = append(parts, "replicas "+p.what+" "+strings.Join(p.regions, ", "))
		}
	}
	if len(parts) > 0 {
		text += ": " + strings.Join(parts, "; ")
	}
	if c.MovedCells > 0 {
		text += "; " + verb + " " + percent(c.MovedCells) + " of located addresses"
	}
	return text
}
