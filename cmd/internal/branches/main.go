package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// variable names the file that outcomes are noted in, for the tests.
const variable = "PORTOLAN_BRANCHES"

func main() {
	name := flag.String("list", "cmd/internal/branches/path.yaml", "what the packet path is")
	verbose := flag.Bool("v", false, "show what the tests print")
	flag.Parse()
	if err := run(context.Background(), *name, *verbose, os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "branches: %v\n", err)
		os.Exit(1) //nolint:forbidigo // this is a main
	}
}

// run measures in the folder it is called in, the root of a module.
func run(ctx context.Context, name string, verbose bool, out io.Writer) error {
	l, err := readList(name)
	if err != nil {
		return err
	}
	o, seen, err := measure(ctx, l, verbose, out)
	if err != nil {
		return err
	}
	return report(l, o, seen, out)
}

// measure runs the tests and returns which outcomes they have brought about, by the
// number of the site.
func measure(ctx context.Context, l *list, verbose bool, out io.Writer) (*overlay, map[int]map[outcome]bool, error) {
	dir, err := os.MkdirTemp("", "branches")
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(dir)
	o := &overlay{dir: dir, list: l, functions: make(map[string]bool), replace: make(map[string]string)}
	if err := o.build(); err != nil {
		return nil, nil, err
	}
	noted := filepath.Join(dir, "noted")
	if err := os.WriteFile(noted, nil, 0o600); err != nil {
		return nil, nil, err
	}
	if err := test(ctx, l.Tests, o.file, noted, verbose, out); err != nil {
		return nil, nil, err
	}
	data, err := os.ReadFile(noted)
	return o, decode(data), err
}

// report prints what is not as the list says, and how much there is.
func report(l *list, o *overlay, seen map[int]map[outcome]bool, out io.Writer) error {
	all, taken := 0, 0
	for i, s := range o.sites {
		all += len(s.Outcomes)
		taken += len(seen[i])
	}
	faults := append(l.stale(o.functions), l.compare(o.sites, seen)...)
	for _, f := range faults {
		fmt.Fprintln(out, f)
	}
	fmt.Fprintf(out, "tests take %d of the %d branches of the packet path; %d are excused, %d left to chance, %d not yet taken\n",
		taken, all, len(l.Excused), len(l.ByChance), len(l.NotYet))
	if len(faults) > 0 {
		return fmt.Errorf("%d branches or entries of the list are not in order", len(faults))
	}
	return nil
}

// test runs the tests with the instrumented files.
func test(ctx context.Context, packages []string, overlay, noted string, verbose bool, out io.Writer) error {
	args := append([]string{"test", "-short", "-count=1", "-vet=off", "-overlay", overlay}, packages...)
	cmd := exec.CommandContext(ctx, "go", args...) //nolint:gosec // what the committed list says
	cmd.Env = append(os.Environ(), variable+"="+noted)
	text, err := cmd.CombinedOutput()
	if verbose || err != nil {
		_, _ = io.Copy(out, bytes.NewReader(text))
	}
	if err != nil {
		return fmt.Errorf("go %s: %w", strings.Join(args, " "), err)
	}
	return nil
}

// decode reads what was noted: four octets of site and outcome for each.
func decode(data []byte) map[int]map[outcome]bool {
	seen := make(map[int]map[outcome]bool)
	for ; len(data) >= 4; data = data[4:] {
		n := binary.BigEndian.Uint32(data)
		id, o := int(n>>2), []outcome{isTaken, isTrue, isFalse, isTaken}[n&3]
		if seen[id] == nil {
			seen[id] = make(map[outcome]bool)
		}
		seen[id][o] = true
	}
	return seen
}

// overlay is the packet path, instrumented.
type overlay struct {
	dir       string
	list      *list
	sites     []site
	functions map[string]bool // all there are in the files, as "file function"
	replace   map[string]string
	file      string // what -overlay wants
}

// build writes all files.
func (o *overlay) build() error {
	folders := make(map[string]string) // package names by folder
	for _, entry := range o.list.Path {
		files := []string{entry}
		if !strings.HasSuffix(entry, ".go") {
			var err error
			if files, err = filepath.Glob(filepath.Join(entry, "*.go")); err != nil {
				return err
			}
		}
		for _, file := range files {
			if err := o.add(file, folders); err != nil {
				return err
			}
		}
	}
	if len(o.sites) == 0 {
		return errors.New("the packet path is empty: is this the root of the repository?")
	}
	for _, folder := range slices.Sorted(maps.Keys(folders)) {
		text := fmt.Sprintf(support, folders[folder], len(o.sites), variable)
		if err := o.write(filepath.Join(folder, "branches_overlay.go"), []byte(text)); err != nil {
			return err
		}
	}
	text, err := json.Marshal(map[string]any{"Replace": o.replace})
	if err != nil {
		return err
	}
	o.file = filepath.Join(o.dir, "overlay.json")
	return os.WriteFile(o.file, text, 0o600)
}

// add instruments a file, unless it is of the tests or of another operating system.
func (o *overlay) add(file string, folders map[string]string) error {
	folder, base := filepath.Split(file)
	if ok, err := build.Default.MatchFile(folder, base); err != nil || !ok || strings.HasSuffix(file, "_test.go") {
		return err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	f, err := parser.ParseFile(token.NewFileSet(), file, text, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok {
			o.functions[file+" "+functionName(fn)] = true
		}
	}
	text, sites, err := instrument(file, text, len(o.sites), func(f string) bool { return o.list.holds(file, f) })
	if err != nil || len(sites) == 0 {
		return err
	}
	o.sites = append(o.sites, sites...)
	folders[folder] = f.Name.Name
	return o.write(file, text)
}

// write puts the text of a file into the place of the real one.
func (o *overlay) write(file string, text []byte) error {
	at := filepath.Join(o.dir, fmt.Sprintf("%d.go", len(o.replace)))
	replaced, err := filepath.Abs(file)
	if err != nil {
		return err
	}
	o.replace[replaced] = at
	return os.WriteFile(at, text, 0o600)
}

func sortedKeys(m map[string]bool) []string { return slices.Sorted(maps.Keys(m)) }

// support is what each instrumented package has besides. It allocates nothing after the
// start, so that tests that count allocations still hold.
const support = `package %s

import (
	"os"
	"sync/atomic"
	"syscall"
)

var (
	branchSeen [%d]atomic.Uint32
	branchFile = func() int {
		fd, err := syscall.Open(os.Getenv(%q), syscall.O_WRONLY|syscall.O_APPEND|syscall.O_CLOEXEC, 0)
		if err != nil {
			return -1
		}
		return fd
	}()
)

func branchIf(id uint32, v bool) bool {
	bit := uint32(2)
	if v {
		bit = 1
	}
	if branchSeen[id].Load()&bit == 0 {
		branchNote(id, bit)
	}
	return v
}

func branchMark(id uint32) {
	if branchSeen[id].Load() == 0 {
		branchNote(id, 3)
	}
}

var _, _ = branchIf, branchMark

//go:noinline
func branchNote(id, bit uint32) {
	if branchSeen[id].Or(bit)&bit == bit {
		return
	}
	n := id<<2 | bit
	b := [4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
	_, _ = syscall.Write(branchFile, b[:])
}
`
