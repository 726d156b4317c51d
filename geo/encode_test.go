package geo

import (
	"bytes"
	"compress/gzip"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func encode(tb testing.TB, table *Table) []byte {
	tb.Helper()
	var b bytes.Buffer
	if err := Encode(&b, table); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// checkRoundTrip encodes a table and decodes it again.
func checkRoundTrip(tb testing.TB, table *Table) {
	tb.Helper()
	got, err := Decode(encode(tb, table))
	if err != nil {
		tb.Fatal(err)
	}
	if got.source != table.source || !got.built.Equal(table.built) || !slices.Equal(got.cells, table.cells) {
		tb.Fatalf("became %q %s with %d cells", got.source, got.built, len(got.cells))
	}
	if !slices.Equal(got.v4.starts, table.v4.starts) || !slices.Equal(got.v4.values, table.v4.values) ||
		!slices.Equal(got.v6.starts, table.v6.starts) || !slices.Equal(got.v6.values, table.v6.values) {
		tb.Fatal("the ranges became others")
	}
}

func TestEncodeDecode(t *testing.T) {
	t.Parallel()
	for seed := range uint64(50) {
		checkRoundTrip(t, randomTable(rand.New(rand.NewPCG(seed, 9))))
	}
	table := fourCells()
	table.built = time.Date(2026, 6, 5, 0, 0, 0, 0, time.UTC)
	table.cells[1].Point = Point{-90, 180}
	table.cells[2].Weight = 1<<32 - 1
	checkRoundTrip(t, table.Named(strings.Repeat("x", maxSource)))
	if err := Encode(&bytes.Buffer{}, table.Named(strings.Repeat("x", maxSource+1))); err == nil {
		t.Error("encoded a source text that cannot be decoded")
	}
}

// packed is a compact file with the given contents.
func packed(tb testing.TB, raw ...byte) []byte {
	tb.Helper()
	var b bytes.Buffer
	b.WriteString(magic)
	z := gzip.NewWriter(&b)
	if _, err := z.Write(raw); err != nil {
		tb.Fatal(err)
	}
	if err := z.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// Pieces of a compact file: no source, built 0, then cells and ranges.
var (
	pieceHead = []byte{0, 0}
	pieceNone = []byte{0, 0, 0, 0, 0, 0, 0, 0} // the cell of no place
	pieceUS   = []byte{1, 'U', 'S', 0x0e, 0xa6, 0xd0, 0x30, 7}
	pieceAll0 = []byte{1, 0, 0}
)

func TestDecodeErrors(t *testing.T) {
	t.Parallel()
	two := slices.Concat(pieceHead, []byte{2}, pieceNone, pieceUS)
	good := packed(t, slices.Concat(two, pieceAll0, pieceAll0)...)
	if _, err := Decode(good); err != nil {
		t.Fatalf("the sound file: %v", err)
	}
	crc := slices.Clone(good)
	crc[len(crc)-6] ^= 1
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"empty", nil, "not a table of places"},
		{"version", append([]byte("portgeo\x02"), good[8:]...), "another version"},
		{"cut", good[:len(good)-9], "EOF"},
		{"checksum", crc, "checksum"},
		{"nothing", packed(t), "cut short"},
		{"no cells", packed(t, 0, 0, 0), "0 cells"},
		{"more cells than bytes", packed(t, 0, 0, 0xff, 0x7f), "cells"},
		{"cell 0 with a place", packed(t, slices.Concat(pieceHead, []byte{1}, pieceUS, pieceAll0, pieceAll0)...), "cell 0 makes no sense"},
		{"second cell of no place", packed(t, slices.Concat(pieceHead, []byte{2}, pieceNone, pieceNone, pieceAll0, pieceAll0)...), "cell 1 makes no sense"},
		{"kind", packed(t, slices.Concat(pieceHead, []byte{2}, pieceNone, []byte{3, 'U', 'S', 0, 0, 0, 0, 1}, pieceAll0, pieceAll0)...), "cell 1 makes no sense"},
		{"country", packed(t, slices.Concat(pieceHead, []byte{2}, pieceNone, []byte{1, 'u', 's', 0, 0, 0, 0, 1}, pieceAll0, pieceAll0)...), "cell 1 makes no sense"},
		{"latitude", packed(t, slices.Concat(pieceHead, []byte{2}, pieceNone, []byte{1, 'U', 'S', 0x7f, 0, 0, 0, 1}, pieceAll0, pieceAll0)...), "cell 1 makes no sense"},
		{"no ranges", packed(t, slices.Concat(two, []byte{0}, pieceAll0)...), "0 ranges"},
		{"more ranges than bytes", packed(t, slices.Concat(two, []byte{0xff, 0xff, 0x3f, 0, 0}, pieceAll0)...), "ranges"},
		{"first start", packed(t, slices.Concat(two, []byte{1, 1, 0}, pieceAll0)...), "range 0"},
		{"repeated start", packed(t, slices.Concat(two, []byte{2, 0, 0, 0, 1}, pieceAll0)...), "range 1"},
		{"start beyond the space", packed(t, slices.Concat(two, []byte{2, 0, 0x80, 0x80, 0x80, 0x08, 0, 1}, pieceAll0)...), "is above"},
		{"cell number", packed(t, slices.Concat(two, []byte{1, 0, 2}, pieceAll0)...), "is above"},
		{"same cell again", packed(t, slices.Concat(two, []byte{2, 0, 5, 1, 1}, pieceAll0)...), "same cell"},
		{"long source", packed(t, 0xff, 0xff, 0x03), "is above"},
		{"trailing", packed(t, slices.Concat(two, pieceAll0, pieceAll0, []byte{0})...), "after the end"},
		{"bomb", packed(t, make([]byte, maxRaw+1)...), "unpacks to more"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if _, err := Decode(c.data); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
	if _, err := Decode(crc); !errors.Is(err, errDamaged) || !errors.Is(err, gzip.ErrChecksum) {
		t.Errorf("error %v does not wrap its cause", err)
	}
}

// FuzzDecode decodes anything. What is accepted must come back the same from
// Encode and must serve an index.
func FuzzDecode(f *testing.F) {
	f.Fuzz(func(t *testing.T, data []byte) {
		table, err := Decode(data)
		if err != nil {
			return
		}
		checkRoundTrip(t, table)
		ix, err := NewIndex(table, fourRegions(), nil, -1)
		if err != nil {
			t.Fatal(err)
		}
		for _, start := range table.v4.starts[:min(len(table.v4.starts), 50)] {
			class, _ := ix.Find4(start)
			if len(ix.Rank(class)) != 4 {
				t.Fatalf("%#x: rank %v", start, ix.Rank(class))
			}
		}
	})
}

// TestSeedsDecode keeps the committed seeds, as TestSeedsMMDB does.
func TestSeedsDecode(t *testing.T) {
	t.Parallel()
	good := encode(t, fourCells())
	checkSeeds(t, "FuzzDecode", map[string][]byte{
		"four-cells":  good,
		"cut":         good[:len(good)/2],
		"no-cells":    packed(t, 0, 0, 0),
		"many-ranges": packed(t, slices.Concat(pieceHead, []byte{1}, pieceNone, []byte{0xff, 0xff, 0x3f, 0, 0}, pieceAll0)...),
	})
}

// checkSeeds checks that the corpus of a fuzz target has the seeds, or writes them.
// It does not compare them: another release of a compressor may pack the same table
// in other bytes.
func checkSeeds(t *testing.T, target string, seeds map[string][]byte) {
	t.Helper()
	dir := filepath.Join("testdata", "fuzz", target)
	for name, data := range seeds {
		path := filepath.Join(dir, name)
		if os.Getenv("PORTOLAN_WRITE_SEEDS") != "" {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			seed := "go test fuzz v1\n[]byte(" + strconv.Quote(string(data)) + ")\n"
			if err := os.WriteFile(path, []byte(seed), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := os.Stat(path); err != nil {
			t.Errorf("%v: run the test with PORTOLAN_WRITE_SEEDS=1", err)
		}
	}
}
