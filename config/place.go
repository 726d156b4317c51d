package config

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// source is one file.
type source struct {
	name  string // as it stands in errors
	dir   string // what relative paths in the file are relative to
	order int    // in reading order, from 0
	// While it is decoded: the parts of its registries that were left out of its
	// tree, and with them the whole file.
	parts []part
	data  []byte
}

// place is where a value stands, both in its file and in the tree of keys. It
// outlives the YAML nodes, for the checks made once every file is read, so it
// must not refer to one.
type place struct {
	up           *place // nil for the document
	source       *source
	key          string // "" for an element of a list
	index        int32  // of the element when key is ""
	line, column int32
}

func (p *place) pos() Pos {
	return Pos{File: p.source.name, Line: int(p.line), Column: int(p.column)}
}

// child is the place of a key below p that has no place of its own in the file,
// such as one that is missing.
func (p *place) child(key string) *place {
	return &place{up: p, source: p.source, key: key, line: p.line, column: p.column}
}

// path is the keys from the document down: registries.a.replicas.b.addresses[1].
func (p *place) path() string {
	var parts []*place
	for ; p != nil && p.up != nil; p = p.up {
		parts = append(parts, p)
	}
	var b strings.Builder
	for _, part := range slices.Backward(parts) {
		switch {
		case part.key == "":
			b.WriteString("[" + strconv.Itoa(int(part.index)) + "]")
		case !plainKey(part.key):
			b.WriteString("[" + show(part.key) + "]")
		default:
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(part.key)
		}
	}
	return b.String()
}

// plainKey says whether a key can stand in a path without quotes. Zone names and
// prefixes can: a path is for reading, not for parsing.
func plainKey(key string) bool {
	if len(key) > maxShown {
		return false
	}
	for i := range len(key) {
		c := key[i]
		if !letterOrDigit(c) && strings.IndexByte("_-./:@*", c) < 0 {
			return false
		}
	}
	return true
}

func letterOrDigit(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// maxShown bounds in bytes what an error repeats of a value.
const maxShown = 80

// show quotes a value for an error: printable ASCII, one line, bounded.
func show(s string) string {
	if len(s) <= maxShown {
		return strconv.QuoteToASCII(s)
	}
	cut := maxShown
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return strconv.QuoteToASCII(s[:cut]) + "..."
}
