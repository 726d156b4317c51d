package secretfile

import (
	"bytes"
	"crypto/sha256"
	"sync"
	"sync/atomic"
)

// Looker is something that is kept of files, for who has it look at them.
type Looker interface {
	// Look reads the files. It reports that what is kept has changed, or why the files
	// cannot be used: then what is kept stays. The same error comes once in a row.
	Look() (changed bool, err error)
	// Name says what it is in the configuration, as in "probes.registry.ca_file".
	Name() string
	// Paths are those of the files.
	Paths() []string
	// Digest is that of the files: it tells two versions apart.
	Digest() [sha256.Size]byte
}

// Kept is what was made of some files. Make one with [Keep]. Its methods may be called
// from any number of goroutines.
type Kept[T any] struct {
	name    string
	sources []Source
	parse   func(texts [][]byte) (T, error)
	value   atomic.Pointer[made[T]]

	mu      sync.Mutex // one look at a time; guards refused
	refused string     // the last error
}

// made is a value, and the digest of what it was made of.
type made[T any] struct {
	value  T
	digest [sha256.Size]byte
}

// Keep reads the files of a part of the configuration, and keeps what parse makes of
// their texts, which come in the order of sources.
func Keep[T any](name string, parse func(texts [][]byte) (T, error), sources ...Source) (*Kept[T], error) {
	k := &Kept[T]{name: name, sources: sources, parse: parse}
	m, err := k.make(nil)
	if err != nil {
		return nil, err
	}
	k.value.Store(m)
	return k, nil
}

// Get returns the value. It reads no file.
func (k *Kept[T]) Get() T { return k.value.Load().value }

// make reads the files and makes a value of them; that of now if they are the same.
func (k *Kept[T]) make(now *made[T]) (*made[T], error) {
	texts := make([][]byte, len(k.sources))
	for i, s := range k.sources {
		var err error
		if texts[i], err = s.Read(); err != nil {
			return nil, err
		}
	}
	// Contents, not times: two versions may have one time, and a link may lead to
	// another file that is older.
	sum := sha256.New()
	for _, text := range texts {
		part := sha256.Sum256(text)
		sum.Write(part[:])
	}
	digest := [sha256.Size]byte(sum.Sum(nil))
	if now != nil && now.digest == digest {
		return now, nil
	}
	value, err := k.parse(texts)
	if err != nil {
		return nil, err
	}
	return &made[T]{value, digest}, nil
}

// Look implements [Looker].
func (k *Kept[T]) Look() (changed bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.value.Load()
	next, err := k.make(now)
	if err != nil {
		if err.Error() == k.refused {
			return false, nil
		}
		k.refused = err.Error()
		return false, err
	}
	k.refused = ""
	k.value.Store(next)
	return next != now, nil
}

// Name implements [Looker].
func (k *Kept[T]) Name() string { return k.name }

// Digest implements [Looker].
func (k *Kept[T]) Digest() [sha256.Size]byte { return k.value.Load().digest }

// Paths implements [Looker].
func (k *Kept[T]) Paths() []string {
	out := make([]string, 0, len(k.sources))
	for _, s := range k.sources {
		if s.Path != "" {
			out = append(out, s.Path)
		}
	}
	return out
}

// Lines returns the lines of a text that are not empty and do not begin with #, without
// the space around them, and their numbers from 1.
func Lines(text []byte) (lines [][]byte, numbers []int) {
	for i, line := range bytes.Split(text, []byte("\n")) {
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' {
			lines, numbers = append(lines, line), append(numbers, i+1)
		}
	}
	return lines, numbers
}
