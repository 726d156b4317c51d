package cli

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"portolan.dev/cmd/internal/admin"
	"portolan.dev/cmd/internal/app"
	"portolan.dev/config"
)

// completeTimeout bounds how long a shell waits for names.
const completeTimeout = time.Second

// names finds the words that an argument may be; nil for none known.
type names func(cmd *cobra.Command) []cobra.Completion

// firstArg offers names for the first argument and nothing after it.
func firstArg(find names) cobra.CompletionFunc {
	return func(cmd *cobra.Command, a []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(a) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return find(cmd), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeFlag offers names as values of a flag of cmd.
func completeFlag(cmd *cobra.Command, flag string, find names) {
	// It fails for a flag that cmd does not have: a slip that the test of completion
	// finds.
	_ = cmd.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return find(cmd), cobra.ShellCompDirectiveNoFileComp
	})
}

func (e *env) registryNames(cmd *cobra.Command) []cobra.Completion {
	all := e.replicas(cmd)
	out := make([]cobra.Completion, 0, len(all))
	for _, r := range all {
		out = append(out, r.Registry)
	}
	return sorted(out)
}

// regionNames lists the regions of the registry that -r names, or of all.
func (e *env) regionNames(cmd *cobra.Command) []cobra.Completion {
	only := value(cmd, "registry")
	var out []cobra.Completion
	for _, r := range e.replicas(cmd) {
		if only == "" || only == r.Registry {
			out = append(out, r.Region)
		}
	}
	return sorted(out)
}

func sorted(s []cobra.Completion) []cobra.Completion {
	slices.Sort(s)
	return slices.Compact(s)
}

// value is that of a flag, and "" if cmd does not have it.
func value(cmd *cobra.Command, flag string) string {
	if f := cmd.Flag(flag); f != nil {
		return f.Value.String()
	}
	return ""
}

// replicas lists what can be named: from the file of -c, else from the running
// server. Whoever presses the tab key is not told why there is nothing.
func (e *env) replicas(cmd *cobra.Command) []admin.Selector {
	var out []admin.Selector
	if path := value(cmd, "config"); path != "" {
		c, err := app.Source{Path: path, Now: e.now}.LoadConfig()
		if err != nil {
			return nil
		}
		for i := range c.Registries {
			for _, replica := range c.Registries[i].Replicas {
				out = append(out, admin.Selector{Registry: c.Registries[i].Key, Region: config.Label(replica.Region)})
			}
		}
		return out
	}
	if value(cmd, "socket") == "" {
		return nil
	}
	server := target{socket: value(cmd, "socket"), server: value(cmd, "server"), tokenFile: value(cmd, "token-file"), ca: value(cmd, "ca")}
	client, err := server.connect(cmd)
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completeTimeout)
	defer cancel()
	st, err := client.Status(ctx)
	if err != nil {
		return nil
	}
	for _, r := range st.Registries {
		for i := range r.Replicas {
			out = append(out, admin.Selector{Registry: r.Registry, Region: r.Replicas[i].Region})
		}
	}
	return out
}
