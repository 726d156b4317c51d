package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"
)

// The defaults of [Options].
const (
	DefaultRetain    = 30 * 24 * time.Hour
	DefaultMaxEvents = 100_000
	DefaultTimeout   = time.Second
)

// Options are what Open takes beside the path. Zero values mean the defaults.
type Options struct {
	// Now reads the clock. Required.
	Now func() time.Time
	// Retain is how long events stay in the log. Their effect on the state stays
	// until it is undone.
	Retain time.Duration
	// MaxEvents is how many events stay at most, however young. It may be exceeded
	// by a few thousand between two compactions.
	MaxEvents int
	// Timeout is how long to wait for another process to let go of the file.
	Timeout time.Duration
}

func (o Options) withDefaults() Options {
	if o.Retain <= 0 {
		o.Retain = DefaultRetain
	}
	if o.MaxEvents <= 0 {
		o.MaxEvents = DefaultMaxEvents
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	return o
}

// Open opens the ledger in the file path, and creates it (mode 0600, in a
// folder made with mode 0700) if there is none. It reads the whole file once and
// checks it; what is damaged in any way is refused with ErrCorrupt and left as it
// is. If another process has it, the error is ErrLocked. What a process that was
// killed had not finished writing is gone without a trace, what it had is there.
func Open(path string, o Options) (*File, error) {
	if o.Now == nil {
		return nil, fmt.Errorf("%w: ledger options without a clock", ErrInvalid)
	}
	o = o.withDefaults()
	if err := create(path); err != nil {
		return nil, fmt.Errorf("ledger %s: create: %w; check the folder state.dir names", path, err)
	}
	f := &File{
		path: path, o: o, writes: make(chan *write),
		stop: make(chan struct{}), done: make(chan struct{}), grown: make(chan struct{}),
	}
	if err := f.open(); err != nil {
		f.abandon()
		return nil, advise(path, err)
	}
	f.compacting.Store(true)
	go f.run() // ends with Close
	return f, nil
}

// open maps the file, which holds its lock then, and loads the state.
func (f *File) open() error {
	return guard(func() error {
		var err error
		f.db, err = bbolt.Open(f.path, 0o600, &bbolt.Options{
			Timeout:      f.o.Timeout,
			FreelistType: bbolt.FreelistMapType,
			NoStatistics: true,
			OpenFile:     f.openChecked,
		})
		if err != nil {
			return err //nolint:wrapcheck // advise does
		}
		return f.db.View(func(tx *bbolt.Tx) error {
			if f.state, f.first, err = load(tx); errors.Is(err, ErrNewer) {
				return err
			} else if err != nil {
				return fmt.Errorf("%w: %w", ErrCorrupt, err)
			}
			return nil
		})
	})
}

// abandon lets go of the file after open has failed, at whatever point. Nothing was
// written and another error is reported, so errors do not count.
func (f *File) abandon() {
	if f.db != nil {
		_ = guard(f.db.Close)
	}
	if f.file != nil { // bbolt panicked on the way, or it is closed already
		_ = unlockFile(f.file)
		_ = f.file.Close()
	}
}

// openChecked opens the file for bbolt, which maps it next and trusts it from
// then on.
func (f *File) openChecked(path string, flag int, mode fs.FileMode) (*os.File, error) {
	file, err := os.OpenFile(path, flag&^os.O_CREATE, mode)
	if err != nil {
		return nil, err //nolint:wrapcheck // names the path
	}
	f.file = file
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, err //nolint:wrapcheck // names the path
	case !info.Mode().IsRegular():
		return nil, errors.New("not a regular file")
	}
	if err := lockFile(file, f.o.Timeout); err != nil {
		return nil, err
	}
	if info, err = file.Stat(); err != nil { // again: it may have grown before we had the lock
		return nil, err //nolint:wrapcheck // names the path
	}
	if err := checkPages(file, info.Size()); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return file, nil
}

// create makes the file if there is none. It is filled under another name first,
// so that a file of this name is always a whole ledger: an empty one is damage, not
// a start that was cut short. Link, unlike rename, never replaces the ledger of
// a server that did the same at the same time.
func create(path string) error {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return err //nolint:wrapcheck // names the path
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err //nolint:wrapcheck // names the path
	}
	temp, err := os.CreateTemp(dir, filepath.Base(path)+".*.new")
	if err != nil {
		return err //nolint:wrapcheck // names the path
	}
	defer os.Remove(temp.Name())
	if err := temp.Close(); err != nil {
		return err //nolint:wrapcheck // names the path
	}
	db, err := bbolt.Open(temp.Name(), 0o600, &bbolt.Options{FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return err //nolint:wrapcheck // names the path
	}
	if err := errors.Join(db.Update(layout), db.Close()); err != nil {
		return err
	}
	if err := os.Link(temp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err //nolint:wrapcheck // names the path
	}
	return syncDir(dir)
}

// advise adds to an error of open what to do.
func advise(path string, err error) error {
	switch {
	case errors.Is(err, ErrLocked), errors.Is(err, bbolterrors.ErrTimeout):
		return fmt.Errorf("ledger %s: %w: another server uses it: stop it, or set state.dir to another folder; one that was killed has it until its disk answers", path, ErrLocked)
	case errors.Is(err, ErrNewer):
		return fmt.Errorf("ledger %s: %w; start that version, or put back a backup of the file from before it: nothing has been changed", path, err)
	case errors.Is(err, ErrCorrupt):
		return fmt.Errorf("ledger %s: %w; put a backup of the file back, or move it away to start with an empty one: "+
			"then drains, routing switches, what is known to be down and the SOA serials are lost", path, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("ledger %s: %w; the user the server runs as must own the file and its folder", path, err)
	}
	return fmt.Errorf("ledger %s: %w", path, err)
}
