package sandbox_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"portolan.dev/cmd/internal/sandbox"
)

// confinedIn makes a test process confine itself, for it cannot be undone: to read
// and write in two folders, then tell what it can do there and in a third.
const confinedIn = "PORTOLAN_TEST_CONFINED_IN"

func TestMain(m *testing.M) {
	if dir := os.Getenv(confinedIn); dir != "" {
		confined(dir, os.Getenv("PORTOLAN_TEST_EXECUTE") != "")
		return
	}
	m.Run()
}

func confined(dir string, execute bool) {
	sub := func(name, file string) string { return filepath.Join(dir, name, file) }
	status, err := sandbox.Confine(sandbox.Paths{
		Read: []string{sub("read", ""), sub("missing", "")}, Write: []string{sub("write", "")}, Execute: execute,
	})
	fmt.Fprintln(os.Stdout, "status", status, err)
	for _, name := range []string{"read", "write", "other"} {
		_, err := os.ReadFile(sub(name, "file"))
		fmt.Fprintln(os.Stdout, name, "open", short(err))
		_, err = os.ReadDir(sub(name, ""))
		fmt.Fprintln(os.Stdout, name, "list", short(err))
		fmt.Fprintln(os.Stdout, name, "create", short(os.WriteFile(sub(name, "new"), nil, 0o600)))
		fmt.Fprintln(os.Stdout, name, "change", short(os.WriteFile(sub(name, "file"), nil, 0o600)))
		fmt.Fprintln(os.Stdout, name, "rename", short(os.Rename(sub(name, "file"), sub(name, "renamed"))))
		fmt.Fprintln(os.Stdout, name, "remove", short(os.Remove(sub(name, "renamed"))))
	}
	fmt.Fprintln(os.Stdout, "a program", short(exec.Command("/bin/true").Run()))
	_, err = os.ReadFile("/etc/resolv.conf")
	fmt.Fprintln(os.Stdout, "resolv.conf", short(err))
}

func short(err error) string {
	switch {
	case err == nil:
		return "yes"
	case errors.Is(err, fs.ErrPermission):
		return "no"
	case errors.Is(err, fs.ErrNotExist):
		return "missing"
	}
	return err.Error()
}

func TestConfine(t *testing.T) {
	for _, execute := range []bool{false, true} {
		t.Run(fmt.Sprintf("execute=%v", execute), func(t *testing.T) {
			dir := t.TempDir()
			for _, name := range []string{"read", "write", "other"} {
				if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, name, "file"), []byte("text"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			said := inConfinement(t, dir, execute)
			if strings.HasPrefix(said["status"], "off") {
				t.Skip("nothing to see: " + said["status"])
			}
			// With programs to execute, everything can be read, and nothing more written.
			everywhere := map[bool]string{false: "no", true: "yes"}[execute]
			for what, want := range map[string]string{
				"read open": "yes", "read list": "yes", "read create": "no", "read change": "no", "read rename": "no",
				"write open": "yes", "write list": "yes", "write create": "yes", "write change": "yes", "write rename": "yes", "write remove": "yes",
				"other open": everywhere, "other list": everywhere, "other create": "no", "other change": "no", "other rename": "no",
				"a program": everywhere,
			} {
				if said[what] != want {
					t.Errorf("%s: %q, want %q", what, said[what], want)
				}
			}
			if said["resolv.conf"] == "no" {
				t.Error("the resolver's configuration cannot be read")
			}
			for _, want := range []string{filepath.Join(dir, "read"), filepath.Join(dir, "write")} {
				if !strings.Contains(said["status"], want) {
					t.Errorf("status %q does not name %s", said["status"], want)
				}
			}
		})
	}
}

func inConfinement(t *testing.T, dir string, execute bool) map[string]string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), confinedIn+"="+dir)
	if execute {
		cmd.Env = append(cmd.Env, "PORTOLAN_TEST_EXECUTE=1")
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	said := make(map[string]string)
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		if last := len(words) - 1; words[0] == "status" {
			said["status"] = strings.Join(words[1:], " ")
		} else {
			said[strings.Join(words[:last], " ")] = words[last]
		}
	}
	return said
}

func TestHint(t *testing.T) {
	text := fmt.Sprintf("open /elsewhere/zone: %v", syscall.EACCES)
	if got := sandbox.Hint("on: Landlock 7", text); !strings.Contains(got, "restart") {
		t.Errorf("%q", got)
	}
	if got := sandbox.Hint("off", text) + sandbox.Hint("on: Landlock 7", fs.ErrNotExist.Error()); got != "" {
		t.Errorf("%q", got)
	}
}
