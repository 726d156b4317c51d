package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"portolan.dev/cmd/internal/admin"
	"portolan.dev/config/ledger"
)

// followLimit is how many earlier events --follow begins with.
const followLimit = 10

func (e *env) events() *cobra.Command {
	var c change
	var q admin.EventQuery
	var since string
	var follow bool
	var out format
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show what has changed, when, by whom and why",
		Long: `Show the ledger: every change of health, drain, routing, configuration and
location data, oldest first. With --follow, the newest ones and then each as it
comes; -o json then prints one event a line.`,
		Example: "  portolan events -r myregistry --since 24h\n  portolan events --kind drain --follow",
		Args:    args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if q.Selector, err = c.replicas(q.Region); err != nil {
				return err
			}
			if q.Since, err = parseSince(since, e.now()); err != nil {
				return usageError{err}
			}
			if q.Limit < 0 {
				return usageError{fmt.Errorf("--limit %d: give 1 or more", q.Limit)}
			}
			if follow {
				return e.followEvents(cmd.Context(), c.client(), q, out)
			}
			events, err := c.client().Events(cmd.Context(), q)
			if err != nil {
				return err
			}
			return out.print(e.out, events, func(w io.Writer) { eventTable(w, events) })
		},
	}
	c.target.flags(e, cmd)
	outputFlag(cmd, &out)
	cmd.Flags().StringVarP(&c.registry, "registry", "r", "", "only of this registry, or of those that match a glob")
	cmd.Flags().StringVar(&q.Region, "region", "", "only of this region, or of those that match a glob")
	cmd.Flags().StringVar(&q.Kind, "kind", "", "only of this kind, such as down, up, drain, routing")
	cmd.Flags().StringVar(&since, "since", "", "only those decided since: a span such as 2h, a date, or a time as RFC 3339 writes it")
	cmd.Flags().IntVar(&q.Limit, "limit", 0, "only the newest so many (1000; with --follow 10)")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with each event that comes")
	completeFlag(cmd, "registry", e.registryNames)
	completeFlag(cmd, "region", e.regionNames)
	completeFlag(cmd, "kind", kindNames)
	return cmd
}

func kindNames(*cobra.Command) []cobra.Completion {
	return []cobra.Completion{
		string(ledger.Down), string(ledger.Up), string(ledger.Drain), string(ledger.Undrain), string(ledger.Routing),
		string(ledger.Config), string(ledger.GeoData), string(ledger.Failback), string(ledger.Effective), string(ledger.Passing), string(ledger.Start),
	}
}

// parseSince reads a span before now, or a moment; nil for "".
func parseSince(s string, now time.Time) (*time.Time, error) {
	if s == "" {
		return nil, nil //nolint:nilnil // nil is a value here: since ever
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		t := now.Add(-d)
		return &t, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return &t, nil
		}
	}
	return nil, fmt.Errorf("--since %q is no time: write it like 2h, 2026-01-02 or 2026-01-02T15:04:05Z", s)
}

// followEvents prints events until ctx or the server ends. Columns cannot know what
// comes, so they have fixed widths.
func (e *env) followEvents(ctx context.Context, c *admin.Client, q admin.EventQuery, out format) error {
	if q.Limit == 0 && q.Since == nil {
		q.Limit = followLimit
	}
	lines := json.NewEncoder(e.out)
	err := c.Follow(ctx, q, func(ev admin.Event) error {
		if out == asJSON {
			return lines.Encode(ev)
		}
		_, err := fmt.Fprintf(e.out, "%6d  %s  %-8s  %-32s  %s\n", ev.Seq, stamp(ev.DecidedAt), ev.Kind, eventReplica(&ev), eventText(&ev))
		return err
	})
	if ctx.Err() != nil {
		return nil //nolint:nilerr // whoever followed has seen enough
	}
	return err
}

func eventTable(w io.Writer, events []admin.Event) {
	if len(events) == 0 {
		fmt.Fprintln(w, "no event matches")
		return
	}
	fmt.Fprintln(w, "SEQ\tDECIDED\tKIND\tREPLICA\tWHAT")
	for i := range events {
		ev := &events[i]
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\n", ev.Seq, stamp(ev.DecidedAt), ev.Kind, eventReplica(ev), eventText(ev))
	}
}

func eventReplica(ev *admin.Event) string {
	if ev.Registry == "" && ev.Region == "" {
		return "-"
	}
	name := ev.Registry + "/" + ev.Region
	if ev.SharedBy > 1 {
		name += fmt.Sprintf(" (+%d)", ev.SharedBy-1)
	}
	return name
}

// eventText is all else that an event says, in one line.
func eventText(ev *admin.Event) string {
	var parts []string
	add := func(format string, a ...any) { parts = append(parts, fmt.Sprintf(format, a...)) }
	if ev.Kind == string(ledger.Routing) {
		add("global endpoint routing %s", decided(ev.Routing))
	}
	if ev.Now {
		add("now")
	}
	if !ev.EffectiveAt.IsZero() && !ev.EffectiveAt.Equal(ev.DecidedAt) {
		add("effective %s", clock(ev.EffectiveAt, ev.DecidedAt))
	}
	if ev.Deadline != nil {
		add("deadline %s", clock(*ev.Deadline, ev.DecidedAt))
	}
	if ev.Until != nil {
		add("ends %s", clock(*ev.Until, ev.DecidedAt))
	}
	if ev.Detail != "" {
		add("%s", ev.Detail)
	}
	if ev.By != "" {
		add("by %s", ev.By)
	}
	text := strings.Join(parts, ", ")
	if ev.Reason != "" {
		text = strings.TrimPrefix(text+": "+ev.Reason, ": ")
	}
	return orDash(text)
}
