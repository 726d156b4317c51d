package cli

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"portolan.dev/cmd/internal/admin"
)

// unseen is what no drain can know. 3600 s is how long node caches such as AKS
// LocalDNS serve stale answers by default.
const unseen = "a drain cannot see caches that ignore the TTL or serve stale answers: behind such a cache\n" +
	"(AKS LocalDNS serves stale for up to 3600 s) add 3600 s before the replica is switched off"

func (e *env) drain() *cobra.Command {
	var c change
	var wait waiting
	var out format
	r := admin.DrainRequest{}
	cmd := &cobra.Command{
		Use:   "drain REGION",
		Short: "Take a replica, or a region of all registries, out of the global answers",
		Long: `Take the replicas of a region out of the global answers of new clients. Clients
in the middle of a push keep the replica until their holds end. Regional and data
names, and probes, are not touched. A drain outlives restarts and reloads; to say
it again changes only what is given: --reason, --deadline, --for, --now. --for none and
--deadline none take back what was said before.

REGION is a label or a glob, as is the registry of -r; without -r all registries
are meant. A drain that would leave a registry without an eligible replica is
refused (exit code 3) unless forced; one that makes nothing worse is not.

Printed are when new clients stop (EFFECTIVE), how many client units are held,
the last answer given (a replica that is the last resort of its registry is answered
although it is drained), when no cache that honors the TTL has the replica any more
(SAFE AT; known once nobody is held), and when that is so at the latest (BOUND).`,
		Example: "  portolan drain eastus --reason 'disk change' --wait\n  portolan drain eastus -r myregistry --deadline 10m\n  portolan drain 'west*' --for 2h",
		Args:    args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, a []string) (err error) {
			if r.Selector, err = c.replicas(a[0]); err != nil {
				return err
			}
			if err := checkDrain(&r, &wait); err != nil {
				return usageError{err}
			}
			r.By, r.Reason = c.by, c.reason
			drains, err := c.client().Drain(cmd.Context(), r)
			if err != nil {
				return err
			}
			if wait.on {
				if drains, err = e.waitSafe(cmd.Context(), c.client(), r.Selector, drains, &wait); err != nil {
					return err
				}
			}
			return e.printDrains(&out, drains)
		},
		ValidArgsFunction: firstArg(e.regionNames),
	}
	c.flags(e, cmd)
	wait.flags(cmd)
	outputFlag(cmd, &out)
	cmd.Flags().Var(spanFlag{&r.Deadline}, "deadline", "end the holds after this time at the latest, or none")
	cmd.Flags().Var(spanFlag{&r.For}, "for", "end the drain by itself after this time, or none")
	cmd.Flags().BoolVar(&r.Now, "now", false, "treat the replica as down: clients leave at once, pushes break")
	cmd.Flags().BoolVar(&r.Force, "force", false, "even if no other replica of a registry is eligible")
	return cmd
}

func checkDrain(r *admin.DrainRequest, w *waiting) error {
	if r.Now && r.Deadline > 0 {
		return errors.New("--now and --deadline exclude each other: --now ends the holds at once")
	}
	return w.check()
}

// spanFlag is a span from now on, or none.
type spanFlag struct{ d *admin.Duration }

// String implements [pflag.Value].
func (f spanFlag) String() string {
	if f.d == nil || *f.d == 0 {
		return ""
	}
	return f.d.String()
}

// Set implements [pflag.Value].
func (f spanFlag) Set(s string) error {
	if err := f.d.UnmarshalText([]byte(s)); err != nil || *f.d == 0 {
		return errors.New("write a span from now on, as 10m or 2h, or none")
	}
	return nil
}

// Type implements [pflag.Value].
func (spanFlag) Type() string { return "duration" }

func (e *env) printDrains(out *format, drains []admin.DrainStatus) error {
	return out.print(e.out, drains, func(w io.Writer) { drainTable(w, drains, e.now()) })
}

func drainTable(w io.Writer, drains []admin.DrainStatus, now time.Time) {
	if len(drains) == 0 {
		fmt.Fprintln(w, "nothing is drained")
		return
	}
	fmt.Fprintln(w, "REGISTRY\tREGION\tSTATE\tEFFECTIVE\tHELD\tLAST ANSWER\tSAFE AT\tBOUND\tENDS\tBY\tREASON")
	drained := false
	for i := range drains {
		d := &drains[i]
		drained = drained || d.Drained
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\n", d.Registry, d.Region, drainState(d, now), stamp(d.EffectiveAt),
			d.Held, stampOf(d.LastAnswer), stampOf(d.SafeAt), stamp(d.Bound), stampOf(d.Until), orDash(d.By), orDash(d.Reason))
	}
	if drained {
		fmt.Fprintln(w, "\n"+unseen)
	}
	warnNoneEligible(w, drains)
}

// warnNoneEligible names the registries that have no eligible replica.
func warnNoneEligible(w io.Writer, drains []admin.DrainStatus) {
	seen := make(map[string]bool)
	for i := range drains {
		if d := &drains[i]; d.NoneEligible && !seen[d.Registry] {
			seen[d.Registry] = true
			fmt.Fprintf(w, "warning: registry %s has no eligible replica now: see portolan status -r %[1]s\n", d.Registry)
		}
	}
}

// drainState is the step that a drain has come to.
func drainState(d *admin.DrainStatus, now time.Time) string {
	switch {
	case !d.Drained && d.UndrainAt != nil && now.Before(*d.UndrainAt):
		return "drained until " + stampOf(d.UndrainAt)
	case !d.Drained:
		return "not drained"
	case d.Absent:
		return "not configured"
	case d.LastResort:
		return "last resort" // answered all the same: nothing else works
	case d.Safe:
		return "safe"
	case now.Before(d.EffectiveAt):
		return "decided"
	case d.SafeAt == nil:
		return "draining"
	}
	return "expiring" // nobody is held; caches may still have it
}
