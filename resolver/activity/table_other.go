//go:build !linux

package activity

import (
	"fmt"
	"time"

	"portolan.dev/resolver/decide"
)

// Table is a table in shared memory: there is none here.
type Table struct {
	// Holds is the table.
	Holds *decide.Holds
}

// Create fails: the table of this process is its own.
func Create(path string, _ int) (t *Table, left *Left, why, err error) {
	return nil, nil, nil, fmt.Errorf("%s: shared memory is %w", path, ErrUnsupported)
}

// Sweep does nothing.
func Sweep(string, time.Time) int { return 0 }

// Name does nothing.
func (*Table) Name([decide.MaxRegions]string, func(from int) []string) error { return nil }

// Publish does nothing.
func (*Table) Publish(uint64) error { return nil }

// Close does nothing.
func (*Table) Close(bool) error { return nil }

// Again fails: there is no table.
func (*Table) Again() (*Left, error) { return nil, ErrUnsupported }

// Forget does nothing.
func (*Table) Forget() {}

// Lend does nothing.
func (*Table) Lend() error { return nil }

// Back does nothing.
func (*Table) Back() error { return nil }

// Notes is what a process keeps beside its table: nothing here.
type Notes struct{}

// NewNotes returns notes that keep nothing.
func NewNotes(string) *Notes { return &Notes{} }

// Write fails: there is nowhere to keep them.
func (*Notes) Write([]byte) error { return ErrUnsupported }

// LeftNotes returns none.
func LeftNotes(string) (map[string][]byte, error) { return nil, nil }
