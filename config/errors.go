package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Pos is a place in a file. Line and Column count from 1, columns in characters;
// 0 means unknown.
type Pos struct {
	File         string
	Line, Column int
}

// String is file:line:column without the parts that are not known.
func (p Pos) String() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.Column == 0:
		return p.File + ":" + strconv.Itoa(p.Line)
	}
	return p.File + ":" + strconv.Itoa(p.Line) + ":" + strconv.Itoa(p.Column)
}

// Error is one thing wrong with a configuration.
type Error struct {
	Pos

	Path string // registries.myregistry.replicas.eastus.addresses[1]; "" for the file
	Msg  string // what is wrong, lower case
	Hint string // the next thing to try; "" when there is nothing to add
}

// Error is one line: file:line:column: path: message (hint).
func (e Error) Error() string {
	var b strings.Builder
	for _, part := range []string{e.String(), e.Path} {
		if part != "" {
			b.WriteString(part + ": ")
		}
	}
	b.WriteString(e.Msg)
	if e.Hint != "" {
		b.WriteString(" (" + e.Hint + ")")
	}
	return b.String()
}

// Errors is everything wrong with a configuration, sorted by position: the main
// file first, then the included files in the order they were read. It has at
// most [MaxErrors] entries and, when there were more, a last one without a
// position that counts the rest.
type Errors []Error

// MaxErrors bounds the errors that are kept; the rest are counted.
const MaxErrors = 100

// Error has one line per error.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i := range e {
		lines[i] = e[i].Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives each error to errors.As.
func (e Errors) Unwrap() []error {
	all := make([]error, len(e))
	for i := range e {
		all[i] = e[i]
	}
	return all
}

// found is an Error and the number of its file in reading order.
type found struct {
	Error

	file int
}

// report collects errors in any order and keeps the first MaxErrors by position,
// however many there are.
type report struct {
	what    string // what is counted when there are too many
	kept    []found
	dropped int
	closed  bool // after an error that makes all that follow meaningless
}

// reportSlack is how many more than MaxErrors are held before the list is cut:
// cutting costs a sort, so it is done once per reportSlack errors.
const reportSlack = 4 * MaxErrors

func (r *report) add(at *place, msg, hint string) {
	if r.closed {
		return
	}
	r.kept = append(r.kept, found{Error{Pos: at.pos(), Path: at.path(), Msg: msg, Hint: hint}, at.source.order})
	if len(r.kept) > MaxErrors+reportSlack {
		r.cut()
	}
}

// cut sorts by position and drops what is beyond MaxErrors. Equal positions keep
// the order in which they were found.
func (r *report) cut() {
	slices.SortStableFunc(r.kept, func(a, b found) int {
		return cmp.Or(cmp.Compare(a.file, b.file), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	if n := len(r.kept) - MaxErrors; n > 0 {
		r.dropped += n
		r.kept = r.kept[:MaxErrors]
	}
}

// errors is nil when nothing was added.
func (r *report) errors() Errors {
	if len(r.kept) == 0 {
		return nil
	}
	r.cut()
	all := make(Errors, 0, len(r.kept)+1)
	for i := range r.kept {
		all = append(all, r.kept[i].Error)
	}
	if r.dropped > 0 {
		all = append(all, Error{Msg: fmt.Sprintf("and %d more %s", r.dropped, r.what), Hint: "mend those above first"})
	}
	return all
}
