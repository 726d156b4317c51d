package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

const (
	// maxFile bounds one file in bytes.
	maxFile = 128 << 20
	// maxMarks bounds what [marks] counts in one file. A node of the parsed
	// tree costs about 200 bytes, some two nodes come of a mark, and 100,000
	// registries with eight replicas, written out line by line, have some nine
	// million.
	maxMarks = 12 << 20
	// maxPlain bounds what the plain parser is given, in bytes: it counts no marks.
	// Larger files are read in parts.
	maxPlain = 8 << 20
)

// readFile reads a regular file of at most maxFile bytes. Devices and pipes are
// refused: they may never end.
func readFile(path string) ([]byte, error) {
	// Looked at before it is opened: opening a pipe waits for its writer.
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	if info.Size() > maxFile {
		return nil, errTooLarge
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	// The file may have grown since.
	data := bytes.NewBuffer(make([]byte, 0, info.Size()+bytes.MinRead))
	_, err = data.ReadFrom(io.LimitReader(f, maxFile+1))
	if err == nil && data.Len() > maxFile {
		err = errTooLarge
	}
	return data.Bytes(), err
}

var errTooLarge = fmt.Errorf("the file is larger than %d MiB", maxFile>>20)

// problem is what makes a file unreadable as YAML.
type problem struct {
	line, column int
	msg, hint    string
}

func (p *problem) add(src *source, errs *report) {
	errs.add(&place{source: src, line: int32(p.line), column: int32(p.column)}, p.msg, p.hint)
}

// parseDocument gives the root node of the one document in data, nil for a
// document without content, and what is to be given back to the pool.
func parseDocument(data []byte, pool *nodes) (*yaml.Node, [][]yaml.Node, *problem) {
	if root, blocks, ok := parsePlain(data, pool); ok {
		return root, blocks, nil
	}
	root, problem := parseLibrary(data)
	return root, nil, problem
}

// parseLibrary is parseDocument for everything that is YAML.
func parseLibrary(data []byte) (*yaml.Node, *problem) {
	const tooMuch = "split it and use include"
	if len(data) > maxFile {
		return nil, &problem{msg: errTooLarge.Error(), hint: tooMuch}
	}
	if line, column, msg := badByte(data); msg != "" {
		return nil, &problem{line, column, msg, "save the file as UTF-8 text"}
	}
	if marks(data) > maxMarks {
		return nil, &problem{msg: "the file holds too many values", hint: tooMuch}
	}
	var doc, second yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	switch err := decoder.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, syntaxProblem(err, data)
	}
	switch err := decoder.Decode(&second); {
	case errors.Is(err, io.EOF):
		return doc.Content[0], nil
	case err != nil:
		return nil, syntaxProblem(err, data)
	}
	return nil, &problem{second.Line, second.Column, "a second document in the file", "put it in a file of its own and include that"}
}

// badByte finds the first byte that is not UTF-8, or the first character that
// YAML does not allow (YAML 1.2 section 5.1). The parser would refuse them too,
// but without saying where.
func badByte(data []byte) (line, column int, msg string) {
	line, column = 1, 1
	for i := 0; i < len(data); {
		c := data[i]
		if c < utf8.RuneSelf {
			if c < ' ' && c != '\t' && c != '\n' && c != '\r' || c == 0x7f {
				return line, column, fmt.Sprintf("the control character 0x%02x is not allowed", c)
			}
			i++
			column++
			if c == '\n' {
				line, column = line+1, 1
			}
			continue
		}
		r, size := utf8.DecodeRune(data[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			return line, column, fmt.Sprintf("byte 0x%02x is not UTF-8", c)
		case r < 0xa0 && r != 0x85, r == 0xfffe, r == 0xffff, r == 0xfeff && i > 0:
			return line, column, fmt.Sprintf("the character U+%04X is not allowed", r)
		}
		i += size
		column++
	}
	return 0, 0, ""
}

// marks counts the characters that begin or part values, before the parser
// spends memory on them: each makes at most two nodes.
func marks(data []byte) int {
	n := 0
	for i, c := range data {
		switch c {
		case '\n', ',', '[', '{':
			n++
		case ':', '-', '?':
			// An IPv6 address or a name has them too; YAML takes them for
			// marks at the end of a line, before a space, or after a quote.
			if i+1 == len(data) || data[i+1] <= ' ' || i > 0 && (data[i-1] == '"' || data[i-1] == '\'') {
				n++
			}
		}
	}
	return n
}

var (
	lineOf   = regexp.MustCompile(`^line ([0-9]+): `)
	anchorOf = regexp.MustCompile(`^unknown anchor '(.*)' referenced$`)
)

// syntaxProblem says where the parser was, and, when that is elsewhere, where it
// gave up: it blames the beginning of the mapping, list or text that did not end
// as it should.
func syntaxProblem(err error, data []byte) *problem {
	line, msg := syntaxError(err, data)
	if end := gaveUp(data); end > line+1 {
		msg += fmt.Sprintf(" in what begins here and goes wrong near line %d", end)
	}
	return &problem{line: line, msg: msg, hint: "check indentation, quotes and brackets"}
}

// gaveUp parses once more, a line at a time, and counts the lines the parser asked
// for before it failed.
func gaveUp(data []byte) int {
	r := &lineReader{data: data}
	decoder := yaml.NewDecoder(r)
	for {
		var n yaml.Node
		if decoder.Decode(&n) != nil {
			return r.lines
		}
	}
}

// lineReader reads to the end of a line at most, and counts the lines begun.
type lineReader struct {
	data   []byte
	lines  int
	inLine bool
}

func (r *lineReader) Read(p []byte) (int, error) {
	if len(r.data) == 0 {
		return 0, io.EOF
	}
	if !r.inLine {
		r.lines++
	}
	n := len(r.data)
	if i := bytes.IndexByte(r.data, '\n'); i >= 0 {
		n = i + 1
	}
	n = copy(p, r.data[:n])
	r.inLine = r.data[n-1] != '\n'
	r.data = r.data[n:]
	return n, nil
}

// syntaxError takes the line out of an error of the YAML library. The library
// counts from 0 in what its parser finds ("did not find expected ...") and from
// 1 in what its scanner finds, and leaves the line out when it is the first.
func syntaxError(err error, data []byte) (line int, msg string) {
	msg = strings.TrimPrefix(err.Error(), "yaml: ")
	if m := anchorOf.FindStringSubmatch(msg); m != nil {
		before, _, _ := bytes.Cut(data, []byte("*"+m[1]))
		return 1 + bytes.Count(before, []byte("\n")), "unknown anchor " + show(m[1])
	}
	if m := lineOf.FindStringSubmatch(msg); m != nil {
		line, _ = strconv.Atoi(m[1])
		msg = msg[len(m[0]):]
	}
	if strings.HasPrefix(msg, "did not find expected") || line == 0 {
		line++
	}
	return line, msg
}
