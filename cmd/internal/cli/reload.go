package cli

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"portolan.dev/cmd/internal/admin"
)

func (e *env) reload() *cobra.Command {
	var server target
	var r admin.ReloadRequest
	var out format
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Load the configuration and the location data again",
		Long: `Have the running server load its configuration and location data again, and say
what changed, which share of the located addresses has another nearest replica,
and which share of the recent queries. If anything is wrong nothing changes, every
fault is printed, and the exit code is 1. Drains and routing switches stay.

Clients in the middle of a push would break off if their replica lost its addresses
or was removed: unless forced, that is refused (exit code 3) as long as the replica
has active clients and is not drained. Drain it, wait until that is safe, change the
configuration, reload, and undrain it.

With --dry-run it only says what would change, and whether it would be refused.`,
		Example: "  portolan reload --dry-run && portolan reload",
		Args:    args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			report, err := server.client().Reload(cmd.Context(), r)
			if st, ok := errors.AsType[*admin.StatusError](err); ok && st.Code == http.StatusUnprocessableEntity {
				fmt.Fprintln(e.err, st.Text) // a fault a line
				return errors.New("the configuration does not load: nothing has changed")
			}
			if err != nil {
				return err
			}
			return out.print(e.out, report, func(w io.Writer) { reloadTable(w, &report, e.now()) })
		},
	}
	server.flags(e, cmd)
	outputFlag(cmd, &out)
	cmd.Flags().BoolVar(&r.DryRun, "dry-run", false, "only say what would change")
	cmd.Flags().BoolVar(&r.Force, "force", false, "even if active clients lose the addresses of their replica: pushes break")
	return cmd
}

func reloadTable(w io.Writer, r *admin.ReloadReport, now time.Time) {
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
	shown := r.Readdressed[:min(len(r.Readdressed), shownRegistries)]
	for i := range shown {
		fmt.Fprintf(w, "  %s\n", readdressed(&shown[i], now))
	}
	if more := len(r.Readdressed) - len(shown) + r.ReaddressedLeftOff; more > 0 {
		fmt.Fprintf(w, "  and %d more that lose addresses\n", more)
	}
	if len(r.Changes) == 0 {
		fmt.Fprintln(w, "nothing differs")
	}
	fmt.Fprintf(w, "%s: %s of located addresses, %s of recent queries\n", verb, percent(r.MovedCells), percent(r.MovedQueries))
	if len(r.Restart) > 0 {
		fmt.Fprintf(w, "takes a restart: %s\n", strings.Join(r.Restart, ", "))
	}
	if r.Refused != "" {
		fmt.Fprintf(w, "would be %s\n", r.Refused)
	}
	fmt.Fprintf(w, "generation %s %d, in %d ms\n", gets, r.Generation, r.Millis)
}

// shownRegistries is how many registries are shown one by one; -o json has more.
const shownRegistries = 20

// readdressed says in one line who uses a replica that loses addresses, and for how long
// caches have them.
func readdressed(r *admin.Readdressed, now time.Time) string {
	what := "loses addresses"
	if r.Removed {
		what = "is removed"
	}
	who := fmt.Sprintf("%d active clients", r.Clients)
	if r.LastAnswer != nil {
		who = "last given to a client at " + clock(*r.LastAnswer, now)
	}
	return fmt.Sprintf("%s %s %s: %s; caches may have the old ones until %s", r.Registry, r.Region, what, who, clock(r.OldAddressesUntil, now))
}

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
