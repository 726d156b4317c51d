package config

import (
	"bytes"
	"crypto/sha256"
	"hash/fnv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// partSize is how large a part of a file becomes at least, in bytes: its tree has
// some megabytes then.
const partSize = 64 << 10

// part is some whole entries of the registries of a file.
type part struct {
	data  []byte
	line  int    // lines of the file before it
	sum   digest // of data, if there is a cache
	marks int    // in data; see [marks]
	// entries is how many there are.
	entries int
	done    *batch // what is read from it, if that is known already
}

// split cuts the registries of a file into parts that can be parsed one by one: the
// tree of a whole file would take twenty times the memory of the file. head is the
// file without them, its line numbers unchanged. A part has size bytes or more, and
// where it ends is said by the entry behind it: an edit changes the parts around it,
// and not all that follow.
//
// That is right where nothing can reach from one entry into the next, so that an
// entry begins wherever a line begins at the column of the first one. So ok is
// false unless every line below the key is whole in itself, see [wholeLine], as those
// of parts that the cache knows are.
func split(data []byte, size int, cache *Cache) (head []byte, parts []part, ok bool) {
	const key = "registries:"
	begin := bytes.Index(data, []byte("\n"+key)) + 1
	if begin == 0 && !bytes.HasPrefix(data, []byte(key)) {
		return nil, nil, false
	}
	s := splitter{data: data, at: begin, line: bytes.Count(data[:begin], []byte("\n")), column: -1, size: size, cache: cache}
	first, _ := s.next()
	if rest := bytes.TrimLeft(first[len(key):], " "); len(rest) > 0 && rest[0] != '#' {
		return nil, nil, false
	}
	from := s.at
	end, ok := s.entries()
	if !ok || len(s.parts) == 0 {
		return nil, nil, false
	}
	head = append(head, data[:from]...)
	head = append(head, bytes.Repeat([]byte("\n"), bytes.Count(data[from:end], []byte("\n")))...)
	return append(head, data[end:]...), s.parts, true
}

// holdsRegistries says whether the head of a file has the key whose entries were
// cut off behind so many lines: what looks like it may stand inside of a text.
func holdsRegistries(root *yaml.Node, lines int) bool {
	if root == nil || root.Kind != yaml.MappingNode || root.Style&yaml.FlowStyle != 0 {
		return false
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		if key := root.Content[i]; key.Value == "registries" && key.Line == lines && key.Column == 1 {
			return root.Content[i+1].Tag == "!!null"
		}
	}
	return false
}

// splitter goes through a file line by line.
type splitter struct {
	data   []byte
	at     int // where the next line begins
	line   int // lines before it
	column int // of the entries; -1 before the first
	size   int // of a part at least, in bytes
	count  int // entries since the last part
	cache  *Cache
	marks  int // in the parts so far; see [marks]
	parts  []part
}

func (s *splitter) next() (line []byte, ok bool) {
	if s.at >= len(s.data) {
		return nil, false
	}
	line = s.data[s.at:]
	if end := bytes.IndexByte(line, '\n'); end >= 0 {
		line = line[:end]
		s.at++
	}
	s.at += len(line)
	s.line++
	return line, true
}

// entries cuts lines into parts until one begins at column 0, and gives where
// that is.
func (s *splitter) entries() (end int, ok bool) {
	begin, before := s.at, s.line
	for {
		at, above := s.at, s.line
		line, more := s.next()
		if s.inside(line) {
			continue
		}
		text := bytes.TrimLeft(line, " ")
		if more && (len(text) == 0 || text[0] == '#') {
			continue
		}
		indent := len(line) - len(text)
		switch {
		case !more || indent == 0:
			if s.column < 0 || more && text[0] == '-' {
				return 0, false
			}
			return at, s.cut(begin, at, before)
		case s.column < 0:
			s.column, s.count = indent, 1
		case indent == s.column && s.ends(at-begin, text):
			if !s.cut(begin, at, before) {
				return 0, false
			}
			begin, before, s.count = at, above, 1
		case indent == s.column:
			s.count++
		}
	}
}

// inside says whether a line is indented deeper than the entries: most are, and have
// nothing to say about where parts end.
func (s *splitter) inside(line []byte) bool {
	if s.column < 0 || len(line) <= s.column {
		return false
	}
	for _, c := range line[:s.column+1] {
		if c != ' ' {
			return false
		}
	}
	return true
}

// ends says whether a part of n bytes ends before an entry that begins with a text.
func (s *splitter) ends(n int, text []byte) bool {
	const (
		oneOf = 64 // entries part what is large enough
		most  = 4  // times the size
	)
	if n < s.size {
		return false
	}
	h := fnv.New32a()
	_, _ = h.Write(text) // never fails
	return n >= most*s.size || h.Sum32()%oneOf == 0
}

// cut adds a part and says whether it may be one.
func (s *splitter) cut(begin, end, line int) bool {
	p := part{data: s.data[begin:end], line: line, entries: s.count}
	if s.cache != nil {
		p.sum = sha256.Sum256(p.data)
	}
	k, known := s.cache.get(p.sum)
	if p.marks = k.marks; !known {
		p.marks = marks(p.data)
	}
	s.parts = append(s.parts, p)
	s.marks += p.marks
	return s.marks <= maxMarks && (known || wholeLines(p.data, s.column))
}

// wholeLines says whether entries that begin at a column can be read by themselves.
func wholeLines(data []byte, column int) bool {
	s := splitter{data: data}
	for {
		line, more := s.next()
		if !more {
			return true
		}
		text := bytes.TrimLeft(line, " ")
		if len(text) == 0 || text[0] == '#' {
			continue
		}
		indent := len(line) - len(text)
		if indent < column || !wholeLine(text) || indent == column && !beginsEntry(text) {
			return false
		}
	}
}

// beginsEntry says whether a line begins with a key.
func beginsEntry(text []byte) bool {
	c := text[0]
	return (letterOrDigit(c) || c == '_' || c == '"' || c == '\'') && bytes.IndexByte(text, ':') > 0
}

// wholeLine says whether what begins on a line ends on it, but for a scalar
// without quotes, which ends before the first line that is not indented deeper than
// its key: quotes and brackets are closed, no block of text is opened, and no
// anchor, alias or tag leads elsewhere.
func wholeLine(text []byte) bool {
	if !printable(text) {
		return false
	}
	depth := 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '#' && i > 0 && text[i-1] == ' ':
			return depth == 0
		case c == '"' || c == '\'':
			if i = closing(text, i); i < 0 {
				return false
			}
		case c == '[' || c == '{':
			depth++
		case c == ']' || c == '}':
			if depth--; depth < 0 {
				return false
			}
		case strings.IndexByte("&*!|>%@`", c) >= 0:
			return false
		}
	}
	return depth == 0
}

// closing gives the quote that ends what the one at i begins; -1 if it is none,
// because it stands inside of a word, or has no such end.
func closing(text []byte, i int) int {
	if i > 0 && strings.IndexByte(" [{,", text[i-1]) < 0 {
		return -1
	}
	length := bytes.IndexByte(text[i+1:], text[i])
	if length < 0 || bytes.IndexByte(text[i+1:i+1+length], '\\') >= 0 {
		return -1
	}
	return i + 1 + length
}

// printable says whether all of a line is printable ASCII.
func printable(text []byte) bool {
	for _, c := range text {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// parse gives the entries of the part as one mapping.
func (p part) parse(pool *nodes) parsed {
	root, blocks, ok := parsePlain(p.data, pool)
	var problem *problem
	if !ok {
		root, problem = parseLibrary(p.data)
	}
	if root != nil {
		p.shift(root)
	}
	return parsed{root: root, blocks: blocks, problem: problem}
}

// shift makes the lines of a tree those of the file.
func (p part) shift(n *yaml.Node) {
	n.Line += p.line
	for _, c := range n.Content {
		p.shift(c)
	}
}
