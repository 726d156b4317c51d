package config

import (
	"strconv"
	"strings"
)

// Pos is a place in a file. Line and Column count from 1; 0 means unknown.
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
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Pos.String())
	if e.Path != "" {
		b.WriteString(": " + e.Path)
	}
	b.WriteString(": " + e.Msg)
	if e.Hint != "" {
		b.WriteString(" (" + e.Hint + ")")
	}
	return b.String()
}

// String is [Error.Error]; it hides the String that Pos would lend.
func (e *Error) String() string { return e.Error() }

// Errors is everything wrong with a configuration, sorted by position: the main
// file first, then the included files in the order they were read. It has at
// most [MaxErrors] entries and, when there were more, a last one that counts the
// rest.
type Errors []Error

// MaxErrors bounds the errors that are kept; the rest are counted.
const MaxErrors = 100

// Error has one line per error.
func (e Errors) Error() string {
	if len(e) == 0 {
		return "no errors"
	}
	lines := make([]string, len(e))
	for i := range e {
		lines[i] = e[i].Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives each error, for errors.As.
func (e Errors) Unwrap() []error {
	all := make([]error, len(e))
	for i := range e {
		all[i] = &e[i]
	}
	return all
}
