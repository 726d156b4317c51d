package app

import (
	"net/netip"
	"time"

	"portolan.dev/resolver/transfer"
)

const (
	// notifyEvery is how soon secondaries hear of a new serial. Health can change it
	// several times a second; they are told of the last.
	notifyEvery = time.Second
	// notifyWait bounds one try and begins the pauses: 5, 10, 20, 40, 60 seconds.
	notifyWait = 5 * time.Second
	// notifyTries is the first try and as many more as RFC 1996 section 3.6 suggests.
	notifyTries = 6
)

// newSecondaries makes what tells secondaries of changes.
func (a *App) newSecondaries() *transfer.Notifier {
	return transfer.NewNotifier(transfer.NotifyOptions{
		Now: a.o.Now, Every: notifyEvery, Wait: notifyWait, Tries: notifyTries,
		Log: func(zone string, to netip.AddrPort, err error) {
			a.log.Warn("a secondary was not told of a change", "zone", zone, "secondary", to, "error", err)
		},
	})
}
