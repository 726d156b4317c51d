package ledger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"go.etcd.io/bbolt"
)

// layout makes the buckets of an empty log.
func layout(tx *bbolt.Tx) error {
	for _, name := range []string{bucketMeta, bucketEvents, bucketState, bucketBase, bucketSerials} {
		if _, err := tx.CreateBucket([]byte(name)); err != nil {
			return fmt.Errorf("create %s: %w", name, err)
		}
	}
	for _, name := range []string{bucketState, bucketBase} {
		if err := put(tx, name, []byte(keySeq), seqKey(0)); err != nil {
			return err
		}
	}
	return put(tx, bucketMeta, []byte("schema"), []byte(strconv.Itoa(schema)))
}

// load reads the state and checks every record of the file. first is the Seq of
// the oldest event kept, state.Seq+1 if there is none.
func load(tx *bbolt.Tx) (state State, first uint64, err error) {
	if err := checkLayout(tx); err != nil {
		return State{}, 0, err
	}
	if state, err = loadState(tx, bucketState); err != nil {
		return State{}, 0, err
	}
	base, err := loadState(tx, bucketBase)
	if err != nil {
		return State{}, 0, err
	}
	if err := checkLog(tx, base.Seq, state.Seq); err != nil {
		return State{}, 0, err
	}
	state.Serials, err = loadSerials(tx)
	return state, base.Seq + 1, err
}

func checkLayout(tx *bbolt.Tx) error {
	for _, name := range []string{bucketMeta, bucketEvents, bucketState, bucketBase, bucketSerials} {
		if tx.Bucket([]byte(name)) == nil {
			return fmt.Errorf("no bucket %s: a bbolt file of another program?", name)
		}
	}
	payload, err := get(tx, bucketMeta, []byte("schema"))
	if err != nil {
		return err
	}
	v, err := strconv.Atoi(string(payload))
	if err != nil {
		return fmt.Errorf("schema version %q", payload)
	}
	if v > schema {
		return fmt.Errorf("%w: its schema is %d, and this one reads %d", ErrNewer, v, schema)
	}
	if v != schema {
		return fmt.Errorf("schema version %d: this version of the server reads %d", v, schema)
	}
	return nil
}

// loadState reads the records of a folded state.
func loadState(tx *bbolt.Tx, bucket string) (State, error) {
	s := State{Replicas: make(map[Subject]ReplicaState), Health: make(map[string]HealthState)}
	var seen bool
	err := forEach(tx, bucket, func(key, payload []byte) error {
		if string(key) == keySeq {
			if len(payload) != seqLen {
				return fmt.Errorf("%s: sequence number of %d bytes", bucket, len(payload))
			}
			s.Seq, seen = binary.BigEndian.Uint64(payload), true
			return nil
		}
		en, err := entryOfKey(key)
		if err != nil {
			return fmt.Errorf("%s: %w", bucket, err)
		}
		return en.decode(&s, payload)
	})
	if err == nil && !seen {
		err = fmt.Errorf("%s: no sequence number", bucket)
	}
	return s, err
}

// checkLog demands that the log reaches without gaps from behind base to head.
func checkLog(tx *bbolt.Tx, base, head uint64) error {
	next := base + 1
	err := forEach(tx, bucketEvents, func(key, _ []byte) error {
		if !bytes.Equal(key, seqKey(next)) {
			return fmt.Errorf("event %x where %d should be", key, next)
		}
		next++
		return nil
	})
	if err == nil && next != head+1 {
		err = fmt.Errorf("the log ends at event %d, the state at %d", next-1, head)
	}
	return err
}

func loadSerials(tx *bbolt.Tx) (map[string]uint32, error) {
	serials := make(map[string]uint32)
	err := forEach(tx, bucketSerials, func(key, payload []byte) error {
		if len(payload) != 4 {
			return fmt.Errorf("SOA serial of %q has %d bytes", key, len(payload))
		}
		serials[string(key)] = binary.BigEndian.Uint32(payload)
		return nil
	})
	return serials, err
}

func forEach(tx *bbolt.Tx, bucket string, f func(key, payload []byte) error) error {
	return tx.Bucket([]byte(bucket)).ForEach(func(key, value []byte) error {
		payload, err := unseal(bucket, key, value)
		if err != nil {
			return err
		}
		return f(key, payload)
	})
}

var errNoRecord = errors.New("no such record")

func get(tx *bbolt.Tx, bucket string, key []byte) ([]byte, error) {
	value := tx.Bucket([]byte(bucket)).Get(key)
	if value == nil {
		return nil, fmt.Errorf("%s: %q: %w", bucket, key, errNoRecord)
	}
	return unseal(bucket, key, value)
}
