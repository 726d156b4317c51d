package ledger

import (
	"bytes"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"
)

const (
	// compactEvery is after how many events the log is looked at again.
	compactEvery = 1024
	// compactStep is how many records one transaction of compaction deletes: a
	// verdict of health waits for no more than that.
	compactStep = 512
)

// compact does one step: it deletes old events, and once none is left, what
// is known of endpoints that have been up for long. It clears f.compacting when all is
// done, or cannot be: then the next try is compactEvery events later.
func (f *File) compact() {
	more, err := f.deleteEvents()
	if err == nil && !more {
		more, err = f.forgetHealth()
	}
	f.mu.Lock()
	f.compactErr = err
	f.mu.Unlock()
	if !more || err != nil {
		f.unchecked = 0
		f.compacting.Store(false)
	}
}

// deleteEvents deletes the oldest events and folds them into the base. It says
// whether there may be more to delete.
func (f *File) deleteEvents() (more bool, err error) {
	old, err := f.oldEvents()
	if err != nil || len(old) == 0 {
		return false, err
	}
	err = f.update(func(tx *bbolt.Tx) error {
		s := newStage(f.first-1, func(dst *State, en entry) error {
			payload, err := get(tx, bucketBase, en.key())
			if errors.Is(err, errNoRecord) {
				return nil
			} else if err != nil {
				return err
			}
			return en.decode(dst, bytes.Clone(payload))
		})
		for _, e := range old {
			if err := tx.Bucket([]byte(bucketEvents)).Delete(seqKey(e.Seq)); err != nil {
				return fmt.Errorf("delete event %d: %w", e.Seq, err)
			}
			if err := s.apply(e); err != nil {
				return err
			}
		}
		return s.write(tx, bucketBase)
	})
	if err != nil {
		return false, err
	}
	f.first = old[len(old)-1].Seq + 1
	return len(old) == compactStep, nil
}

// oldEvents returns the events to delete in one step: from the oldest on, those
// beyond MaxEvents and those decided before Retain, up to the first that is neither.
func (f *File) oldEvents() ([]Event, error) {
	limit, last := f.now().Add(-f.o.Retain), f.state.Seq
	old, err := f.read(f.first, last, compactStep)
	for i, e := range old {
		if int64(last-e.Seq) < int64(f.o.MaxEvents) && !e.DecidedAt.Before(limit) {
			return old[:i], err
		}
	}
	return old, err
}

// forgetHealth deletes endpoints from the state and from the base that are up, whose
// events are deleted and whose recovery is older than Retain: what changes their
// keys (a new address, a replica removed) would otherwise fill the state for good. Base
// and log still fold to the state, as it is the same in both.
func (f *File) forgetHealth() (more bool, err error) {
	limit := f.now().Add(-f.o.Retain)
	s := newStage(f.state.Seq, nil)
	for endpoint, h := range f.state.Health {
		if h.Down == nil && h.Seq < f.first && h.UpAt.Before(limit) && len(s.touched) < compactStep {
			s.touched[entry{area: areaHealth, name: endpoint}] = struct{}{}
		}
	}
	if len(s.touched) == 0 {
		return false, nil
	}
	err = f.update(func(tx *bbolt.Tx) error {
		for en := range s.touched {
			if err := tx.Bucket([]byte(bucketBase)).Delete(en.key()); err != nil {
				return fmt.Errorf("forget %q: %w", en.key(), err)
			}
		}
		return s.write(tx, bucketState)
	})
	if err != nil {
		return false, err
	}
	f.publish(s, nil)
	return len(s.touched) == compactStep, nil
}
