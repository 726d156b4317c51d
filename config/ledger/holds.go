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

// The saved table lies beside the log, in a file whose name ends in holdsSuffix: when
// it was saved in nanoseconds since 1970, then the table, and before both their
// checksum as of a record of that bucket.
const (
	holdsSuffix = ".holds"
	holdsHeader = sumLen + 8
	holdsKey    = "table"
)

// PutHolds implements [Saved]. It never delays Append.
func (f *File) PutHolds(ctx context.Context, table []byte) error {
	if err := f.usable(ctx); err != nil {
		return err
	}
	if len(table) > MaxHolds {
		return fmt.Errorf("%w: saved table of %d bytes: at most %d", ErrInvalid, len(table), MaxHolds)
	}
	f.holdsMu.Lock()
	defer f.holdsMu.Unlock()
	if err := f.usable(ctx); err != nil { // it may have been closed meanwhile, and be another's
		return err
	}
	payload := binary.BigEndian.AppendUint64(make([]byte, 0, 8+len(table)), uint64(f.now().UnixNano()))
	payload = append(payload, table...)
	if err := replaceFile(f.path+holdsSuffix, seal(holdsSuffix, []byte(holdsKey), payload)); err != nil {
		return fmt.Errorf("saved table: %w", err)
	}
	return nil
}

// Holds implements [Saved].
func (f *File) Holds(ctx context.Context) ([]byte, time.Time, error) {
	if err := f.usable(ctx); err != nil {
		return nil, time.Time{}, err
	}
	file, err := os.Open(f.path + holdsSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, time.Time{}, nil
	} else if err != nil {
		return nil, time.Time{}, fmt.Errorf("saved table: %w", err)
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, holdsHeader+MaxHolds+1))
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("saved table: %w", err)
	}
	payload, err := unseal(holdsSuffix, []byte(holdsKey), b)
	if err != nil || len(payload) < 8 {
		return nil, time.Time{}, fmt.Errorf("saved table %s: %w: checksum does not match; it is not used, and replaced the next time it is saved",
			file.Name(), ErrCorrupt)
	}
	at := time.Unix(0, int64(binary.BigEndian.Uint64(payload))).UTC()
	return payload[8:], at, nil
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
