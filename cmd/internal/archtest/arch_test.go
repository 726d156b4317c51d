package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "portolan.dev"

// layers lists every package, lowest first. A package may import only packages
// of lower layers: arrows point down, and there are none within a layer.
var layers = [][]string{
	{"resolver/wire", "resolver/rrl", "resolver/decide", "geo", "config", "config/ledger", "health", "cmd/internal/version", "cmd/internal/sandbox", "cmd/internal/handover", "cmd/internal/load", "cmd/internal/cached", "cmd/internal/secretfile"},
	{"resolver/zone", "resolver/transfer", "resolver/activity", "resolver/decide/simulate", "geo/embedded", "geo/geotest", "health/probe"},
	{"resolver", "resolver/server", "geo/embedded/gen"},
	{"resolver/compile"},
	{"cmd/internal/admin", "cmd/internal/notify", "cmd/internal/availability"},
	{"cmd/internal/app"},
	{"cmd/internal/demo"},
	{"cmd/internal/cli"},
	{"cmd/internal/cli/man", "cmd/portolan", "cmd/internal/bench", "cmd/internal/branches"},
}

// forbidden are edges that layers alone would allow, each with its reason. A
// rule that ends in /... holds for the whole tree below it.
var forbidden = []struct{ from, to, reason string }{
	{"resolver", "portolan.dev/config", "the path of a query never sees configuration"},
	{"resolver", "portolan.dev/health", "answers read masks, not probes"},
	{"resolver", "fmt", "the path of a query does not format"},
	{"resolver", "net/http", "the path of a query does no HTTP"},
	{"resolver", "github.com/miekg/dns", "the path of a query works on octets; miekg/dns allocates"},
	{"resolver/wire", "github.com/miekg/dns", "the same"},
	{"resolver/decide", "net", "a decision is pure: no I/O"},
	{"resolver/decide", "time", "a decision is pure: the caller says what time it is"},
	{"resolver/server", "portolan.dev/resolver", "sockets know sizes, not DNS data"},
	{"resolver/server", "github.com/miekg/dns", "sockets know sizes, not DNS data"},
	{"geo", "portolan.dev/config", "geo takes plain options; compile translates"},
	{"health", "portolan.dev/config", "health takes plain options; compile translates"},
	{"health", "portolan.dev/resolver", "health knows endpoints, not names"},
	{"health", "net/http", "the state machine and schedule know no protocol; health/probe does"},
	{"config", "portolan.dev/geo", "the caller says which region names are known"},
	{"cmd/internal/notify", "portolan.dev/config", "notify takes plain options; the application translates"},
	{"cmd/internal/availability", "net", "the heart knows no sockets"},
	{"cmd/internal/availability", "net/http", "the heart knows no HTTP"},
	{"cmd/internal/availability", "os", "the heart knows no disk"},
	{"cmd/internal/availability", "portolan.dev/config", "availability takes what is compiled; the application translates"},
	{"cmd/internal/cached", "os", "a rule is pure: the application keeps its records"},
	{"cmd/internal/secretfile", "log/slog", "errors of secrets go to who names the file; the application logs"},
	{"cmd/internal/cli", "portolan.dev/health/probe", "verbs run the probes that compile has made"},
	{"...", "github.com/prometheus/client_golang/prometheus/promauto", "registers into a global; pass a registry"},
	{"...", "testing", "no test code in production"},
	{"...", "log", "use log/slog"},
	{"...", "unsafe", "memory safety is a promise; see unsafeAllowed"},
	{"...", "reflect", "not in this tree"},
}

// unsafeAllowed are the packages that need unsafe, and why.
var unsafeAllowed = map[string]string{
	"resolver/server":    "recvmmsg and sendmmsg take pointers",
	"cmd/internal/load":  "the same",
	"cmd/internal/bench": "the same",
	"resolver/activity":  "a table in mapped memory is octets to the operating system",
}

type pkg struct {
	ImportPath string   `json:"ImportPath"`
	Dir        string   `json:"Dir"`
	Imports    []string `json:"Imports"`
	GoFiles    []string `json:"GoFiles"`
}

// packages lists the packages of the module for one operating system.
func packages(t *testing.T, goos string) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,Imports,GoFiles", module+"/...")
	cmd.Env = append(os.Environ(), "GOOS="+goos, "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(p.GoFiles) > 0 {
			all = append(all, p)
		}
	}
}

func name(importPath string) string {
	return strings.TrimPrefix(strings.TrimPrefix(importPath, module), "/")
}

func layerOf(p string) int {
	return slices.IndexFunc(layers, func(l []string) bool { return slices.Contains(l, p) })
}

func TestImportsPointDown(t *testing.T) {
	for _, p := range packages(t, "linux") {
		from := name(p.ImportPath)
		if from == "cmd/internal/archtest" || strings.HasPrefix(from, "cmd/internal/e2e") {
			continue
		}
		layer := layerOf(from)
		if layer < 0 {
			t.Errorf("%s is in no layer: add it to the table", from)
			continue
		}
		for _, to := range p.Imports {
			if !strings.HasPrefix(to, module) {
				continue
			}
			if l := layerOf(name(to)); l >= layer {
				t.Errorf("%s (layer %d) imports %s (layer %d): imports point down", from, layer, name(to), l)
			}
		}
	}
}

func TestForbiddenImports(t *testing.T) {
	for _, goos := range []string{"linux", "darwin"} {
		for _, p := range packages(t, goos) {
			from := name(p.ImportPath)
			for _, rule := range forbidden {
				if rule.from != from && rule.from != "..." || !slices.Contains(p.Imports, rule.to) {
					continue
				}
				if rule.to == "unsafe" && unsafeAllowed[from] != "" {
					continue
				}
				t.Errorf("%s imports %s: %s", from, rule.to, rule.reason)
			}
		}
	}
}

// Every package has one package doc of more than a line, that begins as godoc
// wants it.
func TestPackageDocs(t *testing.T) {
	for _, p := range packages(t, "linux") {
		var docs []*ast.CommentGroup
		var pkgName string
		for _, file := range p.GoFiles {
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, file), nil, parser.PackageClauseOnly|parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			pkgName = f.Name.Name
			if f.Doc != nil {
				docs = append(docs, f.Doc)
			}
		}
		if len(docs) != 1 {
			t.Errorf("%s has %d package docs, want 1", p.ImportPath, len(docs))
			continue
		}
		text := docs[0].Text()
		if pkgName == "main" && strings.HasPrefix(text, "Command ") {
			continue
		}
		if !strings.HasPrefix(text, "Package "+pkgName+" ") || len(text) < 100 {
			t.Errorf("%s: the package doc is too short or does not begin with its name: %q", p.ImportPath, text)
		}
	}
}

// Files stay readable: one subject, at most 500 lines.
func TestFileSize(t *testing.T) {
	for _, p := range packages(t, "linux") {
		for _, file := range p.GoFiles {
			data, err := os.ReadFile(filepath.Join(p.Dir, file))
			if err != nil {
				t.Fatal(err)
			}
			if n := bytes.Count(data, []byte("\n")); n > 500 {
				t.Errorf("%s/%s has %d lines: is there a second subject in it?", name(p.ImportPath), file, n)
			}
		}
	}
}

// The map in the README names every package that a newcomer will look for.
func TestReadmeNamesEveryPackage(t *testing.T) {
	readme, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range packages(t, "linux") {
		if n := name(p.ImportPath); !bytes.Contains(readme, []byte("`"+n+"`")) {
			t.Errorf("README.md does not name %s", n)
		}
	}
}
