package app

import (
	"context"
	"slices"
	"time"

	"portolan.dev/config/ledger"
	"portolan.dev/resolver/compile"
	"portolan.dev/resolver/decide"
)

// moment is when something changed for a replica.
type moment struct {
	replica compile.Member
	at      time.Time
}

// remember gives a first world the moments of what the ledger says changed, so
// that clients who were active then are held as if there had been no restart: also
// where a change took effect while the server was down. The masks of those moments
// are not recorded; those of now stand for them.
func (v *availability) remember() {
	now := v.now()
	moments := v.recoveries(now)
	events, err := v.record.lately(context.Background(), now.Add(-decide.Keep*time.Second))
	if err != nil {
		// Without them anything may have changed, and the start stands for all of it.
		v.log.Warn("the ledger's last events are not readable; clients are held from now on", "error", err)
		v.world.Compiled.Snapshot.Swaps = append(v.world.Compiled.Snapshot.Swaps, uint32(now.Unix()))
	}
	for i := range events {
		switch e := &events[i]; e.Kind {
		case ledger.Drain, ledger.Undrain, ledger.Routing:
			if m, ok := v.member(e.Subject()); ok {
				moments = append(moments, moment{m, e.EffectiveAt})
			}
		default: // verdicts of health are in the state, and the rest moves nobody
		}
	}
	slices.SortFunc(moments, func(a, b moment) int { return a.at.Compare(b.at) })
	for _, x := range moments {
		if live := &v.world.Compiled.Snapshot.Live[x.replica.Registry]; !x.at.After(now) {
			live.History.Note(decide.Change{At: uint32(x.at.Unix()), Masks: live.Masks()}, false)
		}
	}
}

// recoveries returns when replicas came back, as long as that may matter.
func (v *availability) recoveries(now time.Time) (moments []moment) {
	for i := range v.world.Compiled.Endpoints {
		e := &v.world.Compiled.Endpoints[i]
		if now.Sub(e.Resume.UpAt) <= decide.Keep*time.Second {
			for _, m := range v.world.Compiled.Members[e.Key] {
				moments = append(moments, moment{m, e.Resume.UpAt})
			}
		}
	}
	return moments
}
