package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRunErrors(t *testing.T) {
	t.Parallel()
	text := filepath.Join(t.TempDir(), "page.html")
	if err := os.WriteFile(text, []byte("not found"), 0o600); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "places.bin")
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"no databases", []string{"-o", out}, "fetch.sh"},
		{"no such file", []string{"-o", out, text + "x"}, "no such file"},
		{"no database", []string{"-o", out, text}, "not a MaxMind DB file"},
		{"no such flag", []string{"-x"}, "not defined"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if err := run(c.args, io.Discard); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a failed run left a file")
	}
}
