package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// maxTargets bounds what is saved of targets, in bytes: room for more than 100,000
// of them with four addresses each.
const maxTargets = 32 << 20

func targetsFile() sidecar {
	return sidecar{suffix: ".targets", key: "targets", what: "saved addresses of targets", bound: maxTargets}
}

type targetsRecord struct {
	version
	Targets []Target `json:"targets"`
}

// PutTargets implements [Saved]. It never delays Append.
func (f *File) PutTargets(ctx context.Context, targets []Target) error {
	b, err := json.Marshal(targetsRecord{version{schema}, targets})
	if err != nil {
		return fmt.Errorf("%w: targets: %w", ErrInvalid, err)
	}
	return f.putBeside(ctx, targetsFile(), b)
}

// Targets implements [Saved].
func (f *File) Targets(ctx context.Context) ([]Target, time.Time, error) {
	b, at, err := f.readBeside(ctx, targetsFile())
	if b == nil || err != nil {
		return nil, time.Time{}, err
	}
	var r targetsRecord
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, time.Time{}, fmt.Errorf("saved addresses of targets: %w: %w", ErrCorrupt, err)
	}
	if err := r.check(); err != nil {
		return nil, time.Time{}, fmt.Errorf("saved addresses of targets: %w: %w", ErrCorrupt, err)
	}
	return r.Targets, at, nil
}
