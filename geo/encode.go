package geo

import (
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

// The compact file:
//
//	8 bytes   magic, with the version of the format in the last
//	gzip of
//	  text      source: length, bytes
//	  number    built, in seconds since 1970
//	  number    cells, then for each:
//	              kind, country (2 bytes), latitude and longitude in 0.01 degrees
//	              (2 bytes each, signed, big-endian), number: weight
//	  ranges    IPv4, in units of /24
//	  ranges    IPv6, in units of /48
//
// Numbers are unsigned varints. Ranges are a number of them, then all the starts
// as differences, then all the cell numbers: in columns they compress to two
// thirds of what they do in rows. The gzip checksum covers everything.
const magic = "portgeo\x01"

// Host bits below the unit of the ranges in the file.
const (
	grain4 = 32 - 24
	grain6 = 64 - 48
)

// maxSource is how long a source text may be in the file, in bytes.
const maxSource = 4096

// Encode writes the table in the compact form that [Decode] reads.
func Encode(w io.Writer, t *Table) error {
	if len(t.source) > maxSource {
		return fmt.Errorf("source text of %d bytes: at most %d fit", len(t.source), maxSource)
	}
	raw := binary.AppendUvarint(nil, uint64(len(t.source)))
	raw = append(raw, t.source...)
	raw = binary.AppendUvarint(raw, uint64(max(t.built.Unix(), 0)))
	raw = binary.AppendUvarint(raw, uint64(len(t.cells)))
	for _, c := range t.cells {
		raw = append(raw, byte(c.Kind), c.Country[0], c.Country[1])
		raw = binary.BigEndian.AppendUint16(raw, uint16(centidegrees(c.Latitude)))
		raw = binary.BigEndian.AppendUint16(raw, uint16(centidegrees(c.Longitude)))
		raw = binary.AppendUvarint(raw, uint64(c.Weight))
	}
	raw = appendRanges(raw, &t.v4, grain4)
	raw = appendRanges(raw, &t.v6, grain6)

	if _, err := io.WriteString(w, magic); err != nil {
		return err
	}
	z, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := z.Write(raw); err != nil {
		return err
	}
	return z.Close()
}

func centidegrees(degrees float64) int16 { return int16(math.Round(degrees * 100)) }

func appendRanges[A address](raw []byte, p *partition[A], grain int) []byte {
	raw = binary.AppendUvarint(raw, uint64(len(p.starts)))
	var previous A
	for _, start := range p.starts {
		raw = binary.AppendUvarint(raw, uint64((start-previous)>>grain))
		previous = start
	}
	for _, v := range p.values {
		raw = binary.AppendUvarint(raw, uint64(v))
	}
	return raw
}
