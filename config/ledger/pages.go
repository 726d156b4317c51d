package ledger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"slices"
)

// The page format of bbolt (version 2, unchanged since 2014), as far as it takes to
// know that bbolt can read a file: its reader follows the page numbers, offsets
// and lengths it finds without question, through memory that is mapped, so a damaged
// file ends the process with a fault that cannot be caught in the goroutines bbolt starts.
//
//	page    id u64, flags u16, count u16, overflow u32, then count elements
//	branch  pos u32, key length u32, page u64     pos counts from its element
//	leaf    flags u32, pos u32, key length u32, value length u32
//	meta    magic u32, version u32, page size u32, flags u32, root page u64,
//	        sequence u64, freelist page u64, end u64, transaction u64, FNV-1a u64
//	bucket  root page u64, sequence u64; root page 0: a leaf page follows inline
//
// Integers have the byte order of the machine.
const (
	pageHeader  = 16
	elementSize = 16
	bucketSize  = 16
	metaSize    = 64 // of it, the last 8 octets are the checksum

	flagBranch   = 0x01
	flagLeaf     = 0x02
	flagMeta     = 0x04
	flagFreelist = 0x10

	bboltMagic   = 0xED0CDAED
	bboltVersion = 2

	// Fan-out is at least two, so a sound tree is never this deep.
	maxDepth = 64
)

type pageMeta struct {
	pageSize                         int64
	root, freelist, end, transaction uint64 // end: number of pages in use
}

// checkPages reads a bbolt file of size bytes once, page by page, and fails if
// bbolt could come to harm in it, or if pages are lost or used twice.
//
// Both meta pages must be sound, though bbolt makes do with one. They are written in
// turns, so to take the other one is to forget the last transaction, which
// somebody was told is durable. A kill does not tear them: their contents lie
// in the first sector of a page.
func checkPages(r io.ReaderAt, size int64) error {
	meta, err := readMeta(r, size)
	if err != nil {
		return err
	}
	if meta.end < 4 || meta.end > uint64(size/meta.pageSize) {
		return fmt.Errorf("cut off: %d pages of %d bytes are in use, the file has %d bytes", meta.end, meta.pageSize, size)
	}
	w := pageWalk{r: r, size: meta.pageSize, end: meta.end, seen: make([]bool, meta.end)}
	w.seen[0], w.seen[1] = true, true
	if err := w.freelist(meta.freelist); err != nil {
		return err
	}
	if err := w.tree(meta.root, keyRange{}, 0); err != nil {
		return err
	}
	if i := slices.Index(w.seen, false); i >= 0 {
		return fmt.Errorf("page %d is neither used nor free", i)
	}
	return nil
}

// readMeta returns the later one of the two meta pages.
func readMeta(r io.ReaderAt, size int64) (pageMeta, error) {
	first, err := readMetaAt(r, 0, 0)
	if err != nil {
		return pageMeta{}, err
	}
	ps := first.pageSize
	if ps < 1<<10 || ps > 1<<16 || ps&(ps-1) != 0 || size < 4*ps {
		return pageMeta{}, fmt.Errorf("pages of %d bytes in a file of %d", ps, size)
	}
	second, err := readMetaAt(r, ps, 1)
	if err != nil {
		return pageMeta{}, err
	}
	if second.pageSize != ps {
		return pageMeta{}, fmt.Errorf("pages of %d bytes and of %d", ps, second.pageSize)
	}
	if second.transaction > first.transaction {
		return second, nil
	}
	return first, nil
}

func readMetaAt(r io.ReaderAt, offset int64, id uint64) (pageMeta, error) {
	var b [pageHeader + metaSize]byte
	if _, err := r.ReadAt(b[:], offset); err != nil {
		return pageMeta{}, fmt.Errorf("header page %d: %w", id, err)
	}
	ne, m := binary.NativeEndian, b[pageHeader:]
	sum := fnv.New64a()
	_, _ = sum.Write(m[:metaSize-8])
	switch {
	case ne.Uint64(b[:]) != id || ne.Uint16(b[8:]) != flagMeta || ne.Uint32(m) != bboltMagic:
		return pageMeta{}, fmt.Errorf("header page %d: this is not a bbolt file", id)
	case ne.Uint32(m[4:]) != bboltVersion:
		return pageMeta{}, fmt.Errorf("header page %d: bbolt format %d, not %d", id, ne.Uint32(m[4:]), bboltVersion)
	case ne.Uint64(m[metaSize-8:]) != sum.Sum64():
		return pageMeta{}, fmt.Errorf("header page %d: checksum does not match", id)
	}
	return pageMeta{
		pageSize: int64(ne.Uint32(m[8:])), root: ne.Uint64(m[16:]),
		freelist: ne.Uint64(m[32:]), end: ne.Uint64(m[40:]), transaction: ne.Uint64(m[48:]),
	}, nil
}

type pageWalk struct {
	r    io.ReaderAt
	size int64  // of a page
	end  uint64 // number of pages in use
	seen []bool // by page
}

// keyRange is what the keys of a page must lie in: from <= key < to. Nil is open.
type keyRange struct{ from, to []byte }

// take notes that a page is used, which it may be once.
func (w *pageWalk) take(id uint64) error {
	switch {
	case id >= w.end:
		return fmt.Errorf("page %d is beyond the end at %d", id, w.end)
	case w.seen[id]:
		return fmt.Errorf("page %d is used twice", id)
	}
	w.seen[id] = true
	return nil
}

// page reads a page with its overflow pages.
func (w *pageWalk) page(id uint64) ([]byte, error) {
	if err := w.take(id); err != nil {
		return nil, err
	}
	at := int64(id) * w.size
	var head [pageHeader]byte
	if _, err := w.r.ReadAt(head[:], at); err != nil {
		return nil, fmt.Errorf("page %d: %w", id, err)
	}
	if got := binary.NativeEndian.Uint64(head[:]); got != id {
		return nil, fmt.Errorf("page %d says it is page %d", id, got)
	}
	overflow := uint64(binary.NativeEndian.Uint32(head[12:]))
	for n := range overflow {
		if err := w.take(id + 1 + n); err != nil {
			return nil, err
		}
	}
	b := make([]byte, int64(1+overflow)*w.size)
	if _, err := w.r.ReadAt(b, at); err != nil {
		return nil, fmt.Errorf("page %d: %w", id, err)
	}
	return b, nil
}

// freelist takes the pages that are free.
func (w *pageWalk) freelist(id uint64) error {
	b, err := w.page(id)
	if err != nil {
		return fmt.Errorf("freelist: %w", err)
	}
	if pageFlags(b) != flagFreelist {
		return fmt.Errorf("page %d is not the freelist", id)
	}
	count, ids := uint64(pageCount(b)), b[pageHeader:]
	if count == 0xFFFF { // then the first number is the count
		count, ids = binary.NativeEndian.Uint64(ids), ids[8:]
	}
	if count > uint64(len(ids)/8) {
		return fmt.Errorf("freelist: %d pages listed, room for %d", count, len(ids)/8)
	}
	for i := range count {
		if err := w.take(binary.NativeEndian.Uint64(ids[i*8:])); err != nil {
			return fmt.Errorf("freelist: %w", err)
		}
	}
	return nil
}

// tree follows a page and all below it.
func (w *pageWalk) tree(id uint64, keys keyRange, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("page %d: tree deeper than %d", id, maxDepth)
	}
	b, err := w.page(id)
	if err != nil {
		return err
	}
	switch pageFlags(b) {
	case flagBranch:
		err = w.branch(b, keys, depth)
	case flagLeaf:
		err = w.leaf(b, keys, depth)
	default:
		err = fmt.Errorf("flags %#x in a tree", pageFlags(b))
	}
	if err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	return nil
}

func (w *pageWalk) branch(b []byte, keys keyRange, depth int) error {
	n := pageCount(b)
	if n == 0 {
		return errors.New("branch without children")
	}
	all := make([][]byte, n+1) // and the upper end of the last
	for i := range n {
		at := pageHeader + i*elementSize
		if at+elementSize > len(b) {
			return fmt.Errorf("child %d lies outside", i)
		}
		var err error
		if all[i], _, err = slot(b, at, at, int64(binary.NativeEndian.Uint32(b[at+4:])), 0); err != nil {
			return fmt.Errorf("child %d: %w", i, err)
		}
	}
	all[n] = keys.to
	for i := range n {
		if err := keys.check(all[i]); err != nil {
			return fmt.Errorf("child %d: %w", i, err)
		}
		if i+1 < n && bytes.Compare(all[i], all[i+1]) >= 0 {
			return fmt.Errorf("child %d: keys out of order", i)
		}
		child := binary.NativeEndian.Uint64(b[pageHeader+i*elementSize+8:])
		if err := w.tree(child, keyRange{all[i], all[i+1]}, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (w *pageWalk) leaf(b []byte, keys keyRange, depth int) error {
	var last []byte
	for i := range pageCount(b) {
		at := pageHeader + i*elementSize
		if at+elementSize > len(b) {
			return fmt.Errorf("key %d lies outside", i)
		}
		flags, ne := binary.NativeEndian.Uint32(b[at:]), binary.NativeEndian
		key, value, err := slot(b, at, at+4, int64(ne.Uint32(b[at+8:])), int64(ne.Uint32(b[at+12:])))
		if err == nil {
			err = keys.check(key)
		}
		if err == nil && last != nil && bytes.Compare(last, key) >= 0 {
			err = errors.New("out of order")
		}
		if err == nil && flags == 1 {
			err = w.bucket(value, depth)
		} else if err == nil && flags != 0 {
			err = fmt.Errorf("flags %#x", flags)
		}
		if err != nil {
			return fmt.Errorf("key %d: %w", i, err)
		}
		last = key
	}
	return nil
}

// bucket follows the value of a key that is a bucket. Only the root has such.
func (w *pageWalk) bucket(value []byte, depth int) error {
	if len(value) < bucketSize {
		return fmt.Errorf("bucket of %d bytes", len(value))
	}
	if root := binary.NativeEndian.Uint64(value); root != 0 {
		return w.tree(root, keyRange{}, depth+1)
	}
	page := value[bucketSize:]
	if len(page) < pageHeader || pageFlags(page) != flagLeaf || depth > maxDepth {
		return errors.New("bucket without a page")
	}
	return w.leaf(page, keyRange{}, maxDepth+1) // so that it has no bucket itself
}

// slot returns the key and the value of the element at offset at, whose position
// field is at posAt.
func slot(b []byte, at, posAt int, klen, vlen int64) (key, value []byte, err error) {
	start := int64(at) + int64(binary.NativeEndian.Uint32(b[posAt:]))
	switch {
	case klen == 0:
		return nil, nil, errors.New("no key")
	case start+klen+vlen > int64(len(b)):
		return nil, nil, errors.New("lies outside")
	}
	return b[start : start+klen], b[start+klen : start+klen+vlen], nil
}

func (k keyRange) check(key []byte) error {
	if k.from != nil && bytes.Compare(key, k.from) < 0 || k.to != nil && bytes.Compare(key, k.to) >= 0 {
		return errors.New("belongs to another page")
	}
	return nil
}

func pageFlags(b []byte) uint16 { return binary.NativeEndian.Uint16(b[8:]) }
func pageCount(b []byte) int    { return int(binary.NativeEndian.Uint16(b[10:])) }
