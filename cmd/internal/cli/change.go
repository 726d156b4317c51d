package cli

import (
	"github.com/spf13/cobra"

	"portolan.dev/cmd/internal/admin"
)

// change is what all verbs that change something take.
type change struct {
	target

	registry   string
	by, reason string
}

// flags adds them. The registry is a glob, and all if it is not given.
func (c *change) flags(e *env, cmd *cobra.Command) {
	c.target.flags(e, cmd)
	cmd.Flags().StringVarP(&c.registry, "registry", "r", "", "only this registry, or those that match a glob")
	completeFlag(cmd, "registry", e.registryNames)
	c.whyFlags(e, cmd)
}

// whyFlags adds who asks, and why.
func (c *change) whyFlags(e *env, cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.reason, "reason", "", "why, for whoever reads the events")
	// The server knows who opened the socket, but not who that was before sudo.
	by := e.getenv("SUDO_USER")
	if by != "" {
		by += " (sudo)"
	}
	cmd.Flags().StringVar(&c.by, "by", by, "who asks; the user at the socket if not given")
}

// replicas are those that the verb is about.
func (c *change) replicas(region string) (admin.Selector, error) {
	s := admin.Selector{Registry: c.registry, Region: region}
	if err := s.Check(); err != nil {
		return s, usageError{err}
	}
	return s, nil
}
