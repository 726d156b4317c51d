package secretfile

import (
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Roots are the authorities that the system trusts. The standard library reads them once
// in the life of a process; these are read again when they change. Make them with
// [SystemRoots].
type Roots struct {
	files, folders []string
	pool           atomic.Pointer[x509.CertPool]
	digest         atomic.Pointer[[sha256.Size]byte]

	mu sync.Mutex // one look at a time
}

// SystemRoots keeps the authorities of the system from where the standard library does;
// on systems where those are in no file, as macOS, what is kept is nil, for the library to
// use its own way. A system without any has an empty pool: nothing is trusted.
func SystemRoots() *Roots {
	r := &Roots{files: rootFiles(), folders: rootFolders()}
	if file := os.Getenv("SSL_CERT_FILE"); file != "" && len(r.files) > 0 {
		r.files = []string{file}
	}
	if folders := os.Getenv("SSL_CERT_DIR"); folders != "" && len(r.folders) > 0 {
		r.folders = filepath.SplitList(folders)
	}
	r.digest.Store(&[sha256.Size]byte{})
	return r
}

// Get returns the pool; nil for what the standard library trusts. Only the first call
// reads files.
func (r *Roots) Get() *x509.CertPool {
	if r.pool.Load() == nil {
		r.load()
	}
	return r.pool.Load()
}

// Look implements [Looker]. What cannot be read is left out, as in the standard library;
// what nobody has wanted yet is not read.
func (r *Roots) Look() (changed bool, err error) { return r.pool.Load() != nil && r.load(), nil }

// load reads the authorities if they have changed.
func (r *Roots) load() (changed bool) {
	if len(r.files)+len(r.folders) == 0 {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	digest := r.stamp()
	if r.pool.Load() != nil && digest == *r.digest.Load() {
		return false
	}
	r.pool.Store(r.read())
	r.digest.Store(&digest)
	return true
}

// stamp changes when a file does, or what is in a folder: which may be many files, so
// they are not read to find out.
func (r *Roots) stamp() [sha256.Size]byte {
	var text strings.Builder
	for _, path := range slices.Concat(r.files, r.folders) {
		if info, err := os.Stat(path); err == nil {
			fmt.Fprintln(&text, path, info.ModTime().UnixNano(), info.Size())
		}
	}
	return sha256.Sum256([]byte(text.String()))
}

// read makes a pool of the first file that there is, and of all that is in the folders.
func (r *Roots) read() *x509.CertPool {
	pool := x509.NewCertPool()
	for _, path := range r.files {
		if text, err := os.ReadFile(path); err == nil {
			pool.AppendCertsFromPEM(text)
			break
		}
	}
	for _, folder := range r.folders {
		entries, err := os.ReadDir(folder)
		if err != nil {
			continue
		}
		for _, e := range entries {
			// The names of digests that c_rehash makes lead to files beside them.
			if to, err := os.Readlink(filepath.Join(folder, e.Name())); err == nil && !strings.Contains(to, "/") {
				continue
			}
			if text, err := os.ReadFile(filepath.Join(folder, e.Name())); err == nil {
				pool.AppendCertsFromPEM(text)
			}
		}
	}
	return pool
}

// Name implements [Looker].
func (*Roots) Name() string { return "the authorities of the system" }

// Paths implements [Looker].
func (r *Roots) Paths() []string { return slices.Concat(r.files, r.folders) }

// Digest implements [Looker].
func (r *Roots) Digest() [sha256.Size]byte { return *r.digest.Load() }

// Source stands among the files of what depends on the authorities, so that it is made
// again when they change. Its text means nothing.
func (r *Roots) Source() Source {
	return Source{read: func() ([]byte, error) {
		r.load()
		digest := r.Digest()
		return digest[:], nil
	}}
}
