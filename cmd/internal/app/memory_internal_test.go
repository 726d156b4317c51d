package app

import (
	"os"
	"path/filepath"
	"testing"
)

// TestGroupLimit finds the least limit on the way up.
func TestGroupLimit(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("memory.max", "9000\n")
	write("a/memory.max", "5000\n")
	write("a/b/memory.max", "max\n")
	write("c/memory.max", "7000\n")
	for _, tt := range []struct {
		self string
		want uint64
		ok   bool
	}{
		{"0::/a/b\n", 5000, true},
		{"12:cpu:/x\n0::/c\n", 7000, true},
		{"0::/\n", 9000, true},
		{"0::/gone/../c\n", 7000, true},
		{"4:memory:/a\n", 0, false},
		{"", 0, false},
	} {
		got, ok := groupLimit(write("self", tt.self), root)
		if ok != tt.ok || ok && got != tt.want {
			t.Errorf("%q: %d, %t, want %d, %t", tt.self, got, ok, tt.want, tt.ok)
		}
	}
	if _, ok := groupLimit(filepath.Join(root, "nowhere"), root); ok {
		t.Error("a limit from nowhere")
	}
}

// TestGCPercent leaves a fixed amount of garbage, within bounds.
func TestGCPercent(t *testing.T) {
	for live, want := range map[uint64]int{0: 100, 10 << 20: 100, 48 << 20: 50, 240 << 20: 10, 4 << 30: 5} {
		if got := gcPercent(live); got != want {
			t.Errorf("%d MB: %d %%, want %d", live>>20, got, want)
		}
	}
}
