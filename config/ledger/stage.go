package ledger

import (
	"fmt"

	"go.etcd.io/bbolt"
)

// The buckets of the file.
const (
	bucketMeta    = "meta"    // "schema" → the version, in decimal
	bucketEvents  = "events"  // Seq → event
	bucketState   = "state"   // entry → its record, "seq" → Seq of the last event
	bucketBase    = "base"    // the same, for the events that were deleted
	bucketSerials = "serials" // zone apex → SOA serial, 4 octets
)

// keySeq is the record of a state that holds its Seq. No entry has this key.
const keySeq = "seq"

// stage folds events into a part of a state: it has the entries that were touched
// and no others, so that what it costs depends on the events alone. The state
// beneath changes when the stage is written and its transaction has succeeded.
type stage struct {
	state   State
	touched map[entry]struct{}
	// fetch gets an entry into dst before it is first touched.
	fetch func(dst *State, en entry) error
}

func newStage(seq uint64, fetch func(dst *State, en entry) error) *stage {
	return &stage{state: State{Seq: seq}, touched: make(map[entry]struct{}), fetch: fetch}
}

func (s *stage) apply(e Event) error {
	if en, ok := entryOf(e); ok {
		if _, ok := s.touched[en]; !ok {
			if err := s.fetch(&s.state, en); err != nil {
				return err
			}
			s.touched[en] = struct{}{}
		}
	}
	s.state.Apply(e)
	return nil
}

// write stores the entries that were touched, and Seq.
func (s *stage) write(tx *bbolt.Tx, bucket string) error {
	for en := range s.touched {
		payload, err := en.encode(&s.state)
		if err != nil {
			return err
		}
		if payload == nil {
			if err := tx.Bucket([]byte(bucket)).Delete(en.key()); err != nil {
				return fmt.Errorf("forget %q: %w", en.key(), err)
			}
			continue
		}
		if err := put(tx, bucket, en.key(), payload); err != nil {
			return err
		}
	}
	return put(tx, bucket, []byte(keySeq), seqKey(s.state.Seq))
}

// moveTo is for after the transaction.
func (s *stage) moveTo(dst *State) {
	for en := range s.touched {
		en.move(dst, &s.state)
	}
	dst.Seq = s.state.Seq
}

func put(tx *bbolt.Tx, bucket string, key, payload []byte) error {
	if err := tx.Bucket([]byte(bucket)).Put(key, seal(bucket, key, payload)); err != nil {
		return fmt.Errorf("write %q to %s: %w", key, bucket, err)
	}
	return nil
}
