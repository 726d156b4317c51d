package ledger

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"

	"go.etcd.io/bbolt"
)

// maxShared is how many events of several calls go into one transaction.
const maxShared = 4096

// write is one call of Append or SetSerials on its way through the writing
// goroutine, which owns it until done is closed.
type write struct {
	after   uint64
	events  []Event // get their Seq
	serials map[string]uint32
	err     error
	done    chan struct{}
}

// submit hands w over and waits for the outcome. Once it is handed over ctx
// no longer counts: the caller must learn whether it was stored.
func (f *File) submit(ctx context.Context, w *write) error {
	select {
	case f.writes <- w:
		<-w.done
		return w.err
	case <-ctx.Done():
		return fmt.Errorf("ledger %s: %w", f.path, ctx.Err())
	case <-f.stop:
		return f.errClosed()
	}
}

// run is the writing goroutine. Between two batches there is at most one step of
// compaction, so that neither holds up the other.
func (f *File) run() {
	defer close(f.done)
	for {
		if f.compacting.Load() {
			f.compact()
		}
		batch := f.collect()
		if batch == nil && f.compacting.Load() {
			select {
			case <-f.stop:
				return
			default:
				continue
			}
		}
		if batch == nil {
			return
		}
		f.commit(batch)
		for _, w := range batch {
			close(w.done)
		}
	}
}

// collect returns what waits to be written. If nothing does it waits, unless
// there is compacting to do. It returns nothing then, and when f is being closed.
func (f *File) collect() []*write {
	var batch []*write
	if !f.compacting.Load() {
		select {
		case w := <-f.writes:
			batch = append(batch, w)
		case <-f.stop:
			return nil
		}
	}
	for n := 0; n < maxShared; {
		select {
		case w := <-f.writes:
			batch = append(batch, w)
			n += len(w.events)
		default:
			return batch
		}
	}
	return batch
}

// commit writes a batch in one transaction. If that fails each write gets one of
// its own, because what is wrong may be wrong with one of them: on a disk that is
// nearly full a large one must not take a verdict with it.
func (f *File) commit(batch []*write) {
	err := f.commitOnce(batch)
	if err == nil {
		return
	}
	if len(batch) == 1 {
		batch[0].err = err
		return
	}
	for _, w := range batch {
		w.err = f.commitOnce([]*write{w})
	}
}

// errNothing rolls back a transaction that has nothing to write.
var errNothing = errors.New("nothing to write")

// commitOnce stores the writes of a batch; those that conflict have their err set,
// the others are durable when it returns nil. With an error nothing has changed.
func (f *File) commitOnce(batch []*write) error {
	f.mu.RLock()
	failed, seq := f.failed, f.state.Seq
	f.mu.RUnlock()
	if failed != nil {
		return failed
	}
	// This goroutine alone changes f.state, so it may read it without the lock.
	s := newStage(seq, func(dst *State, en entry) error { en.move(dst, &f.state); return nil })
	serials := make(map[string]uint32)
	err := f.update(func(tx *bbolt.Tx) error {
		for _, w := range batch {
			if w.err = f.conflict(w, s.state.Seq); w.err != nil {
				continue
			}
			if err := storeEvents(tx, s, w.events); err != nil {
				return err
			}
			maps.Copy(serials, w.serials)
		}
		if s.state.Seq == seq && len(serials) == 0 {
			return errNothing
		}
		if err := storeSerials(tx, serials); err != nil {
			return err
		}
		return s.write(tx, bucketState)
	})
	if err != nil && !errors.Is(err, errNothing) {
		return err
	}
	f.publish(s, serials)
	f.unchecked += int(s.state.Seq - seq)
	if f.unchecked >= compactEvery {
		f.compacting.Store(true)
	}
	return nil
}

func (f *File) conflict(w *write, seq uint64) error {
	if w.after == 0 || w.after == seq {
		return nil
	}
	return fmt.Errorf("ledger %s: %w: its last event is %d, not %d: look again and decide anew", f.path, ErrConflict, seq, w.after)
}

func storeEvents(tx *bbolt.Tx, s *stage, events []Event) error {
	log := tx.Bucket([]byte(bucketEvents))
	log.FillPercent = 1 // keys only ever rise: full pages are never split
	for i := range events {
		e := &events[i]
		e.Seq = s.state.Seq + 1
		payload, err := encodeEvent(*e)
		if err != nil {
			return err
		}
		if err := put(tx, bucketEvents, seqKey(e.Seq), payload); err != nil {
			return err
		}
		if err := s.apply(*e); err != nil {
			return err
		}
	}
	return nil
}

func storeSerials(tx *bbolt.Tx, serials map[string]uint32) error {
	for zone, serial := range serials {
		if err := put(tx, bucketSerials, []byte(zone), binary.BigEndian.AppendUint32(nil, serial)); err != nil {
			return err
		}
	}
	return nil
}

// publish makes what is durable the state, and wakes those who watch.
func (f *File) publish(s *stage, serials map[string]uint32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	changed := s.state.Seq != f.state.Seq
	s.moveTo(&f.state)
	maps.Copy(f.state.Serials, serials)
	if changed {
		close(f.grown)
		f.grown = make(chan struct{})
	}
}

// update runs one durable transaction. If it fails the file is as before, or f
// is not used any more.
func (f *File) update(change func(*bbolt.Tx) error) error {
	var id int
	err := guard(func() error {
		return f.db.Update(func(tx *bbolt.Tx) error {
			id = tx.ID()
			return change(tx)
		})
	})
	switch {
	case err == nil, errors.Is(err, errNothing):
		return err
	case errors.Is(err, errPanic):
		f.fail(err)
	case f.visible(id):
		// The header page was written and then could not be synced. Whether the disk has
		// it nobody can say, and a second sync may succeed without having written it.
		f.fail(fmt.Errorf("a transaction may or may not be on disk: %w", err))
	}
	return fmt.Errorf("ledger %s: write: %w", f.path, err)
}

// visible says whether the write transaction is in the file as seen from here.
func (f *File) visible(id int) bool {
	var last int
	err := guard(func() error {
		return f.db.View(func(tx *bbolt.Tx) error { last = tx.ID(); return nil })
	})
	return err == nil && id > 0 && last >= id
}
