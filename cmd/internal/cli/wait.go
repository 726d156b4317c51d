package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"portolan.dev/cmd/internal/admin"
)

const (
	// patience is how many times in a row the server may not answer while it is
	// waited for: long enough for a restart.
	patience = 60
	barWidth = 30
)

// waiting is how to wait for drains to be safe.
type waiting struct {
	on       bool
	timeout  time.Duration
	interval time.Duration
}

func (w *waiting) flags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&w.on, "wait", false, "show progress until it is safe to switch the replicas off")
	cmd.Flags().DurationVar(&w.timeout, "timeout", 0, "with --wait, give up after this time (exit code 1); 0 waits on")
	intervalFlag(cmd, &w.interval, time.Second, "--wait")
}

func (w *waiting) check() error {
	if w.timeout < 0 {
		return errors.New("--timeout is a span from now on: give 0 or more")
	}
	return checkInterval(w.interval)
}

// waitSafe waits until all drains of first are safe and returns how they are then.
// The drains go on whatever becomes of the waiting.
func (e *env) waitSafe(ctx context.Context, c *admin.Client, sel admin.Selector, first []admin.DrainStatus, w *waiting) ([]admin.DrainStatus, error) {
	if w.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, w.timeout)
		defer cancel()
	}
	p := progress{e: e, terminal: isTerminal(e.err)}
	defer p.end()
	drains, failures := first, 0
	err := every(ctx, w.interval, func() (bool, error) {
		now, err := c.Drains(ctx, sel)
		if err != nil {
			if failures++; failures < patience && ctx.Err() == nil {
				p.say(err.Error() + "; still trying")
				return false, nil
			}
			return true, err
		}
		failures = 0
		if drains, err = stillDrained(first, now); err != nil {
			return true, err
		}
		p.show(drains)
		return allSafe(drains), nil
	})
	if errors.Is(err, context.DeadlineExceeded) && w.timeout > 0 {
		return nil, fmt.Errorf("not safe after %s, %d client units are held: the drain goes on; wait on with `portolan drains --wait`", w.timeout, held(drains))
	}
	return drains, err
}

// stillDrained picks the drains that are waited for, and fails if one has ended.
func stillDrained(first, now []admin.DrainStatus) ([]admin.DrainStatus, error) {
	found := make(map[admin.Selector]admin.DrainStatus)
	for _, d := range now {
		found[admin.Selector{Registry: d.Registry, Region: d.Region}] = d
	}
	out := make([]admin.DrainStatus, 0, len(first))
	for _, d := range first {
		d, ok := found[admin.Selector{Registry: d.Registry, Region: d.Region}]
		if !ok || !d.Drained {
			return nil, fmt.Errorf("a drain has ended while it was waited for: `portolan events --kind undrain` says who ended it (of %d replicas)", len(first))
		}
		out = append(out, d)
	}
	return out, nil
}

func allSafe(drains []admin.DrainStatus) bool { return countSafe(drains) == len(drains) }

func countSafe(drains []admin.DrainStatus) (n int) {
	for i := range drains {
		if drains[i].Safe {
			n++
		}
	}
	return n
}

func held(drains []admin.DrainStatus) (n int) {
	for i := range drains {
		n += drains[i].Held
	}
	return n
}

// progress shows how far drains have come, on the error stream: one line that
// changes on a terminal, else a line for each change.
type progress struct {
	e        *env
	terminal bool
	last     string
	open     bool // a line on the terminal is not ended yet
}

func (p *progress) show(drains []admin.DrainStatus) {
	now := p.e.now()
	begin, end := span(drains)
	text := fmt.Sprintf("%d held, %d of %d safe, all by %s at the latest", held(drains), countSafe(drains), len(drains), clock(end, now))
	if p.terminal {
		fmt.Fprint(p.e.err, clearLine, bar(begin, end, now, allSafe(drains)), " ", text)
		p.open = true
		return
	}
	p.say(text)
}

// say prints a line unless it was the last one.
func (p *progress) say(text string) {
	if text == p.last {
		return
	}
	p.end()
	fmt.Fprintln(p.e.err, text)
	p.last = text
}

// end ends an open line.
func (p *progress) end() {
	if p.open {
		fmt.Fprintln(p.e.err)
		p.open = false
	}
}

// span is from the first drain's effect to the moment when all are safe, as far as
// that is known: the bound until the holds have ended.
func span(drains []admin.DrainStatus) (begin, end time.Time) {
	for i := range drains {
		d := &drains[i]
		if begin.IsZero() || d.EffectiveAt.Before(begin) {
			begin = d.EffectiveAt
		}
		safe := d.Bound
		if d.SafeAt != nil {
			safe = *d.SafeAt
		}
		if safe.After(end) {
			end = safe
		}
	}
	return begin, end
}

// bar draws how much of the time has passed; it is full only when all is done.
func bar(begin, end, now time.Time, done bool) string {
	part := 0.0
	if whole := end.Sub(begin); whole > 0 {
		part = min(max(float64(now.Sub(begin))/float64(whole), 0), 0.99)
	}
	if done {
		part = 1
	}
	filled := int(part * barWidth)
	return fmt.Sprintf("[%s%s] %3.0f%%", strings.Repeat("#", filled), strings.Repeat("-", barWidth-filled), 100*part)
}
