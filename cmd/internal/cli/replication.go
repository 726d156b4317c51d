package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"portolan.dev/cmd/internal/admin"
)

func (e *env) replication() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "replication",
		Short: "List the replicas of a registry, and switch their global endpoint routing",
		Args:  cobra.ArbitraryArgs, // unknown verbs are told by groupRun
		RunE:  groupRun,
	}
	cmd.AddCommand(e.replicationList(), e.replicationShow(), e.replicationUpdate())
	return cmd
}

// replicationFlags adds -r, and -n if name is not nil.
func (e *env) replicationFlags(cmd *cobra.Command, c *change, name *string) {
	c.target.flags(e, cmd)
	cmd.Flags().StringVarP(&c.registry, "registry", "r", "", "registry, by its key or its global name")
	completeFlag(cmd, "registry", e.registryNames)
	if name != nil {
		cmd.Flags().StringVarP(name, "name", "n", "", "region of the replica")
		completeFlag(cmd, "name", e.regionNames)
	}
}

func (e *env) replicationList() *cobra.Command {
	var c change
	var out format
	cmd := &cobra.Command{
		Use:   "list -r REGISTRY",
		Short: "List the replicas of a registry",
		Args:  args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := findRegistry(cmd, &c)
			if err != nil {
				return err
			}
			return out.print(e.out, r.Replicas, func(w io.Writer) { replicationTable(w, r.Replicas) })
		},
	}
	e.replicationFlags(cmd, &c, nil)
	outputFlag(cmd, &out)
	return cmd
}

func (e *env) replicationShow() *cobra.Command {
	var c change
	var name string
	var out format
	cmd := &cobra.Command{
		Use:   "show -r REGISTRY -n REGION",
		Short: "Show one replica",
		Args:  args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if name == "" {
				return usageError{errors.New("no replica: name its region with -n REGION")}
			}
			r, err := findRegistry(cmd, &c)
			if err != nil {
				return err
			}
			regions := make([]string, 0, len(r.Replicas))
			for i := range r.Replicas {
				if strings.EqualFold(r.Replicas[i].Region, name) {
					return out.print(e.out, r.Replicas[i], func(w io.Writer) { replicationTable(w, r.Replicas[i:i+1]) })
				}
				regions = append(regions, r.Replicas[i].Region)
			}
			return fmt.Errorf("registry %s has no replica %q: it has %s", r.Registry, name, strings.Join(regions, ", "))
		},
	}
	e.replicationFlags(cmd, &c, &name)
	outputFlag(cmd, &out)
	return cmd
}

// findRegistry asks for the registry that -r names.
func findRegistry(cmd *cobra.Command, c *change) (*admin.RegistryStatus, error) {
	if c.registry == "" {
		return nil, usageError{errors.New("no registry: name it with -r REGISTRY")}
	}
	st, err := c.client().Status(cmd.Context())
	if err != nil {
		return nil, err
	}
	want := strings.TrimSuffix(c.registry, ".")
	for i := range st.Registries {
		r := &st.Registries[i]
		if r.Registry != want && !strings.EqualFold(strings.TrimSuffix(r.Name, "."), want) {
			continue
		}
		for j := range r.Replicas {
			r.Replicas[j].Registry = r.Registry
		}
		return r, nil
	}
	return nil, fmt.Errorf("registry %q is not found: `portolan status` lists them", c.registry)
}

func replicationTable(w io.Writer, replicas []admin.ReplicaStatus) {
	fmt.Fprintln(w, "NAME\tGLOBAL ENDPOINT ROUTING\tSET BY\tSTATUS\tSINCE\tLAST PROBE")
	for i := range replicas {
		r := &replicas[i]
		by := r.RoutingBy
		if by == "" {
			by = "configuration"
		}
		fmt.Fprintf(w, "%s\t%t\t%s\t%s\t%s\t%s\n", r.Region, r.Routed, by, replicaState(r), stampOf(r.Since), orDash(r.Last))
	}
}

// replicaState is online unless something keeps the replica from answering.
func replicaState(r *admin.ReplicaStatus) string {
	switch {
	case r.Drain != nil && r.Drain.Safe:
		return "drained"
	case r.Drain != nil && r.Drain.Drained:
		return "draining"
	case r.Up:
		return "online"
	case r.State == "up" || r.State == "unprobed": // a target host name without addresses, or a failback to come
		return "waiting"
	}
	return r.State
}
