package app

import (
	"errors"
	"strings"
)

// Lines splits an error into what to print, one fault a line. What wraps several faults is
// said with each, and an error that names several causes in words of its own stays whole:
// nothing that an error says is lost.
func Lines(err error) []string {
	if list, ok := err.(interface{ Unwrap() []error }); ok { // this one, and none that it wraps
		all := list.Unwrap()
		lines, texts := make([]string, 0, len(all)), make([]string, 0, len(all))
		for _, e := range all {
			lines, texts = append(lines, Lines(e)...), append(texts, e.Error())
		}
		if strings.Join(texts, "\n") == err.Error() {
			return lines
		}
		return []string{err.Error()}
	}
	inner := errors.Unwrap(err)
	if inner == nil {
		return []string{err.Error()}
	}
	lines := Lines(inner)
	before, after, found := strings.Cut(err.Error(), inner.Error())
	if len(lines) < 2 || !found {
		return []string{err.Error()}
	}
	for i := range lines {
		lines[i] = before + lines[i] + after
	}
	return lines
}
