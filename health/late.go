package health

import "time"

// lateWindow is the time over which the worst lateness is looked for.
const lateWindow = time.Minute

// lateness keeps the worst lateness of this window and the one before.
type lateness struct {
	began         time.Time // this window
	this, earlier time.Duration
}

func (l *lateness) add(late time.Duration, now time.Time) {
	l.turn(now)
	l.this = max(l.this, late)
}

// worst returns the worst of the last one to two windows.
func (l *lateness) worst(now time.Time) time.Duration {
	l.turn(now)
	return max(l.this, l.earlier)
}

func (l *lateness) turn(now time.Time) {
	switch age := now.Sub(l.began); {
	case age < lateWindow:
	case age < 2*lateWindow:
		l.began, l.this, l.earlier = now, 0, l.this
	default:
		l.began, l.this, l.earlier = now, 0, 0
	}
}
