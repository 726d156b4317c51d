package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"
)

// docs/logs.md has every line that is a warning or an error, with its cause and cure,
// and no other.
func TestLogLinesAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../../docs/logs.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := make(map[string]string)
	for _, row := range regexp.MustCompile("(?m)^\\| `(.+)` \\| (warning|error) \\| .+ \\| .+ \\|$").FindAllSubmatch(text, -1) {
		documented[string(row[1])] = string(row[2])
	}
	written := make(map[string]string)
	for _, p := range packages(t, "linux") {
		for _, file := range p.GoFiles {
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, file), nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(f, func(n ast.Node) bool {
				if line, level := logLine(n); line != "" {
					written[line] = level
				}
				return true
			})
		}
	}
	if len(written) < 20 {
		t.Errorf("only %d lines are found in the code: is this test looking the right way?", len(written))
	}
	for line, level := range written {
		if documented[line] != level {
			t.Errorf("docs/logs.md has no %s `%s`: add its cause and what to do", level, line)
		}
	}
	for line := range documented {
		if written[line] == "" {
			t.Errorf("docs/logs.md has `%s`, which nothing writes", line)
		}
	}
}

// logLine returns the message and the level of a call that logs a warning or an error;
// "" for anything else. The linter sees that messages are literals.
func logLine(n ast.Node) (line, level string) {
	call, ok := n.(*ast.CallExpr)
	if !ok {
		return "", ""
	}
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return "", ""
	}
	levels := map[string]string{"Warn": "warning", "WarnContext": "warning", "Error": "error", "ErrorContext": "error"}
	at := 0
	if slices.Contains([]string{"WarnContext", "ErrorContext"}, method.Sel.Name) {
		at = 1
	}
	if levels[method.Sel.Name] == "" || len(call.Args) <= at {
		return "", ""
	}
	literal, ok := call.Args[at].(*ast.BasicLit)
	if !ok || literal.Kind != token.STRING {
		return "", ""
	}
	line, err := strconv.Unquote(literal.Value)
	if err != nil {
		return "", ""
	}
	return line, levels[method.Sel.Name]
}
