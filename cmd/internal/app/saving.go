package app

import (
	"context"
	"sync/atomic"
	"time"

	"portolan.dev/cmd/internal/admin"
	"portolan.dev/resolver/decide"
)

const (
	// saveEvery is how much of the activity table a crash of the machine may cost. A unit
	// that is lost gets the nearest replica, as if there were no holds.
	saveEvery = 30 * time.Second
	// saveUnshared is how much any crash may cost where the table is not in shared memory: the
	// next process then knows only what was saved, and if its configuration is another one,
	// who is not known moves.
	saveUnshared = time.Second
	// retryEvery is how soon it is known that a ledger can be written again.
	retryEvery = 5 * time.Second
	// savePart is the part of the time that saving may take at most. A table of 4 MB on a
	// disk that syncs in 20 ms is saved every two seconds.
	savePart = 50
)

// saving says how the activity table is saved.
type saving struct {
	// reason is why the table is not in shared memory; "" if it is. It is set before Start.
	reason string
	pace   atomic.Int64 // the time between two saves
	digest uint64       // of the table that was saved last; of the goroutine that saves
	at     time.Time    // when that was
}

// unshared notes why the table is not in shared memory.
func (s *saving) unshared(reason string) {
	s.reason = reason
	s.pace.Store(int64(saveUnshared))
}

// next returns how long to wait for the next save, after one that took so long.
func (s *saving) next(took time.Duration) time.Duration {
	pace := saveEvery
	if s.reason != "" {
		pace = min(max(saveUnshared, savePart*took), saveEvery)
	}
	s.pace.Store(int64(pace))
	return pace
}

// risk says who is not known after a kill; nil if everybody is.
func (s *saving) risk() *admin.UnitsAtRisk {
	if s.reason == "" {
		return nil
	}
	return &admin.UnitsAtRisk{Reason: s.reason, Seconds: time.Duration(s.pace.Load()).Seconds()}
}

// due reports whether the table should be saved: it has changed in what matters, or was
// not saved for long.
func (s *saving) due(holds *decide.Holds, now time.Time) bool {
	if s.reason == "" {
		return true
	}
	digest := tableDigest(holds)
	if digest == s.digest && now.Sub(s.at) < saveEvery {
		return false
	}
	s.digest, s.at = digest, now
	return true
}

// tableDigest changes when a unit comes, goes, is led elsewhere or is held otherwise,
// and when it was seen some time after the last save: how long ago it was, to
// the second, is not worth a write for each second.
func tableDigest(holds *decide.Holds) uint64 {
	const prime = 0x9e3779b97f4a7c15
	digest := uint64(0)
	mix := func(v uint64) { digest = (digest ^ v) * prime }
	holds.Each(func(k decide.Key, e decide.Entry) {
		mix(uint64(k))
		mix(uint64(e.Until)<<32 | uint64(e.LastSeen/uint32(saveEvery/time.Second)))
		mix(uint64(e.Region)<<8 | uint64(e.Renewals))
	})
	return digest
}

// keepSaving saves the table now and then until ctx ends, and drops what is too old to
// matter.
func (a *App) keepSaving(ctx context.Context) {
	timer := time.NewTimer(a.saving.next(0))
	defer timer.Stop()
	again := time.NewTicker(retryEvery)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-again.C:
			a.keepServedSaved(ctx)
			// Nothing else may be written for long: that the ledger can be again would not
			// be known.
			if a.record.err() != nil {
				_ = a.saveHolds(ctx) // has been complained of
			}
			continue
		case <-a.resave: // so that a restart knows how far the clocks are apart
			_ = a.saveHolds(ctx) // the next try says why not
			continue
		case <-timer.C:
		}
		begin := a.o.Now()
		a.units.Load().Forget(uint32(begin.Unix()))
		if a.saving.due(a.holds, begin) {
			if err := a.saveHolds(ctx); err != nil && ctx.Err() == nil {
				a.saving.digest = 0 // again, next time
				a.log.WarnContext(ctx, "what clients were given is not saved; a crash now may move some", "error", err)
			}
		}
		timer.Reset(a.saving.next(a.o.Now().Sub(begin)))
	}
}
