package ledger

import (
	"bytes"
	"encoding/binary"
	"hash/fnv"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
)

const testPage = 1024

// smallFile makes a bbolt file of small pages whose tree has branches, and returns
// the used part of it and the numbers of a branch page, a leaf page below it, and the
// freelist.
func smallFile(t *testing.T) (file []byte, branch, leaf, freelist int) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "db")
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{PageSize: testPage})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		err := db.Update(func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists([]byte("events"))
			for i := range 60 * (1 + n) {
				if err == nil {
					err = b.Put(seqKey(uint64(i)), bytes.Repeat([]byte("v"), 40))
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if file, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	meta, err := readMeta(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	file = file[:meta.end*testPage]
	for i := range int(meta.end) {
		if p := file[i*testPage:]; pageFlags(p) == flagBranch && i != int(meta.freelist) {
			branch, leaf = i, int(binary.NativeEndian.Uint64(p[pageHeader+8:]))
		}
	}
	return file, branch, leaf, int(meta.freelist)
}

func TestCheckPages(t *testing.T) {
	file, branch, leaf, freelist := smallFile(t)
	ne := binary.NativeEndian
	at := func(b []byte, page, offset int) []byte { return b[page*testPage+offset:] }
	metas := func(b []byte, offset int, v uint64) { // sets a number in both and makes the checksums right
		for i := range 2 {
			m := at(b, i, pageHeader)
			ne.PutUint64(m[offset:], v)
			sum := fnv.New64a()
			sum.Write(m[:metaSize-8])
			ne.PutUint64(m[metaSize-8:], sum.Sum64())
		}
	}
	child := func(b []byte, v int) { ne.PutUint64(at(b, branch, pageHeader+8), uint64(v)) }
	for _, tc := range []struct {
		name   string
		damage func(b []byte)
		says   string // "" means sound
	}{
		{"sound", func([]byte) {}, ""},
		{"first header", func(b []byte) { b[pageHeader+50] ^= 1 }, "header page 0: checksum"},
		{"second header", func(b []byte) { at(b, 1, pageHeader)[50] ^= 1 }, "header page 1: checksum"},
		{"format", func(b []byte) { at(b, 1, pageHeader)[4]++ }, "bbolt format 3"},
		{"magic", func(b []byte) { b[pageHeader] = 0 }, "not a bbolt file"},
		{"end beyond the file", func(b []byte) { metas(b, 40, uint64(len(b)/testPage+1)) }, "cut off"},
		{"end at the start", func(b []byte) { metas(b, 40, 3) }, "cut off"},
		{"root far away", func(b []byte) { metas(b, 16, 1<<40) }, "beyond the end"},
		{"root is the freelist", func(b []byte) { metas(b, 16, uint64(freelist)) }, "used twice"},
		{"freelist is a leaf", func(b []byte) { metas(b, 32, uint64(leaf)) }, "not the freelist"},
		{"freelist names a leaf", func(b []byte) { ne.PutUint64(at(b, freelist, pageHeader), uint64(leaf)) }, "used twice"},
		{"freelist is longer than its page", func(b []byte) { ne.PutUint16(at(b, freelist, 10), 0xFFFE) }, "room for"},
		{"freelist is short of a page", func(b []byte) { ne.PutUint16(at(b, freelist, 10), pageCount16(b, freelist)-1) }, "neither used nor free"},
		{"a branch is its own child", func(b []byte) { child(b, branch) }, "used twice"},
		{"a child is a header", func(b []byte) { child(b, 1) }, "used twice"},
		{"a child far away", func(b []byte) { child(b, math.MaxInt) }, "beyond the end"},
		{"children change places", func(b []byte) {
			one, two := at(b, branch, pageHeader+8)[:8], at(b, branch, pageHeader+elementSize+8)[:8]
			for i := range one {
				one[i], two[i] = two[i], one[i]
			}
		}, "belongs to another page"},
		{"no children", func(b []byte) { ne.PutUint16(at(b, branch, 10), 0) }, "without children"},
		{"more keys than fit", func(b []byte) { ne.PutUint16(at(b, leaf, 10), 1000) }, "key"},
		{"another number", func(b []byte) { ne.PutUint64(at(b, leaf, 0), uint64(branch)) }, "says it is page"},
		{"two kinds at once", func(b []byte) { ne.PutUint16(at(b, leaf, 8), flagLeaf|flagBranch) }, "flags 0x3"},
		{"overflow beyond the end", func(b []byte) { ne.PutUint32(at(b, leaf, 12), 1<<30) }, "page"},
		{"a key outside", func(b []byte) { ne.PutUint32(at(b, leaf, pageHeader+4), 0xFFFFFFF0) }, "lies outside"},
		{"a value outside", func(b []byte) { ne.PutUint32(at(b, leaf, pageHeader+12), 0xFFFFFFFF) }, "lies outside"},
		{"an empty key", func(b []byte) { ne.PutUint32(at(b, leaf, pageHeader+8), 0) }, "no key"},
		{"a short bucket", func(b []byte) {
			ne.PutUint32(at(b, leaf, pageHeader), 1)
			ne.PutUint32(at(b, leaf, pageHeader+12), bucketSize-1)
		}, "bucket of 15 bytes"},
		{"unknown flags", func(b []byte) { ne.PutUint32(at(b, leaf, pageHeader), 2) }, "flags 0x2"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := bytes.Clone(file)
			tc.damage(b)
			err := checkPages(bytes.NewReader(b), int64(len(b)))
			if tc.says == "" && err != nil || tc.says != "" && (err == nil || !strings.Contains(err.Error(), tc.says)) {
				t.Errorf("got %v, want %q", err, tc.says)
			}
		})
	}
}

func pageCount16(b []byte, page int) uint16 { return uint16(pageCount(b[page*testPage:])) }
