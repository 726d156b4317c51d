package cli

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"portolan.dev/cmd/internal/admin"
	"portolan.dev/cmd/internal/app"
	"portolan.dev/resolver/compile"
)

func (e *env) explain() *cobra.Command {
	var path, client, resolver string
	var server target
	var out format
	cmd := &cobra.Command{
		Use:   "explain REGISTRY --client IP",
		Short: "Say which replica a client gets, and why",
		Long: `Decide for one client as a query would, and print every step: which address
counted, where it is, how the replicas rank, which are out and why, and what this
client was given in the last hour where that changed.

Asks the running server; with -c FILE it works from the file alone, as if every
replica were healthy.`,
		Example: "  portolan explain myregistry --client 203.0.113.7\n  portolan explain myregistry --client 203.0.113.0/24 --resolver 192.0.2.53 -c portolan.yaml",
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, a []string) error {
			if client == "" && resolver == "" {
				return usageError{errors.New("nobody asks: name --client or --resolver")}
			}
			x, err := e.explanation(cmd, a[0], path, &server, client, resolver)
			if err != nil {
				return err
			}
			return out.print(e.out, x, func(w io.Writer) { explainTable(w, &x) })
		},
		ValidArgsFunction: firstArg(e.registryNames),
	}
	configFlag(cmd, &path)
	server.flags(e, cmd)
	outputFlag(cmd, &out)
	cmd.Flags().StringVar(&client, "client", "", "address or prefix of the client, as a client subnet carries it")
	cmd.Flags().StringVar(&resolver, "resolver", "", "address that asks; the client itself if not given")
	return cmd
}

func explainTable(w io.Writer, x *admin.Explanation) {
	for _, line := range x.Lines {
		fmt.Fprintln(w, line)
	}
	for _, g := range x.History {
		move := orDash(g.To)
		if g.From != "" {
			move = g.From + " -> " + move
		}
		fmt.Fprintf(w, "history %s %s: %s\n", stamp(g.At), move, g.Reason)
	}
}

func (e *env) explanation(cmd *cobra.Command, registry, path string, server *target, client, resolver string) (admin.Explanation, error) {
	asker, subnet, err := admin.Clients(client, resolver)
	if err != nil {
		return admin.Explanation{}, usageError{err}
	}
	if path == "" {
		return server.client().Explain(cmd.Context(), registry, client, resolver)
	}
	w, err := app.Source{Path: path, Now: e.now}.Build(nil, compile.NewSlots())
	if err != nil {
		return admin.Explanation{}, e.report(err)
	}
	return app.Explain(w.Compiled.Snapshot, registry, asker, subnet, e.now())
}
