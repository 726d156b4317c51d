package ledger

import (
	"context"
	"time"
)

// MaxServed is the most that PutServed takes, in bytes: room for a million registries.
const MaxServed = 256 << 20

func servedFile() sidecar {
	return sidecar{suffix: ".served", key: "served", what: "record of what was served", bound: MaxServed}
}

// PutServed implements [Served]. It never delays Append.
func (f *File) PutServed(ctx context.Context, record []byte) error {
	return f.putBeside(ctx, servedFile(), record)
}

// Served implements [Served].
func (f *File) Served(ctx context.Context) ([]byte, time.Time, error) {
	return f.readBeside(ctx, servedFile())
}
