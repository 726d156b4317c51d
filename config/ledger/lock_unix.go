//go:build unix && !solaris && !illumos && !aix

package ledger

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lockPoll is how often a lock that is held is tried again.
const lockPoll = 50 * time.Millisecond

// lockFile takes the lock bbolt is going to take, on the same open file, so that
// nobody writes to it while its pages are checked.
func lockFile(f *os.File, timeout time.Duration) error {
	for waited := time.Duration(0); ; waited += lockPoll {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.EINTR):
		case !errors.Is(err, unix.EWOULDBLOCK):
			return fmt.Errorf("lock: %w", err)
		case waited >= timeout:
			return ErrLocked
		}
		time.Sleep(lockPoll)
	}
}

// unlockFile lets go of the lock. Closing the file does not while it is mapped.
func unlockFile(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_UN) }

// syncDir makes the creation or renaming of a file in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, unix.EINVAL) { // EINVAL: this file system has no such thing
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}
