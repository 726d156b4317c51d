package main

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func sitesOf(t *testing.T, body string) []string {
	t.Helper()
	text := "package p\n\nfunc f() {\n" + body + "\n}\n"
	out, sites, err := instrument("p.go", []byte(text), 0, func(string) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.ParseFile(token.NewFileSet(), "p.go", out, 0); err != nil {
		t.Errorf("what comes out is no Go: %v\n%s", err, out)
	}
	if got, want := strings.Count(string(out), "\n"), strings.Count(text, "\n"); got != want {
		t.Errorf("%d lines, want %d", got, want)
	}
	var texts []string
	for _, s := range sites[1:] { // the first is the function itself
		texts = append(texts, s.Text+": "+string(s.Outcomes[0]))
	}
	slices.Sort(texts)
	return texts
}

// Each construct that decides something has the sites that its row says.
func TestSites(t *testing.T) {
	for body, want := range map[string][]string{
		"if a {\n}":                                           {"a: true"},
		"if a && (b || !c) {\n}":                              {"a: true", "b: true", "c: true"},
		"if x := g(); x == 1 {\n}":                            {"x == 1: true"},
		"for i := 0; i < 3; i++ {\n}":                         {"i < 3: true"},
		"for {\n}":                                            nil,
		"for range 3 {\n}":                                    {"range 3: taken"},
		"for _, x := range g(a == b) {\n_ = x\n}":             {"a == b: true", "range g(a == b): taken"},
		"x := a == b\n_ = x":                                  {"a == b: true"},
		"x := !ok(a)\n_ = x":                                  {"ok(a): true"},
		"const c = 1 == 2":                                    nil,
		"if a {\n}\nif a {\n}":                                {"a #2: true", "a: true"},
		"if a  ==\n\tb {\n}":                                  {"a == b: true"},
		"switch {\ncase a, b < c:\ndefault:\n}":               {"a: true", "b < c: true", "default: taken"},
		"switch x {\ncase 1:\ndefault:\n}":                    {"case 1: taken", "default: taken"},
		"switch x {\ncase 1:\n}":                              {"case 1: taken", "no case of switch x: taken"},
		"switch p.q {\ncase 1, 2:\ndefault:\n}":               {"case 1: taken", "case 2: taken", "default: taken"},
		"switch g() {\ncase 1, 2:\ndefault:\n}":               {"case 1, 2: taken", "default: taken"},
		"switch x.(type) {\ncase int:\ndefault:\n}":           {"case int: taken", "default: taken"},
		"select {\ncase <-c:\ncase d <- a == b:\ndefault:\n}": {"a == b: true", "case <-c: taken", "case d <- a == b: taken", "default: taken"},
		"g(func() bool { return a != b })":                    {"a != b: true", "func literal: taken"},
	} {
		if d := cmp.Diff(want, sitesOf(t, body)); d != "" {
			t.Errorf("%s:\n%s", body, d)
		}
	}
}

func TestFunctionNames(t *testing.T) {
	text := "package p\nfunc f() {}\nfunc (t T) g() {}\nfunc (t *T) h() {}\nfunc (t *G[A]) i() {}\nfunc j()\n"
	var names []string
	if _, _, err := instrument("p.go", []byte(text), 0, func(name string) bool {
		names = append(names, name)
		return true
	}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"f", "T.g", "T.h", "G.i"}, names); d != "" {
		t.Error(d)
	}
}

// module is a small one, of which the test takes all branches but one.
var module = map[string]string{
	"go.mod": "module m.test\n\ngo 1.26\n",
	"p/p.go": `package p

type T struct{ n int }

func (t *T) Small(limit int) bool {
	if t.n < 0 || t.n > limit {
		return false
	}
	switch t.n {
	case 1, 2:
		return true
	}
	return t.n == 3
}

func Unused() {}
`,
	"p/p_test.go": `package p

import "testing"

func TestSmall(t *testing.T) {
	for n := -1; n < 5; n++ {
		if got := (&T{n}).Small(9); got != (n > 0 && n < 4) {
			t.Error(n, got)
		}
	}
}
`,
	"list.yaml": "tests: [./p]\npath: [p]\n",
}

// What no test takes is a fault until it is on the list; what is on the list and is
// taken, or gone, is one as well.
func TestRun(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, text := range module {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	excuse := func(in, branch, never string) string {
		return "  - {in: p/p.go " + in + ", branch: \"" + branch + "\", never: \"" + never + "\", because: x}\n"
	}
	whole := &list{Tests: []string{"./p"}, Path: []string{"p"}}
	measured, seen, err := measure(t.Context(), whole, false, new(strings.Builder))
	if err != nil {
		t.Fatal(err)
	}
	limit, unused := excuse("T.Small", "t.n > limit", "true"), excuse("Unused", "func", "taken")
	for _, tt := range []struct {
		name, list string
		faults     []string
	}{
		{"nothing excused", "", []string{"p/p.go:6: T.Small: `t.n > limit` is never true", "p/p.go:16: Unused: `func` is never taken"}},
		{"both excused", "excused:\n" + limit + "not_yet:\n" + unused, nil},
		{"one besides", "besides: [{files: [p/p.go], functions: [Unused], because: x}]\nexcused:\n" + limit, nil},
		{"all besides but that", "besides: [{files: [p/p.go], functions: [T.Small], because: x}]\nexcused:\n" + unused, nil},
		{"taken by a test", "excused:\n" + limit + unused + excuse("T.Small", "t.n > limit", "false"), []string{"`t.n > limit` is never false: it is on the list, but a test takes it"}},
		{"taken by a test, by chance", "by_chance:\n" + limit + unused + excuse("T.Small", "t.n > limit", "false"), nil},
		{"gone", "excused:\n" + limit + unused + excuse("T.Small", "t.n > most", "false"), []string{"`t.n > most` is never false: it is on the list and no longer in the code"}},
		{"twice", "excused:\n" + limit + unused + limit, []string{"on the list twice"}},
		{"a function that is gone", "besides: [{files: [p/p.go], functions: [Unused, Gone], because: x}]\nexcused:\n" + limit, []string{"Gone is in none of [p/p.go]"}},
		{"a file that is gone", "besides: [{files: [p/q.go], because: x}]\nexcused:\n" + limit + unused, []string{"p/q.go has no function"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := os.WriteFile("list.yaml", []byte(module["list.yaml"]+tt.list), 0o600); err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			l, err := readList("list.yaml")
			if err != nil {
				t.Fatal(err)
			}
			if len(l.Besides) > 0 {
				err = run(t.Context(), "list.yaml", false, &out)
			} else {
				err = report(l, measured, seen, &out)
			}
			if (err != nil) != (len(tt.faults) > 0) {
				t.Errorf("error %v", err)
			}
			said := strings.Split(strings.TrimSpace(out.String()), "\n")
			if len(said) != len(tt.faults)+1 {
				t.Errorf("%d faults, want %d:\n%s", len(said)-1, len(tt.faults), out.String())
			}
			for _, want := range tt.faults {
				if !strings.Contains(out.String(), want) {
					t.Errorf("no %q in\n%s", want, out.String())
				}
			}
		})
	}
}

func TestRunRefuses(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{
		"no file":                  "",
		"an unknown key":           "testes: [./p]\n",
		"no reason":                "excused: [{in: p/p.go f, branch: a, never: taken}]\n",
		"no outcome":               "excused: [{in: p/p.go f, branch: a, because: x}]\n",
		"besides without a file":   "besides: [{functions: [f], because: x}]\n",
		"an empty path":            "tests: [./p]\n",
		"a file that is not there": "path: [p/p.go]\n",
	} {
		_ = os.Remove("list.yaml")
		if text != "" {
			if err := os.WriteFile("list.yaml", []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := run(t.Context(), "list.yaml", false, new(strings.Builder)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// The list of the repository says what there is.
func TestTheListIsOfThisRepository(t *testing.T) {
	t.Chdir("../../..")
	l, err := readList("cmd/internal/branches/path.yaml")
	if err != nil {
		t.Fatal(err)
	}
	o := overlay{dir: t.TempDir(), list: l, functions: make(map[string]bool), replace: make(map[string]string)}
	if err := o.build(); err != nil {
		t.Fatal(err)
	}
	if faults := l.stale(o.functions); len(faults) > 0 {
		t.Error(strings.Join(faults, "\n"))
	}
	if len(o.sites) < 500 {
		t.Errorf("only %d places on the packet path: is the list cut?", len(o.sites))
	}
}
