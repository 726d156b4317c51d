package app

import (
	"context"
	"time"

	"portolan.dev/config/ledger"
	"portolan.dev/resolver/activity"
	"portolan.dev/resolver/decide"
)

// clockWasSet is told of every step of the wall clock.
func (a *App) clockWasSet(ahead time.Duration) {
	a.wall.Set(ahead)
	select {
	case a.resave <- struct{}{}:
	default:
	}
}

// goOn makes the steady clock go on from what an earlier process has left: what was
// saved then neither lies in the future, where it would be dropped or hold for too long,
// nor has an order of events changed because the clock was set.
func (a *App) goOn(ctx context.Context, saved *savedHolds, left *activity.Left) {
	var last clockMark
	if saved != nil {
		last = saved.Clock
	}
	if state, err := a.record.store.State(ctx); err == nil { // else nothing comes of the start
		_ = a.record.back(ctx, state.Seq, func(e *ledger.Event) bool { // what was saved is left
			if at := e.Steady().DecidedAt; at.After(last.Steady) {
				last = clockMark{Steady: at, Ahead: e.Ahead}
			}
			return false
		})
	}
	if left != nil {
		// A process that was killed has written there to the end, and saved shortly
		// before. A single entry that is wrong must not lead far away.
		newest, latest := last.Steady.Unix(), last.Steady.Unix()+decide.Keep
		left.Holds.Each(func(_ decide.Key, e decide.Entry) {
			if seen := int64(e.LastSeen); seen > newest && seen <= latest {
				newest = seen
			}
		})
		if newest > last.Steady.Unix() {
			last.Steady = time.Unix(newest, 0)
		}
	}
	a.clock.goOn(last)
}
