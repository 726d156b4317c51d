package app

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"portolan.dev/config/ledger"
)

// slowStore is a ledger whose writes end when a test says so.
type slowStore struct {
	ledger.Store

	goOn chan struct{}
}

func (s *slowStore) Append(_ context.Context, _ uint64, events ...ledger.Event) ([]ledger.Event, error) {
	<-s.goOn
	return events, nil
}

// A disk that neither takes a write nor refuses it is shown as one that cannot be
// written.
func TestRecordOfADiskThatStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, store := newFakeClock(noon()), &slowStore{goOn: make(chan struct{})}
		r := &record{store: &gate{store: store}, clock: f.clock, log: slog.New(slog.NewTextHandler(&f.log, nil))}
		for _, waits := range []time.Duration{stallAfter - time.Millisecond, time.Minute} {
			done := make(chan error, 1)
			go func() {
				_, err := r.Append(t.Context(), ledger.Event{Kind: ledger.Start})
				done <- err
			}()
			synctest.Wait()
			f.passed += waits
			if err := r.err(); (err != nil) != (waits >= stallAfter) || err != nil && !strings.Contains(err.Error(), "for 1m0s") {
				t.Errorf("after %v: %v", waits, err)
			}
			store.goOn <- struct{}{}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if err := r.err(); err != nil {
				t.Errorf("after a write: %v", err)
			}
			if logged := strings.Contains(f.log.String(), "disk was slow"); logged != (waits >= stallAfter) {
				t.Errorf("after %v: %s", waits, f.log.String())
			}
			f.passed += time.Hour
			if err := r.err(); err != nil {
				t.Errorf("with nothing to write: %v", err)
			}
		}
	})
}
