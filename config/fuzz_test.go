package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzParse sees that any document is either complete or refused with errors that
// can be shown to people: one printable line each, in order, bounded.
func FuzzParse(f *testing.F) {
	paths, err := filepath.Glob("../testdata/config/*/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 64<<10 {
			return
		}
		c, err := Options{KnownRegion: knownForTest}.Parse("f.yaml", data)
		if err == nil {
			checkComplete(t, c)
			checkLines(t, c.Warnings)
			return
		}
		var errs Errors
		if !errors.As(err, &errs) || len(errs) == 0 || c != nil {
			t.Fatalf("gave %v, %v", c, err)
		}
		checkLines(t, errs)
	})
}

func checkLines(t *testing.T, errs Errors) {
	t.Helper()
	if len(errs) > MaxErrors+1 {
		t.Errorf("%d errors", len(errs))
	}
	for i, e := range errs {
		line := e.Error()
		if !utf8.ValidString(line) || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f }) || len(line) > 4096 {
			t.Errorf("not fit to print: %q", line)
		}
		if i > 0 && e.File != "" && (e.Line < errs[i-1].Line || e.Line == errs[i-1].Line && e.Column < errs[i-1].Column) {
			t.Errorf("out of order: %v after %v", e, errs[i-1])
		}
	}
}
