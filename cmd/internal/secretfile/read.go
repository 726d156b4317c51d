package secretfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

const (
	// MaxSecret is a bound for files of secrets in octets; a few lines are what they need.
	MaxSecret = 64 << 10
	// MaxPEM is one for certificates and bundles of them.
	MaxPEM = 1 << 20
)

// openToOthers are the bits of a mode that a secret may not have: writing for the group,
// anything for the rest.
const openToOthers = 0o027

// Source is a file.
type Source struct {
	Path string
	// Secret says that others may not read it.
	Secret bool
	// Most is how many octets it may have.
	Most int64

	// read is used instead of a file, if it is not nil.
	read func() ([]byte, error)
}

// Secret is a file of secrets.
func Secret(path string) Source { return Source{Path: path, Secret: true, Most: MaxSecret} }

// Key is a file with a private key.
func Key(path string) Source { return Source{Path: path, Secret: true, Most: MaxPEM} }

// PEM is a file of certificates.
func PEM(path string) Source { return Source{Path: path, Most: MaxPEM} }

// Read returns what the file holds, or an error that names it and what to do.
func (s Source) Read() ([]byte, error) {
	if s.read != nil {
		return s.read()
	}
	info, err := os.Stat(s.Path) // before opening, which waits where it is a pipe
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: paths are relative to the file that names them", err)
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s: is no regular file: name a file", s.Path)
	}
	f, err := os.Open(s.Path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	// The mode is that of what is read, whatever has been put in its place since.
	if info, err = f.Stat(); err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); s.Secret && mode&openToOthers != 0 {
		return nil, fmt.Errorf("%s: mode %04o lets others in: chmod 0640 or 0600", s.Path, mode)
	}
	text, err := io.ReadAll(io.LimitReader(f, s.Most+1))
	if err == nil && int64(len(text)) > s.Most {
		return nil, fmt.Errorf("%s: has more than %d octets: that is too many for what it is named for", s.Path, s.Most)
	}
	return text, err
}
