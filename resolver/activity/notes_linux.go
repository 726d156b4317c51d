package activity

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// maxNotes is the most that is read of notes, in bytes.
const maxNotes = 64 << 20

// notesInfix stands between the path of a table and the process whose notes a file
// holds. It has no "-", so that [Sweep] takes the file for one of its table's server.
const notesInfix = ".verdicts."

// Notes is what a process keeps beside its table for the case that it is killed: a few
// octets that are replaced as a whole, in memory, without waiting for a disk. Each
// process has a file of its own. Its methods are not safe for concurrent use.
type Notes struct {
	path    string
	written bool
}

// NewNotes returns the notes of this process beside a table of [Path], nothing yet.
func NewNotes(path string) *Notes { return &Notes{path: path + notesInfix + strconv.Itoa(os.Getpid())} }

// Write replaces the notes; empty ones leave no file.
func (n *Notes) Write(text []byte) error {
	if len(text) == 0 {
		if !n.written {
			return nil
		}
		n.written = false
		return os.Remove(n.path) //nolint:wrapcheck // names the path
	}
	temp := n.path + ".new"
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err //nolint:wrapcheck // names the path
	}
	if _, err := own(f); err != nil {
		return errors.Join(fmt.Errorf("%s: %w", temp, err), f.Close())
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	if err := os.Rename(temp, n.path); err != nil {
		return err //nolint:wrapcheck // names the path
	}
	n.written = true
	return nil
}

// LeftNotes returns what other processes of this user have noted beside a table, by
// file. What is not this user's alone is passed over.
func LeftNotes(path string) (notes map[string][]byte, err error) {
	names, err := filepath.Glob(path + notesInfix + "*")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	own := NewNotes(path).path
	notes = make(map[string][]byte)
	var errs []error
	for _, name := range names {
		if strings.HasSuffix(name, ".new") || name == own {
			continue
		}
		text, err := readNotes(name)
		switch {
		case err == nil:
			notes[name] = text
		case !errors.Is(err, fs.ErrNotExist):
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	return notes, errors.Join(errs...)
}

func readNotes(name string) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err //nolint:wrapcheck // the caller names the path
	}
	defer f.Close()
	if size, err := own(f); err != nil {
		return nil, err
	} else if size > maxNotes {
		return nil, fmt.Errorf("%w: %d octets", ErrDamaged, size)
	}
	return io.ReadAll(f) //nolint:wrapcheck // the caller names the path
}
