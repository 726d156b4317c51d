package ledger

import (
	"context"
	"time"
)

// holdsFile is where the saved table lies.
func holdsFile() sidecar {
	return sidecar{suffix: ".holds", key: "table", what: "saved table", bound: MaxHolds}
}

// PutHolds implements [Saved]. It never delays Append.
func (f *File) PutHolds(ctx context.Context, table []byte) error {
	return f.putBeside(ctx, holdsFile(), table)
}

// Holds implements [Saved].
func (f *File) Holds(ctx context.Context) ([]byte, time.Time, error) {
	return f.readBeside(ctx, holdsFile())
}
