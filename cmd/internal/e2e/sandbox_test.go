//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSandbox reloads with a zone file from a folder that the first configuration
// did not name: a confined server says what is the matter and goes on, one that is
// told not to confine itself reads it.
func TestSandbox(t *testing.T) {
	t.Parallel()
	elsewhere := filepath.Join(t.TempDir(), "zone")
	if err := os.WriteFile(elsewhere, []byte("www 60 A 192.0.2.80\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	named := func(config string) string {
		return strings.Replace(config, "{nameservers", "{records: "+elsewhere+", nameservers", 1)
	}
	t.Run("on", func(t *testing.T) {
		t.Parallel()
		s := serve(t, nil, minimal)
		if line := s.log.line(0, "msg=confined"); strings.Contains(line, "the kernel has no Landlock") {
			t.Skip(line)
		} else if !strings.Contains(line, s.dir) {
			t.Errorf("the log does not name %s: %q", s.dir, line)
		}
		line := s.reload(named(minimal))
		for _, want := range []string{"serving goes on unchanged", elsewhere, "permission denied", "restart the server"} {
			if !strings.Contains(line, want) {
				t.Errorf("%q does not say %q", line, want)
			}
		}
		if line := s.reload(minimal); !strings.Contains(line, "msg=reloaded") {
			t.Errorf("the old configuration again: %s", line)
		}
	})
	t.Run("off", func(t *testing.T) {
		t.Parallel()
		off := strings.Replace(minimal, "server: {", "server: {sandbox: false, ", 1)
		s := serve(t, nil, off)
		if line := s.reload(named(off)); !strings.Contains(line, "msg=reloaded") {
			t.Error(line)
		}
	})
}
