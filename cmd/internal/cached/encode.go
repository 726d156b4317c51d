package cached

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// version is that of the encoded form.
const version = 1

// ErrVersion is wrapped where records are of a version that this one does not read.
var ErrVersion = errors.New("another version")

var errCut = errors.New("a record is not whole")

// Header is what records are appended to.
func Header() []byte { return []byte{version} }

// Append appends a record to others, behind one [Header].
func Append(dst []byte, r *Record) []byte {
	dst = appendText(dst, r.Name)
	dst = binary.AppendUvarint(dst, uint64(r.TTL))
	dst = binary.AppendUvarint(dst, uint64(r.RegionalTTL))
	dst = appendSpans(dst, r.Global)
	dst = appendSpans(dst, r.Regional)
	dst = binary.AppendUvarint(dst, uint64(len(r.Replicas)))
	for i := range r.Replicas {
		p := &r.Replicas[i]
		dst = appendText(dst, p.Label)
		dst = binary.AppendUvarint(dst, uint64(len(p.Addresses)))
		for _, a := range p.Addresses {
			dst = binary.BigEndian.AppendUint32(dst, a)
		}
		dst = appendMoment(dst, p.Until)
	}
	return dst
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func appendSpans(dst []byte, s Spans) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	for _, e := range s {
		dst = appendMoment(binary.AppendUvarint(dst, uint64(e.TTL)), e.Until)
	}
	return dst
}

// appendMoment writes whole milliseconds, rounded up: nothing may seem to expire
// earlier than it does. 0 is the zero time.
func appendMoment(dst []byte, t time.Time) []byte {
	ms := uint64(0)
	if !t.IsZero() {
		ms = uint64(t.Add(time.Millisecond - 1).UnixMilli())
	}
	return binary.AppendUvarint(dst, ms)
}

// Read calls each for the records in b, in order; a record is only good until each
// returns: see [Record.Clone]. On error some may have been passed already.
func Read(b []byte, each func(*Record)) error {
	if len(b) == 0 || b[0] != version {
		return fmt.Errorf("%w of what was served", ErrVersion)
	}
	d := decoder{rest: b[1:], labels: make(map[string]string)}
	var replicas []Replica // of all records, one after the other
	var words []uint32
	for len(d.rest) > 0 {
		r := Record{
			Name: string(d.text()), TTL: d.number32(), RegionalTTL: d.number32(),
			Global: d.spans(), Regional: d.spans(), Replicas: replicas[:0],
		}
		words = words[:0]
		for range d.count(3) { // octets of a replica at least
			p := Replica{Label: d.label()}
			first := len(words)
			for range d.count(4) {
				words = append(words, d.word())
			}
			if len(words) > first {
				p.Addresses = words[first:len(words):len(words)]
			}
			p.Until = d.moment()
			r.Replicas = append(r.Replicas, p)
		}
		replicas = r.Replicas
		if len(r.Replicas) == 0 {
			r.Replicas = nil
		}
		if d.bad {
			return errCut
		}
		each(&r)
	}
	return nil
}

// decoder reads what Append has written. Once it is bad it reads zeros.
type decoder struct {
	rest   []byte
	bad    bool
	labels map[string]string // few, of many replicas
}

func (d *decoder) number() uint64 {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 {
		d.rest, d.bad = nil, true
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) number32() uint32 {
	v := d.number()
	d.bad = d.bad || v>>32 != 0
	return uint32(v)
}

// count reads how many things follow, of size octets each at least.
func (d *decoder) count(size int) int {
	n := d.number()
	if n > uint64(len(d.rest)/size) {
		d.rest, d.bad = nil, true
		return 0
	}
	return int(n)
}

func (d *decoder) take(n int) []byte {
	if n > len(d.rest) {
		d.rest, d.bad = nil, true
		return make([]byte, n)
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) text() []byte { return d.take(d.count(1)) }

func (d *decoder) label() string {
	b := d.text()
	if l, ok := d.labels[string(b)]; ok {
		return l
	}
	l := string(b)
	d.labels[l] = l
	return l
}

func (d *decoder) word() uint32 { return binary.BigEndian.Uint32(d.take(4)) }

func (d *decoder) moment() time.Time {
	ms := d.number()
	switch {
	case ms == 0:
		return time.Time{}
	case ms >= uint64(Open.UnixMilli()):
		return Open
	}
	return time.UnixMilli(int64(ms))
}

func (d *decoder) spans() (s Spans) {
	for range d.count(2) {
		s = append(s, Span{d.number32(), d.moment()})
	}
	return s
}
