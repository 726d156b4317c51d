package ledger

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"time"
)

// schema is the version of the file and of each record in it. It rises when an
// older program could no longer read what a newer one wrote; a new member of a
// record does not make it rise, because members that are not known are passed over.
const schema = 1

// maxRecord bounds one record, in bytes: all texts and names at their bounds,
// each byte escaped to six, and then some.
const maxRecord = 64 << 10

// seqLen is the length of a sequence number as a key: big-endian, so that the
// order of keys is the order of events.
const seqLen = 8

func seqKey(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }

// A record is stored as the CRC-32C of the name of its bucket, its key and its
// payload, then the payload. bbolt has checksums on its two header pages only; a bit
// that rots elsewhere would otherwise be read as another state.
const sumLen = 4

func checksum(bucket string, key, payload []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli) // computed once by the library
	sum := crc32.Update(0, table, []byte(bucket))
	sum = crc32.Update(sum, table, binary.BigEndian.AppendUint32(nil, uint32(len(key))))
	return crc32.Update(crc32.Update(sum, table, key), table, payload)
}

func seal(bucket string, key, payload []byte) []byte {
	out := make([]byte, 0, sumLen+len(payload))
	out = binary.BigEndian.AppendUint32(out, checksum(bucket, key, payload))
	return append(out, payload...)
}

// unseal returns the payload, which is part of value.
func unseal(bucket string, key, value []byte) ([]byte, error) {
	if len(value) < sumLen || binary.BigEndian.Uint32(value) != checksum(bucket, key, value[sumLen:]) {
		return nil, fmt.Errorf("record %q of %s: checksum does not match", key, bucket)
	}
	return value[sumLen:], nil
}

type version struct {
	V int `json:"v"`
}

// check is for a record that has been decoded.
func (v version) check() error {
	if v.V != schema {
		return fmt.Errorf("schema version %d: this version reads %d", v.V, schema)
	}
	return nil
}

type eventRecord struct {
	version
	Event
}

func encodeEvent(e Event) ([]byte, error) {
	b, err := json.Marshal(eventRecord{version{schema}, e})
	if err != nil {
		return nil, fmt.Errorf("%w: %s event: %w", ErrInvalid, e.Kind, err)
	}
	return b, nil
}

// decodeEvent reads one event as it was stored. Kinds and members that are not
// known are fine. What it returns can be encoded and decoded to the same again.
func decodeEvent(payload []byte) (Event, error) {
	if len(payload) > maxRecord {
		return Event{}, fmt.Errorf("event of %d bytes: at most %d", len(payload), maxRecord)
	}
	var r eventRecord
	if err := json.Unmarshal(payload, &r); err != nil {
		return Event{}, fmt.Errorf("event: %w", err)
	}
	if err := r.version.check(); err != nil {
		return Event{}, fmt.Errorf("event: %w", err)
	}
	e := r.Event
	if err := settle(&e); err != nil {
		return Event{}, err
	}
	return e, e.check()
}

type replicaRecord struct {
	version
	Drain   *Event `json:"drain,omitempty"`
	Routing *Event `json:"routing,omitempty"`
}

type healthRecord struct {
	version
	Down  *Event    `json:"down,omitempty"`
	UpAt  time.Time `json:"up_at,omitzero"`
	Flaps int       `json:"flaps,omitempty"`
	Seq   uint64    `json:"seq"`

	Passing bool          `json:"passing,omitempty"`
	UpAhead time.Duration `json:"up_ahead_ns,omitempty"`
}
