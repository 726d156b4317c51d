//go:build linux

package differential

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// leftOut are what gdnsd does not take as other servers do, and is left out for it.
var leftOut = []struct {
	reason string
	is     func(fields []string) bool
}{
	{"it knows no DNAME: names below one do not exist for it", func(fields []string) bool { return fields[1] == "DNAME" }},
	{"it knows no DS, and refuses data beside a delegation", func(fields []string) bool { return fields[1] == "DS" }},
	{`it reads a whole name \@ as @`, func(fields []string) bool {
		return fields[0] == `\@` || fields[len(fields)-1] == `\@`
	}},
}

// gdnsdFault finds the owner name in what gdnsd says of a zone: it lets no CNAME stand
// beside anything, follows at most 16 of them, wants the addresses of name servers in
// the zone, and has neither wildcards nor other data at and below delegations.
var gdnsdFault = regexp.MustCompile(`(?m)^error: [^']*'([^' ]+)`)

// forGdnsd returns the zones without the records that gdnsd refuses: those whose owner
// it names, or else those at names below it and those that lead to it.
func forGdnsd(t *testing.T, z *zones) *zones {
	t.Helper()
	program, dir := need(t, "gdnsd"), t.TempDir()
	configureGdnsd(t, dir, 1)
	out := &zones{origins: z.origins, files: make(map[string]string)}
	for _, origin := range z.origins {
		var lines []string
		for line := range strings.SplitSeq(strings.TrimSpace(z.files[origin]), "\n") {
			line = strings.Replace(line, "@ SOA", "@ 60 SOA", 1) // to which it lowers its TTL
			if !slices.Contains(lines, line) && !isLeftOut(strings.Fields(line)) {
				lines = append(lines, line)
			}
		}
		for {
			lines = accepted(t, origin, lines, func(int) int { return 0 })
			out.files[origin] = strings.Join(lines, "\n") + "\n"
			one := &zones{origins: []string{origin}, files: map[string]string{origin: out.files[origin]}}
			one.write(t, filepath.Join(dir, "zones"))
			said, err := exec.Command(program, "-c", dir, "checkconf").CombinedOutput()
			if err == nil {
				break
			}
			m := gdnsdFault.FindSubmatch(said)
			if m == nil {
				t.Fatalf("%v: %s\n%s", err, said, out.files[origin])
			}
			if lines = without(lines, origin, string(m[1])); len(lines) == strings.Count(out.files[origin], "\n") {
				t.Fatalf("no line is to blame: %s\n%s", said, out.files[origin])
			}
		}
		if err := os.Remove(filepath.Join(dir, "zones", strings.TrimSuffix(origin, "."))); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func isLeftOut(fields []string) bool {
	for _, l := range leftOut {
		if l.is(fields) {
			return true
		}
	}
	return false
}

// without returns the lines of a zone, the first three of which have to stay, without
// those that have to do with a name.
func without(lines []string, origin, name string) []string {
	// gdnsd says names without the backslashes that only keep dots from being dots, and
	// octet 255 with a digit that is none.
	plain := func(name string) string {
		return strings.NewReplacer(`\.`, ".", `\@`, "@", `\255`, `\00/`).Replace(strings.ToLower(name))
	}
	absolute := func(relative string) string {
		switch {
		case relative == "@":
			return origin
		case strings.HasSuffix(relative, "."):
			return plain(relative)
		}
		return plain(relative + "." + origin)
	}
	name = plain(name)
	for _, toBlame := range []func(fields []string) bool{
		func(fields []string) bool { return absolute(fields[0]) == name },
		func(fields []string) bool {
			return strings.HasSuffix(absolute(fields[0]), "."+name) || absolute(fields[len(fields)-1]) == name
		},
	} {
		left := slices.Clone(lines[:3])
		for _, line := range lines[3:] {
			if !toBlame(strings.Fields(line)) {
				left = append(left, line)
			}
		}
		if len(left) < len(lines) {
			return left
		}
	}
	return lines
}

func configureGdnsd(t *testing.T, dir string, port int) {
	t.Helper()
	for _, sub := range []string{"zones", "run", "state"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	text := fmt.Sprintf(`options => {
  listen => { 127.0.0.1:%d => { udp_threads => 1, tcp_threads => 1 } }
  run_dir => %s
  state_dir => %s
  zones_strict_data => false
  max_edns_response => 4096
}
`, port, filepath.Join(dir, "run"), filepath.Join(dir, "state"))
	if err := os.WriteFile(filepath.Join(dir, "config"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func startGdnsd(t *testing.T, z *zones) *daemon {
	t.Helper()
	program, dir, port := need(t, "gdnsd"), t.TempDir(), freePort(t)
	configureGdnsd(t, dir, port)
	z.write(t, filepath.Join(dir, "zones"))
	return launch(t, "gdnsd", port, z.origins[len(z.origins)-1], program, "-c", dir, "start")
}
