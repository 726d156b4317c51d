package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// list is path.yaml.
type list struct {
	// Tests are the packages whose tests count.
	Tests []string `yaml:"tests"`
	// Path is what the packet path is: folders and files of the repository.
	Path []string `yaml:"path"`
	// Besides are files and functions in the folders of Path that no packet passes.
	Besides []besides `yaml:"besides"`
	// Excused are branches that no test can take.
	Excused []excuse `yaml:"excused"`
	// ByChance are branches that a test takes now and then, when two goroutines meet.
	ByChance []excuse `yaml:"by_chance"`
	// NotYet are branches that a test could take, and none does.
	NotYet []excuse `yaml:"not_yet"`
}

// besides are functions that are not of the packet path: those named, or all of the
// files.
type besides struct {
	Files     []string `yaml:"files"`
	Functions []string `yaml:"functions"`
	Because   string   `yaml:"because"`
}

// excuse is for one branch: the outcome that Never comes about at the place In, which
// is a file and a function with a blank between them.
type excuse struct {
	In      string  `yaml:"in"`
	Branch  string  `yaml:"branch"`
	Never   outcome `yaml:"never"`
	Because string  `yaml:"because"`
}

// branch is one outcome at one site, as the list and reports name it.
type branch struct {
	in, text string
	never    outcome
}

func (b branch) String() string { return fmt.Sprintf("%s: `%s` is never %s", b.in, b.text, b.never) }

// readList reads path.yaml. Keys that it does not know are faults, and so are entries
// without a reason.
func readList(name string) (*list, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var l list
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&l); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for _, b := range l.Besides {
		if b.Because == "" || len(b.Files) == 0 {
			return nil, fmt.Errorf("%s: besides %v %v: files and because are wanted", name, b.Files, b.Functions)
		}
	}
	for _, e := range slices.Concat(l.Excused, l.ByChance, l.NotYet) {
		if e.Because == "" || e.Never == "" {
			return nil, fmt.Errorf("%s: %s, %s: never and because are wanted", name, e.In, e.Branch)
		}
	}
	return &l, nil
}

// holds reports whether a function is of the packet path.
func (l *list) holds(file, function string) bool {
	return !slices.ContainsFunc(l.Besides, func(b besides) bool {
		return slices.Contains(b.Files, file) && (len(b.Functions) == 0 || slices.Contains(b.Functions, function))
	})
}

// stale returns what the list says of functions that are not there.
func (l *list) stale(functions map[string]bool) (faults []string) {
	for _, b := range l.Besides {
		for _, file := range b.Files {
			if len(b.Functions) == 0 && !slices.ContainsFunc(sortedKeys(functions), func(f string) bool { return strings.HasPrefix(f, file+" ") }) {
				faults = append(faults, fmt.Sprintf("besides: %s has no function: take it off the list", file))
			}
		}
		for _, f := range b.Functions {
			if !slices.ContainsFunc(b.Files, func(file string) bool { return functions[file+" "+f] }) {
				faults = append(faults, fmt.Sprintf("besides: %s is in none of %v: take it off the list", f, b.Files))
			}
		}
	}
	return faults
}

// compare holds the branches that were not taken against the list, and returns what is
// not as it says: branches that are not excused, and excuses of what was taken or is
// not there.
func (l *list) compare(sites []site, seen map[int]map[outcome]bool) (faults []string) {
	missing, all := make(map[branch]int), make(map[branch]bool)
	for i, s := range sites {
		for _, o := range s.Outcomes {
			b := branch{s.File + " " + s.Func, s.Text, o}
			if all[b] = true; !seen[i][o] {
				missing[b] = s.Line
			}
		}
	}
	excused := make(map[branch]bool)
	for i, e := range slices.Concat(l.ByChance, l.Excused, l.NotYet) {
		b := branch{e.In, e.Branch, e.Never}
		_, isMissing := missing[b]
		isMissing = isMissing || i < len(l.ByChance)
		switch {
		case excused[b]:
			faults = append(faults, fmt.Sprintf("%s: it is on the list twice", b))
		case !all[b]:
			faults = append(faults, fmt.Sprintf("%s: it is on the list and no longer in the code: take it off", b))
		case !isMissing:
			faults = append(faults, fmt.Sprintf("%s: it is on the list, but a test takes it: take it off", b))
		}
		excused[b] = true
	}
	for i, s := range sites {
		for _, o := range s.Outcomes {
			b := branch{s.File + " " + s.Func, s.Text, o}
			if !seen[i][o] && !excused[b] {
				faults = append(faults, fmt.Sprintf("%s:%d: %s: `%s` is never %s: write the test that takes it, or take out what none can", path.Clean(s.File), s.Line, s.Func, s.Text, o))
			}
		}
	}
	return faults
}
