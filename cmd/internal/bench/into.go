//go:build linux

package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
)

// page is a Markdown page with a place for the result of each benchmark, between two
// comments:
//
//	<!-- bench-peers -->
//	...
//	<!-- end -->
type page struct {
	path string
	verb string
	text bytes.Buffer
}

// into makes what is printed go to the page as well, once the benchmark has ended
// well: half a result does not replace a whole one.
func (r *rig) into(path, verb string) (func() error, error) {
	if path == "" {
		return func() error { return nil }, nil
	}
	p := &page{path: path, verb: verb}
	old, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if _, err := p.replace(old); err != nil {
		return nil, err
	}
	r.out = io.MultiWriter(r.out, &p.text)
	return p.write, nil
}

func (p *page) write() error {
	old, err := os.ReadFile(p.path)
	if err != nil {
		return err
	}
	text, err := p.replace(old)
	if err != nil {
		return err
	}
	return os.WriteFile(p.path, text, 0o644) //nolint:gosec // a page of documentation
}

// replace returns the page with the new result in its place.
func (p *page) replace(old []byte) ([]byte, error) {
	mark := []byte("<!-- bench-" + p.verb + " -->\n")
	end := []byte("<!-- end -->")
	before, rest, found := bytes.Cut(old, mark)
	_, after, ended := bytes.Cut(rest, end)
	if !found || !ended {
		return nil, fmt.Errorf("%s has no place for this benchmark: write %q and %q where it belongs", p.path, mark[:len(mark)-1], end)
	}
	return bytes.Join([][]byte{before, mark, []byte("\n"), bytes.TrimSpace(p.text.Bytes()), []byte("\n\n"), end, after}, nil), nil
}
