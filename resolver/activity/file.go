package activity

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"strconv"

	"portolan.dev/resolver/decide"
)

const (
	magic = "portolan-units-2"
	// magic1 is that of the layout before, in which entries knew two standings.
	magic1 = "portolan-units-1"
	// order reads otherwise on a machine with another byte order.
	order      = 0x0102030405060708
	headerSize = 4096 // a page, so that the buckets begin at one
	headerUsed = 44

	recordHead = 11 // checksum, kind, number, length of the name
	maxName    = 1 << 10
	maxBuckets = 1 << 24
	maxNames   = 256 << 20
)

// Kinds of names.
const (
	regionName   = 1
	registryName = 2
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli) //nolint:gochecknoglobals // never written

// Why there is no table of an earlier process, or can be no shared one. To be told
// apart with errors.Is; fs.ErrNotExist says that none was left.
var (
	// ErrDamaged: the file is not, or not wholly, what this package writes.
	ErrDamaged = errors.New("damaged")
	// ErrInUse: another process has the file.
	ErrInUse = errors.New("in use by another process")
	// ErrNotMemory: the folder does not lie in memory.
	ErrNotMemory = errors.New("not on a memory file system")
	// ErrForeign: the file is another user's, or others may write it.
	ErrForeign = errors.New("not this user's alone")
	// ErrUnsupported: this operating system has no such memory.
	ErrUnsupported = errors.New("not supported here")
)

// Left is what an earlier process has left.
type Left struct {
	// Seed keys the hash of units.
	Seed uint64
	// Regions and Registries are the names of the numbers that entries hold.
	Regions    [decide.MaxRegions]string
	Registries map[uint32]string
	// Holds is a copy of the table.
	Holds *decide.Holds
}

// Path returns the file for a server with that state folder. Folders for memory are
// shared by everybody on the machine, so the name tells servers apart.
func Path(folder, state string, uid int) string {
	if abs, err := filepath.Abs(state); err == nil {
		state = abs
	}
	if followed, err := filepath.EvalSymlinks(state); err == nil {
		state = followed
	}
	sum := sha256.Sum256([]byte(state))
	return filepath.Join(folder, "portolan-"+strconv.Itoa(uid)+"-"+hex.EncodeToString(sum[:8]))
}

// header returns the header of a table.
func header(buckets int, seed uint64) []byte {
	b := make([]byte, 0, headerUsed)
	b = append(b, magic...)
	b = binary.NativeEndian.AppendUint64(b, order)
	b = binary.NativeEndian.AppendUint64(b, uint64(buckets))
	b = binary.NativeEndian.AppendUint64(b, seed)
	return binary.NativeEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// parseHeader returns what header was given, and whether the entries have the layout
// before this one.
func parseHeader(b []byte) (buckets int, seed uint64, older bool, err error) {
	if len(b) >= headerSize {
		older = string(b[:len(magic1)]) == magic1
	}
	if len(b) < headerSize || !older && string(b[:len(magic)]) != magic ||
		crc32.Checksum(b[:headerUsed-4], castagnoli) != binary.NativeEndian.Uint32(b[headerUsed-4:]) {
		return 0, 0, false, fmt.Errorf("%w: no header", ErrDamaged)
	}
	n := binary.NativeEndian.Uint64(b[len(magic)+8:])
	if binary.NativeEndian.Uint64(b[len(magic):]) != order || n == 0 || n&(n-1) != 0 || n > maxBuckets {
		return 0, 0, false, fmt.Errorf("%w: a table of %d buckets", ErrDamaged, n)
	}
	return int(n), binary.NativeEndian.Uint64(b[len(magic)+16:]), older, nil
}

// appendName appends the record of a name.
func appendName(dst []byte, kind byte, number uint32, name string) []byte {
	begin := len(dst)
	dst = append(dst, 0, 0, 0, 0, kind)
	dst = binary.NativeEndian.AppendUint32(dst, number)
	dst = binary.NativeEndian.AppendUint16(dst, uint16(len(name)))
	dst = append(dst, name...)
	binary.NativeEndian.PutUint32(dst[begin:], crc32.Checksum(dst[begin+4:], castagnoli))
	return dst
}

// parseNames reads records up to the first that is not whole: the one that was being
// written when the process was killed, which no entry speaks of yet.
func (l *Left) parseNames(b []byte) {
	for len(b) >= recordHead {
		size := recordHead + int(binary.NativeEndian.Uint16(b[9:]))
		if size > recordHead+maxName || size > len(b) ||
			crc32.Checksum(b[4:size], castagnoli) != binary.NativeEndian.Uint32(b) {
			return
		}
		number, name := binary.NativeEndian.Uint32(b[5:]), string(b[recordHead:size])
		switch kind := b[4]; {
		case kind == regionName && number < decide.MaxRegions:
			l.Regions[number] = name
		case kind == registryName && number <= decide.MaxRegistry:
			l.Registries[number] = name
		}
		b = b[size:]
	}
}
