package cli

import (
	"context"
	"io"
	"os"
	"time"
)

const (
	clearScreen = "\x1b[H\x1b[2J\x1b[3J"
	clearLine   = "\r\x1b[K"
)

// every calls f at once and then at each tick, until f has done, fails, or ctx
// ends.
func every(ctx context.Context, interval time.Duration, f func() (done bool, err error)) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		done, err := f()
		if done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// isTerminal reports whether escapes make sense on w.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
