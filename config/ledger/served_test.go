package ledger

import (
	"errors"
	"os"
	"testing"
	"time"
)

func TestServed(t *testing.T) {
	path, clk := tempPath(t), newClock()
	f := mustOpen(t, path, Options{Now: clk.now})
	if got, at, err := f.Served(t.Context()); got != nil || !at.IsZero() || err != nil {
		t.Errorf("none saved: %v %v %v", got, at, err)
	}
	for _, want := range []string{"one", "", "another one"} {
		clk.move(time.Second)
		if err := f.PutServed(t.Context(), []byte(want)); err != nil {
			t.Fatal(err)
		}
		mustClose(t, f)
		f = mustOpen(t, path, Options{Now: clk.now})
		if got, at, err := f.Served(t.Context()); string(got) != want || !at.Equal(clk.now()) || err != nil {
			t.Errorf("%q of %q, %v, %v", got, want, at, err)
		}
	}
	name := path + servedFile().suffix
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-1] ^= 1
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, _, err := f.Served(t.Context()); !errors.Is(err, ErrCorrupt) || got != nil {
		t.Errorf("damaged: %q, %v", got, err)
	}
}
