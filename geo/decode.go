package geo

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"time"
)

// maxRaw bounds what a compact file may unpack to: five times the city data of
// 2026.
const maxRaw = 64 << 20

// errDamaged is what a compact file that contradicts itself fails with.
var errDamaged = errors.New("damaged table of places")

// Decode reads a table from the compact form that [Encode] writes. It takes bytes
// from anywhere: the memory it uses is bounded by their number and by 64 MiB
// unpacked, and a table it returns is sound. It does not keep data.
func Decode(data []byte) (*Table, error) {
	body, ok := bytes.CutPrefix(data, []byte(magic))
	if !ok {
		return nil, errors.New("not a table of places, or one of another version: make it again with this version")
	}
	raw, err := unpack(body)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	d := decoder{rest: raw}
	t := &Table{
		source: string(d.bytes(d.number(maxSource))),
		built:  time.Unix(int64(d.number(math.MaxInt32)), 0).UTC(),
		cells:  d.cells(),
	}
	t.v4 = decodeRanges[uint32](&d, grain4, len(t.cells))
	t.v6 = decodeRanges[uint64](&d, grain6, len(t.cells))
	if d.err == nil && len(d.rest) > 0 {
		d.fail("%d bytes after the end", len(d.rest))
	}
	if d.err != nil {
		return nil, d.err
	}
	return t, nil
}

func unpack(body []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	z.Multistream(false)
	var raw bytes.Buffer
	raw.Grow(sizeHint(body))
	if _, err := raw.ReadFrom(io.LimitReader(z, maxRaw+1)); err != nil {
		return nil, err
	}
	if raw.Len() > maxRaw {
		return nil, fmt.Errorf("unpacks to more than %d bytes", maxRaw)
	}
	return raw.Bytes(), nil
}

// sizeHint is the size that the gzip trailer promises, held to what the format can
// compress to (RFC 1951: at most about 1032 to 1).
func sizeHint(body []byte) int {
	if len(body) < 4 {
		return 0
	}
	promised := int(binary.LittleEndian.Uint32(body[len(body)-4:]))
	return min(promised, 1032*len(body), maxRaw) + bytes.MinRead
}

// decoder reads from the front of rest. After the first error it returns zeros,
// and err tells what was wrong.
type decoder struct {
	rest []byte
	err  error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: "+format, append([]any{errDamaged}, args...)...)
	}
	d.rest = nil
}

// number reads a varint that must not be above limit.
func (d *decoder) number(limit uint64) uint64 {
	// Most numbers of a table take one byte.
	if len(d.rest) > 0 && d.rest[0] < 0x80 && uint64(d.rest[0]) <= limit {
		v := d.rest[0]
		d.rest = d.rest[1:]
		return uint64(v)
	}
	v, n := binary.Uvarint(d.rest)
	if n <= 0 {
		d.fail("cut short")
		return 0
	}
	if v > limit {
		d.fail("number %d is above %d", v, limit)
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) bytes(n uint64) []byte {
	if n > uint64(len(d.rest)) {
		d.fail("cut short")
		return nil
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) cells() []Cell {
	n := d.number(maxCells)
	if n == 0 || n > uint64(len(d.rest)) {
		d.fail("%d cells", n)
		return nil
	}
	cells := make([]Cell, n)
	for i := range cells {
		fixed := d.bytes(7)
		if d.err != nil {
			return nil
		}
		cells[i] = Cell{
			Kind:    CellKind(fixed[0]),
			Country: [2]byte(fixed[1:3]),
			Point: Point{
				Latitude:  float64(int16(binary.BigEndian.Uint16(fixed[3:]))) / 100,
				Longitude: float64(int16(binary.BigEndian.Uint16(fixed[5:]))) / 100,
			},
			Weight: uint32(d.number(math.MaxUint32)),
		}
		if !cells[i].sound(i) {
			d.fail("cell %d makes no sense", i)
			return nil
		}
	}
	return cells
}

// sound reports whether a cell read from a file can be cell i of a table.
func (c Cell) sound(i int) bool {
	code := c.CountryCode()
	return c.Kind <= CountryOnly && (c.Kind == Unlocated) == (i == 0) &&
		c.valid() && (code == "" || countryOf(code) == c.Country)
}

func decodeRanges[A address](d *decoder, grain, cells int) partition[A] {
	n := d.number(maxRaw)
	// Each range takes two bytes or more, so a count cannot claim memory that the
	// file did not pay for.
	if n == 0 || n > uint64(len(d.rest))/2 {
		d.fail("%d ranges", n)
		return partition[A]{}
	}
	starts, values := make([]A, n), make([]uint16, n)
	limit := uint64(^A(0)) >> grain
	var at uint64
	for i := range starts {
		step := d.number(limit - at)
		if d.err == nil && (step == 0) != (i == 0) {
			d.fail("range %d does not begin after the one before it", i)
		}
		if d.err != nil {
			return partition[A]{}
		}
		at += step
		starts[i] = A(at) << grain
	}
	for i := range values {
		values[i] = uint16(d.number(uint64(cells - 1)))
		if i > 0 && values[i] == values[i-1] && d.err == nil {
			d.fail("range %d is of the same cell as the one before it", i)
		}
	}
	if d.err != nil {
		return partition[A]{}
	}
	return partition[A]{starts, values}
}
