package main

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"portolan.dev/cmd/internal/app"
	"portolan.dev/cmd/internal/cli"
	"portolan.dev/cmd/internal/demo"
)

// example is one command of a console block and what it is said to print.
type example struct {
	line    int // in the file, from 1
	command string
	output  []string
}

// examples returns the commands of all ```console blocks, in order.
func examples(text string) []example {
	var all []example
	inside := false
	for i, line := range strings.Split(text, "\n") {
		switch {
		case strings.HasPrefix(line, "```"):
			inside = line == "```console"
		case inside && strings.HasPrefix(line, "$ "):
			all = append(all, example{line: i + 1, command: line[2:]})
		case inside && len(all) > 0:
			last := &all[len(all)-1]
			last.output = append(last.output, line)
		}
	}
	return all
}

// matches reports whether output is what was promised, line by line and octet by
// octet; "..." in a promise stands for anything.
func matches(output, promised []string) bool {
	if len(output) != len(promised) {
		return false
	}
	for i := range promised {
		pattern := strings.ReplaceAll(regexp.QuoteMeta(promised[i]), `\.\.\.`, ".*")
		if !regexp.MustCompile("^" + pattern + "$").MatchString(output[i]) {
			return false
		}
	}
	return true
}

// What README.md shows is what happens: its console examples, from the first to
// the last, against one demo.
func TestReadme(t *testing.T) {
	dig, err := exec.LookPath("dig")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("not skipped, for this is CI: dig is not installed")
		}
		t.Skip("dig is not installed")
	}
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	all := examples(string(text))
	if len(all) < 5 {
		t.Fatalf("README.md has %d console examples: is a block spelled otherwise?", len(all))
	}
	d := startDemo(t)
	for _, x := range all {
		var got string
		// Health takes a moment, and nothing else changes answers here.
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			got = run(t, d, dig, x)
			if matches(strings.Split(strings.TrimSuffix(got, "\n"), "\n"), x.output) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("README.md:%d: $ %s\nprints\n%s\nand not\n%s", x.line, x.command, got, strings.Join(x.output, "\n"))
			}
		}
	}
}

func startDemo(t *testing.T) *demo.Demo {
	t.Helper()
	d, err := demo.Start("127.0.0.1:0", "127.0.0.1:0", app.Options{Source: app.Source{Now: time.Now}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	d.App().Start()
	t.Setenv("PORTOLAN_SOCKET", d.App().World().Config.Admin.Socket)
	return d
}

// run runs one example, at the ports of the demo, and returns what it prints.
func run(t *testing.T, d *demo.Demo, dig string, x example) string {
	t.Helper()
	words := strings.Fields(x.command)
	var out bytes.Buffer
	switch words[0] {
	case "dig":
		const port = " -p 8053 "
		if !strings.Contains(x.command, "@127.0.0.1"+port) {
			t.Fatalf("README.md:%d: dig asks somebody else than the demo: say @127.0.0.1%s", x.line, port)
		}
		at := " -p " + strconv.Itoa(int(d.App().Addrs()[0].Port())) + " "
		cmd := exec.CommandContext(t.Context(), dig, strings.Fields(strings.Replace(x.command, port, at, 1))[1:]...)
		cmd.Env = append(os.Environ(), "HOME="+t.TempDir()) // no .digrc
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Run(); err != nil {
			t.Fatalf("README.md:%d: %v: %s", x.line, err, out.String())
		}
	case "bin/portolan":
		args := words[1:]
		if args[0] == "demo" {
			args = append(args, "--control", d.ControlAddr())
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if code := cli.Main(ctx, args, strings.NewReader(""), &out, &out); code != cli.ExitOK {
			t.Fatalf("README.md:%d: exit code %d: %s", x.line, code, out.String())
		}
	default:
		t.Fatalf("README.md:%d: %s is neither dig nor bin/portolan", x.line, words[0])
	}
	return out.String()
}

func TestExamples(t *testing.T) {
	got := examples("$ no\n```console\n$ a b\nx\n\ny\n$ c\n```\n```sh\n$ no\n```\n")
	if len(got) != 2 || got[0].command != "a b" || got[0].line != 3 || strings.Join(got[0].output, "|") != "x||y" || len(got[1].output) != 0 {
		t.Errorf("%+v", got)
	}
	for _, tt := range []struct {
		output, promised string
		want             bool
	}{
		{"a\nb", "a\nb", true},
		{"a", "a\nb", false},
		{"a\nb", "a", false},
		{"a  b", "a b", false},
		{"serial 17 x", "serial ... x", true},
		{"serial 17 y", "serial ... x", false},
		{"axb", "a.b", false},
	} {
		if got := matches(strings.Split(tt.output, "\n"), strings.Split(tt.promised, "\n")); got != tt.want {
			t.Errorf("%q, promised %q: %t", tt.output, tt.promised, got)
		}
	}
}
