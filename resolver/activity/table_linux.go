package activity

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"portolan.dev/resolver/decide"
)

// Table is a table in shared memory. Its methods are not safe for concurrent use;
// those of Holds are.
type Table struct {
	// Holds is the table. Its memory is there for as long as it is used, also after
	// Close.
	Holds *decide.Holds

	path    string
	file    *os.File
	before  *os.File // what an earlier process left, locked until it is replaced
	memory  []byte
	tail    int64 // where the next name goes
	regions [decide.MaxRegions]string
	named   int // registries that have a name in the file

	published bool
}

// Create makes a table with room for units that the next process will find at path,
// once it is published. left is what the process before has left there, nil if there
// is none that can be used; why is the reason then. err says that the memory cannot
// be had.
func Create(path string, units int) (t *Table, left *Left, why, err error) {
	if err := inMemory(path); err != nil {
		return nil, nil, nil, err
	}
	t = &Table{path: path}
	if left, why, err = t.takeOver(); err != nil {
		return nil, nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := t.make(decide.Buckets(units)); err != nil {
		t.abandon()
		return nil, nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, left, why, nil
}

// inMemory fails unless path is to lie in a memory file system.
func inMemory(path string) error {
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err //nolint:wrapcheck // names the path
	}
	defer folder.Close()
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(folder.Fd()), &st); err != nil {
		return fmt.Errorf("%s: %w", folder.Name(), err)
	}
	if st.Type != unix.TMPFS_MAGIC {
		return fmt.Errorf("%s is %w", folder.Name(), ErrNotMemory)
	}
	return nil
}

// takeOver locks and reads what an earlier process left. why says what is wrong with
// it, if it can be replaced; err, that it must not be.
func (t *Table) takeOver() (left *Left, why, err error) {
	t.before, err = os.OpenFile(t.path, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrForeign, err)
	}
	size, err := own(t.before)
	if err == nil {
		err = lock(t.before)
	}
	if err != nil {
		return nil, nil, errors.Join(err, t.before.Close())
	}
	left, why = read(t.before, size)
	return left, why, nil
}

// own fails unless the file is this user's alone. Anybody may make files in a folder
// like /dev/shm.
func own(f *os.File) (size int64, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0, err //nolint:wrapcheck // the caller names the path
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Mode&0o077 != 0 || int(st.Uid) != os.Geteuid() {
		return 0, ErrForeign
	}
	return st.Size, nil
}

func lock(f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return ErrInUse
	}
	return err //nolint:wrapcheck // the caller names the path
}

// read reads a file of that size, into memory of this process.
func read(f io.Reader, size int64) (*Left, error) {
	if size > headerSize+maxBuckets*decide.BucketSize+maxNames {
		return nil, fmt.Errorf("%w: %d octets", ErrDamaged, size)
	}
	head := make([]byte, headerSize)
	if _, err := io.ReadFull(f, head); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	n, seed, older, err := parseHeader(head)
	if err != nil {
		return nil, err
	}
	if size < headerSize+int64(n)*decide.BucketSize {
		return nil, fmt.Errorf("%w: shorter than its table", ErrDamaged)
	}
	buckets := make([]decide.Bucket, n)
	if _, err := io.ReadFull(f, unsafe.Slice((*byte)(unsafe.Pointer(&buckets[0])), n*decide.BucketSize)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if older {
		decide.ConvertBuckets(buckets)
	}
	names, err := io.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	l := &Left{Seed: seed, Registries: make(map[uint32]string), Holds: decide.HoldsIn(buckets)}
	l.parseNames(names)
	return l, nil
}

// make makes the file under a name of its own, with all the memory it takes: what
// is not there now would be missing on the path of a query.
func (t *Table) make(buckets int) error {
	temp := t.path + ".new"
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err //nolint:wrapcheck // of a start that was cut short; names the path
	}
	var err error
	if t.file, err = os.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600); err != nil {
		return err //nolint:wrapcheck // names the path
	}
	if err := lock(t.file); err != nil {
		return err
	}
	size := headerSize + int64(buckets)*decide.BucketSize
	if err := unix.Fallocate(int(t.file.Fd()), 0, 0, size); err != nil {
		return fmt.Errorf("reserve %d octets: %w", size, err)
	}
	t.memory, err = unix.Mmap(int(t.file.Fd()), 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return fmt.Errorf("map %d octets: %w", size, err)
	}
	t.tail = size
	first := (*decide.Bucket)(unsafe.Pointer(&t.memory[headerSize]))
	t.Holds = decide.HoldsIn(unsafe.Slice(first, buckets))
	runtime.AddCleanup(t.Holds, func(memory []byte) { _ = unix.Munmap(memory) }, t.memory)
	return nil
}

// Name makes sure that the file has the names of the numbers in use. Call it before
// entries hold a number that is new. regions is by number; registries gives the keys
// by number, from one on.
func (t *Table) Name(regions [decide.MaxRegions]string, registries func(from int) []string) error {
	var b []byte
	for i, name := range regions {
		if name != t.regions[i] {
			b = appendName(b, regionName, uint32(i), name)
		}
	}
	keys := registries(t.named)
	for i, key := range keys {
		b = appendName(b, registryName, uint32(t.named+i), key)
	}
	if _, err := t.file.WriteAt(b, t.tail); err != nil {
		return fmt.Errorf("%s: names of registries: %w", t.path, err)
	}
	t.tail += int64(len(b))
	t.regions, t.named = regions, t.named+len(keys)
	return nil
}

// Publish puts the table in the place of the one before, which stays readable until
// [Table.Forget]. seed is what its keys were made with.
func (t *Table) Publish(seed uint64) error {
	copy(t.memory, header((len(t.memory)-headerSize)/decide.BucketSize, seed))
	if err := os.Rename(t.path+".new", t.path); err != nil {
		return err //nolint:wrapcheck // names the path
	}
	t.published = true
	return nil
}

// Again reads once more what the process before left: as long as that is alive it may go
// on writing there.
func (t *Table) Again() (*Left, error) {
	if t.before == nil {
		return nil, fs.ErrNotExist
	}
	if _, err := t.before.Seek(0, io.SeekStart); err != nil {
		return nil, err //nolint:wrapcheck // names the path
	}
	info, err := t.before.Stat()
	if err != nil {
		return nil, err //nolint:wrapcheck // names the path
	}
	return read(t.before, info.Size())
}

// Forget lets go of what the process before left.
func (t *Table) Forget() {
	if t.before != nil {
		_ = t.before.Close()
		t.before = nil
	}
}

// Lend lets the next process read the table and put its own in its place, while this
// one goes on using it. Back undoes it; it fails when another process has the file.
func (t *Table) Lend() error {
	return unix.Flock(int(t.file.Fd()), unix.LOCK_UN) //nolint:wrapcheck // cannot fail for an open file
}

// Back undoes Lend.
func (t *Table) Back() error { return lock(t.file) }

// Close lets go of the file, and removes it when all it holds is saved elsewhere. A
// table that was never published leaves the one before.
func (t *Table) Close(saved bool) error {
	if !t.published {
		t.abandon()
		return nil
	}
	t.Forget()
	var err error
	if saved {
		err = os.Remove(t.path)
	}
	return errors.Join(err, t.file.Close())
}

// abandon undoes Create.
func (t *Table) abandon() {
	if t.file != nil {
		_ = os.Remove(t.file.Name())
		_ = t.file.Close()
	}
	if t.before != nil {
		_ = t.before.Close()
	}
}
