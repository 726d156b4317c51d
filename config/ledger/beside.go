package ledger

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// sidecar is a file beside the log, whose name ends in suffix: when it was saved in
// nanoseconds since 1970, then what was saved, and before both their checksum as of
// the record key of a bucket named like the suffix. It is replaced as a whole.
type sidecar struct {
	suffix, key, what string
	bound             int // of what is saved, in bytes
}

// stampLen is the length of the moment before what is saved.
const stampLen = 8

// putBeside replaces a file beside the log. It never delays Append.
func (f *File) putBeside(ctx context.Context, s sidecar, b []byte) error {
	if err := f.usable(ctx); err != nil {
		return err
	}
	if len(b) > s.bound {
		return fmt.Errorf("%w: %s of %d bytes: at most %d", ErrInvalid, s.what, len(b), s.bound)
	}
	f.besideMu.Lock()
	defer f.besideMu.Unlock()
	if err := f.usable(ctx); err != nil { // it may have been closed meanwhile, and be another's
		return err
	}
	payload := binary.BigEndian.AppendUint64(make([]byte, 0, stampLen+len(b)), uint64(f.now().UnixNano()))
	payload = append(payload, b...)
	if err := replaceFile(f.path+s.suffix, seal(s.suffix, []byte(s.key), payload)); err != nil {
		return fmt.Errorf("%s: %w", s.what, err)
	}
	return nil
}

// readBeside reads a file beside the log and when it was saved; nil and the zero
// time if there is none.
func (f *File) readBeside(ctx context.Context, s sidecar) ([]byte, time.Time, error) {
	if err := f.usable(ctx); err != nil {
		return nil, time.Time{}, err
	}
	file, err := os.Open(f.path + s.suffix)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, time.Time{}, nil
	} else if err != nil {
		return nil, time.Time{}, fmt.Errorf("%s: %w", s.what, err)
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, int64(sumLen+stampLen+s.bound+1)))
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("%s: %w", s.what, err)
	}
	payload, err := unseal(s.suffix, []byte(s.key), b)
	if err != nil || len(payload) < stampLen {
		return nil, time.Time{}, fmt.Errorf("%s %s: %w: checksum does not match; it is not used, and replaced the next time it is saved",
			s.what, file.Name(), ErrCorrupt)
	}
	at := time.Unix(0, int64(binary.BigEndian.Uint64(payload))).UTC()
	return payload[stampLen:], at, nil
}

// replaceFile makes b the contents of path, durably, or leaves it as it was.
func replaceFile(path string, b []byte) error {
	temp := path + ".new"
	file, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err //nolint:wrapcheck // names the path
	}
	_, err = io.Copy(file, bytes.NewReader(b))
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return syncDir(filepath.Dir(path))
}
