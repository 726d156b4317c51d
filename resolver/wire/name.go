package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
)

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// fold copies src to dst with ASCII upper case made lower, eight octets at a
// time. dst must be at least as long as src.
func fold(dst, src []byte) {
	i := 0
	for ; i+8 <= len(src); i += 8 {
		w := binary.LittleEndian.Uint64(src[i:])
		binary.LittleEndian.PutUint64(dst[i:], foldWord(w))
	}
	for ; i < len(src); i++ {
		c := src[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		dst[i] = c
	}
}

// foldWord sets bit 5 of every octet of w in 'A'..'Z'. Adding (0x80 - 'A') to
// the lower seven bits sets the top bit from 'A' on, adding (0x7f - 'Z') from
// behind 'Z' on; octets above 127 are masked out.
func foldWord(w uint64) uint64 {
	low := w &^ highs
	fromA := low + (0x80-'A')*ones
	pastZ := low + (0x7f-'Z')*ones
	return w | (fromA&^pastZ&^w&highs)>>2
}

// Hash returns a seeded hash of a folded name in wire form. padded must have
// at least seven zero octets behind the n octets of the name, as [Query.Name]'s
// backing array and [Pad] have. The seed keeps strangers from choosing
// collisions.
func Hash(padded []byte, n int, seed uint64) uint64 {
	h := seed ^ uint64(n)*0x9e3779b97f4a7c15
	for i := 0; i < n; i += 8 {
		hi, lo := bits.Mul64(h^binary.LittleEndian.Uint64(padded[i:]), 0xd6e8feb86659fd93)
		h = hi ^ lo
	}
	return h
}

// HashName hashes the part of the query name that begins at label offset off.
func (q *Query) HashName(off int, seed uint64) uint64 {
	return Hash(q.lower[off:], int(q.nameLen)-off, seed)
}

// Fold writes name, in wire form, to dst with ASCII upper case made lower. dst must
// be at least as long.
func Fold(dst, name []byte) { fold(dst, name) }

// EqualNames reports whether two names of equal length, in wire form, are the same
// but for the case of ASCII letters (RFC 4343 section 3).
func EqualNames(a, b []byte) bool {
	for i, c := range a {
		d := b[i]
		if c != d && (c^d != 0x20 || c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return true
}

// InZone reports whether a folded name is at or below a folded apex.
func InZone(name, apex []byte) bool {
	for off := 0; ; off += int(name[off]) + 1 {
		if bytes.Equal(name[off:], apex) {
			return true
		}
		if name[off] == 0 {
			return false
		}
	}
}

// NameLen returns the octets of the name that is spelled out, without compression,
// at the start of msg.
func NameLen(msg []byte) int {
	n := 0
	for msg[n] != 0 {
		n += int(msg[n]) + 1
	}
	return n + 1
}

// Pad returns name with the zero octets behind it that [Hash] needs.
func Pad(name []byte) []byte {
	padded := make([]byte, len(name)+8)
	copy(padded, name)
	return padded
}

// ErrName reports text that is no domain name.
var ErrName = errors.New("not a domain name")

// ParseName turns text in presentation form (RFC 1035 section 5.1, with or
// without the trailing dot, \. and \DDD escapes) into folded wire form with its
// root label. Errors wrap [ErrName].
func ParseName(text string) ([]byte, error) {
	if text == "." {
		return []byte{0}, nil
	}
	wire := make([]byte, 1, len(text)+2)
	start := 0
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '.':
			if len(wire)-start == 1 {
				return nil, fmt.Errorf("%w: %q has an empty label", ErrName, text)
			}
			wire[start] = byte(len(wire) - start - 1)
			start = len(wire)
			wire = append(wire, 0)
			continue
		case c == '\\':
			v, n, ok := unescape(text[i+1:])
			if !ok {
				return nil, fmt.Errorf("%w: %q has a bad escape", ErrName, text)
			}
			c, i = v, i+n
		case 'A' <= c && c <= 'Z':
			c |= 0x20
		}
		wire = append(wire, c)
		if len(wire)-start-1 > 63 {
			return nil, fmt.Errorf("%w: %q has a label over 63 octets", ErrName, text)
		}
	}
	if len(wire)-start > 1 {
		wire[start] = byte(len(wire) - start - 1)
		wire = append(wire, 0)
	} else if len(wire) == 1 {
		return nil, fmt.Errorf("%w: it is empty", ErrName)
	}
	if len(wire) > MaxName {
		return nil, fmt.Errorf("%w: %q is over 255 octets", ErrName, text)
	}
	return wire, nil
}

// unescape reads what follows a backslash: three digits or one octet. n is the
// number of octets read.
func unescape(s string) (c byte, n int, ok bool) {
	if s == "" {
		return 0, 0, false
	}
	if s[0] < '0' || s[0] > '9' {
		return s[0], 1, true
	}
	if len(s) < 3 {
		return 0, 0, false
	}
	v := 0
	for _, d := range []byte(s[:3]) {
		if d < '0' || d > '9' {
			return 0, 0, false
		}
		v = v*10 + int(d-'0')
	}
	return byte(v), 3, v <= 255
}

// AppendName appends the presentation form of a name in wire form, with the
// trailing dot. Octets other than letters, digits, '-' and '_' are escaped.
func AppendName(dst, name []byte) []byte {
	if len(name) == 1 {
		return append(dst, '.')
	}
	for off := 0; off < len(name) && name[off] != 0; off += int(name[off]) + 1 {
		for _, c := range name[off+1 : off+1+int(name[off])] {
			switch {
			case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
				dst = append(dst, c)
			case c > ' ' && c < 0x7f:
				dst = append(dst, '\\', c)
			default:
				dst = append(dst, '\\', '0'+c/100, '0'+c/10%10, '0'+c%10)
			}
		}
		dst = append(dst, '.')
	}
	return dst
}
