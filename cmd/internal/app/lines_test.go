package app_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"portolan.dev/cmd/internal/app"
)

// Each fault has a line, and no line loses what wraps its fault.
func TestLines(t *testing.T) {
	a, b, c := errors.New("a"), errors.New("b"), errors.New("c")
	for _, tc := range []struct {
		err  error
		want []string
	}{
		{a, []string{"a"}},
		{fmt.Errorf("x: %w", a), []string{"x: a"}},
		{errors.Join(a, b), []string{"a", "b"}},
		{errors.Join(a), []string{"a"}},
		{errors.Join(a, errors.Join(b, c)), []string{"a", "b", "c"}},
		{fmt.Errorf("x: %w", errors.Join(a, b)), []string{"x: a", "x: b"}},
		{fmt.Errorf("reload: %w; try again", fmt.Errorf("x: %w", errors.Join(a, b))), []string{"reload: x: a; try again", "reload: x: b; try again"}},
		{fmt.Errorf("%w: %w", a, b), []string{"a: b"}},
		{fmt.Errorf("ledger f: %w; put it back", fmt.Errorf("%w: %w", a, b)), []string{"ledger f: a: b; put it back"}},
		{errors.Join(fmt.Errorf("ledger f: %w", fmt.Errorf("%w: %w", a, b)), c), []string{"ledger f: a: b", "c"}},
	} {
		if got := app.Lines(tc.err); !slices.Equal(got, tc.want) {
			t.Errorf("%q: %q, want %q", tc.err, got, tc.want)
		}
	}
}
