package cli

import (
	"fmt"
	"strconv"
	"time"
)

// stamp writes a moment for people: in UTC, since logs and servers are.
func stamp(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

func stampOf(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return stamp(*t)
}

// clock is stamp without the date where that is today's.
func clock(t, now time.Time) string {
	t, now = t.UTC(), now.UTC()
	if t.Format(time.DateOnly) == now.Format(time.DateOnly) {
		return t.Format(time.TimeOnly)
	}
	return stamp(t)
}

// age is a span in the largest unit that says something.
func age(d time.Duration) string {
	if days := int(d.Hours() / 24); days >= 2 {
		return strconv.Itoa(days) + " days"
	}
	return d.Truncate(time.Second).String()
}

func percent(share float64) string { return fmt.Sprintf("%.1f%%", 100*share) }
