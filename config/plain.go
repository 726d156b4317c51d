package config

import (
	"bytes"
	"strings"

	"go.yaml.in/yaml/v3"
)

// parsePlain gives the tree that the YAML library would give for a document, but
// for comments and the places of values left out, when the document keeps to the
// plain part of YAML in which bulk is written: printable ASCII, every scalar, list
// and mapping in brackets on one line, no anchors, tags, escapes or directives.
// ok is false for everything else, faults included: the library has the last word
// on all of it. It takes a twentieth of the library's time. FuzzPlain holds the two
// against one another.
//
// The nodes are in blocks of the pool, to be given back when the tree has been
// decoded.
func parsePlain(data []byte, pool *nodes) (root *yaml.Node, blocks [][]yaml.Node, ok bool) {
	if len(data) > maxPlain {
		return nil, nil, false
	}
	p := &plainParser{rest: data, known: make(map[string]plainScalar), pool: pool}
	if p.next(); p.indent >= 0 {
		root = p.block()
	}
	if last := len(p.blocks) - 1; last >= 0 { // what is not in use need not be made ready again
		p.blocks[last] = p.blocks[last][:len(p.blocks[last])-len(p.nodes)]
	}
	if root == nil || p.failed || p.indent >= 0 {
		pool.give(p.blocks)
		return nil, nil, false
	}
	return root, p.blocks, true
}

// What is deeper or longer than these is left to the library, which knows where to
// stop.
const (
	maxPlainDepth = 64
	maxPlainWord  = 512 // characters; the library refuses keys of more than 1024
)

// plainParser reads line by line. What it cannot read makes it fail for good.
type plainParser struct {
	rest   []byte // what follows the current line
	line   int    // number of the current line, from 1
	indent int    // column of its first character, from 0; -1 behind the last line
	text   []byte // the current line from there on
	depth  int
	failed bool
	nodes  []yaml.Node // of the last block, not yet in use
	blocks [][]yaml.Node
	pool   *nodes
	known  map[string]plainScalar // words met before: bulk repeats them
}

// plainScalar is the text of a scalar without quotes, and the tag it has.
type plainScalar struct{ value, tag string }

func (p *plainParser) fail() *yaml.Node {
	p.failed, p.indent, p.text = true, -1, nil
	return nil
}

// next goes to the next line that is neither blank nor a comment.
func (p *plainParser) next() {
	for len(p.rest) > 0 && !p.failed {
		line := p.rest
		if end := bytes.IndexByte(line, '\n'); end >= 0 {
			line, p.rest = line[:end], p.rest[end+1:]
		} else {
			p.rest = nil
		}
		p.line++
		text := bytes.TrimLeft(line, " ")
		if len(text) == 0 {
			continue
		}
		if !printable(text) {
			p.fail()
			return
		}
		if text[0] == '#' {
			continue
		}
		p.indent, p.text = len(line)-len(text), text
		return
	}
	p.indent, p.text = -1, nil
}

// node gives a node at an offset of the current line's text.
func (p *plainParser) node(kind yaml.Kind, tag string, offset int) *yaml.Node {
	if len(p.nodes) == 0 {
		p.nodes = p.pool.take()
		p.blocks = append(p.blocks, p.nodes)
	}
	n := &p.nodes[0]
	p.nodes = p.nodes[1:]
	n.Kind, n.Tag, n.Line, n.Column = kind, tag, p.line, p.indent+offset+1
	return n
}

// null is a value that is left out.
func (p *plainParser) null() *yaml.Node { return p.node(yaml.ScalarNode, "!!null", 0) }

// dash says whether the current line is an element of a list.
func (p *plainParser) dash() bool {
	return len(p.text) > 0 && p.text[0] == '-' && (len(p.text) == 1 || p.text[1] == ' ')
}

// block reads the list or mapping that begins on the current line.
func (p *plainParser) block() *yaml.Node {
	if p.depth++; p.depth > maxPlainDepth {
		return p.fail()
	}
	defer func() { p.depth-- }()
	if p.dash() {
		return p.blockList()
	}
	return p.blockMapping()
}

func (p *plainParser) blockMapping() *yaml.Node {
	indent := p.indent
	out := p.node(yaml.MappingNode, "!!map", 0)
	for p.indent == indent && !p.dash() {
		key, at := p.scalar(0, false)
		if key == nil || key.Tag == "!!merge" || !p.colon(at) {
			return p.fail()
		}
		at = p.skip(at + 1)
		var value *yaml.Node
		switch {
		case !p.ended(at):
			value = p.inline(at)
			if p.indent > indent {
				return p.fail() // text that goes on
			}
		default:
			if p.next(); p.indent > indent || p.indent == indent && p.dash() {
				value = p.block()
			} else {
				value = p.null()
			}
		}
		out.Content = append(out.Content, key, value)
	}
	if p.indent >= indent {
		return p.fail() // deeper, or a list where a key should be
	}
	return out
}

func (p *plainParser) blockList() *yaml.Node {
	indent := p.indent
	out := p.node(yaml.SequenceNode, "!!seq", 0)
	for p.indent == indent && p.dash() {
		at := p.skip(1)
		var value *yaml.Node
		switch {
		case p.ended(at):
			if p.next(); p.indent > indent {
				value = p.block()
			} else {
				value = p.null()
			}
		case p.text[at] == '-':
			return p.fail()
		case p.begins(at):
			// A mapping whose first key stands behind the dash.
			p.indent, p.text = p.indent+at, p.text[at:]
			value = p.block()
		default:
			value = p.inline(at)
		}
		if p.indent > indent {
			return p.fail()
		}
		out.Content = append(out.Content, value)
	}
	return out
}

// begins says whether the key of a mapping stands at an offset of the line.
func (p *plainParser) begins(at int) bool {
	if c := p.text[at]; c == '[' || c == '{' {
		return false
	}
	key, end := p.scalar(at, false)
	return key != nil && p.colon(end)
}

// skip gives the offset of the next character that is no space.
func (p *plainParser) skip(at int) int {
	for at < len(p.text) && p.text[at] == ' ' {
		at++
	}
	return at
}

// ended says whether nothing but a comment follows from at on, where a word could
// begin.
func (p *plainParser) ended(at int) bool {
	return at >= len(p.text) || p.text[at] == '#' && p.text[at-1] == ' '
}

// colon says whether what ends at is the key of a mapping.
func (p *plainParser) colon(at int) bool {
	return at < len(p.text) && p.text[at] == ':' && (at+1 == len(p.text) || p.text[at+1] == ' ')
}

// inline reads the value from at to the end of the line, and goes to the next.
func (p *plainParser) inline(at int) *yaml.Node {
	value, end := p.value(at, false)
	if value == nil || !p.ended(p.skip(end)) {
		return p.fail()
	}
	p.next()
	return value
}

// value reads a scalar, or a list or mapping in brackets; nil for anything else.
func (p *plainParser) value(at int, flow bool) (*yaml.Node, int) {
	switch {
	case at >= len(p.text):
		return nil, at
	case p.text[at] == '[', p.text[at] == '{':
		if p.depth++; p.depth > maxPlainDepth {
			return nil, at
		}
		defer func() { p.depth-- }()
		if p.text[at] == '[' {
			return p.flowList(at)
		}
		return p.flowMapping(at)
	}
	return p.scalar(at, flow)
}

func (p *plainParser) flowList(at int) (*yaml.Node, int) {
	out := p.node(yaml.SequenceNode, "!!seq", at)
	at = p.skip(at + 1)
	for at < len(p.text) && p.text[at] != ']' {
		value, end := p.value(at, true)
		if value == nil {
			return nil, end
		}
		out.Content = append(out.Content, value)
		if at = p.comma(end, ']'); at < 0 {
			return nil, end
		}
	}
	if at >= len(p.text) {
		return nil, at // goes on in the next line
	}
	return out, at + 1
}

func (p *plainParser) flowMapping(at int) (*yaml.Node, int) {
	out := p.node(yaml.MappingNode, "!!map", at)
	at = p.skip(at + 1)
	for at < len(p.text) && p.text[at] != '}' {
		key, end := p.scalar(at, true)
		if key == nil || key.Tag == "!!merge" || !p.colon(end) {
			return nil, end
		}
		value, end := p.value(p.skip(end+1), true)
		if value == nil {
			return nil, end
		}
		out.Content = append(out.Content, key, value)
		if at = p.comma(end, '}'); at < 0 {
			return nil, end
		}
	}
	if at >= len(p.text) {
		return nil, at // goes on in the next line
	}
	return out, at + 1
}

// comma goes behind the comma after an element, or to the closing bracket; -1 if
// there is neither.
func (p *plainParser) comma(at int, closing byte) int {
	at = p.skip(at)
	switch {
	case at >= len(p.text):
		return -1
	case p.text[at] == ',':
		return p.skip(at + 1)
	case p.text[at] == closing:
		return at
	}
	return -1
}

// scalar reads text, quoted or not, and gives where it ends; nil for what is not
// plain.
func (p *plainParser) scalar(at int, flow bool) (*yaml.Node, int) {
	if at >= len(p.text) {
		return nil, at
	}
	if c := p.text[at]; c == '"' || c == '\'' {
		return p.quoted(at, c)
	}
	end := p.word(at)
	if end == at || end-at > maxPlainWord {
		return nil, at
	}
	if end < len(p.text) {
		// Whatever else might belong to the text, or end it in a way of its own.
		switch c := p.text[end]; {
		case c == ' ':
			next := p.skip(end)
			if goesOn := !p.ended(next); goesOn && (!flow || strings.IndexByte(",]}", p.text[next]) < 0) {
				return nil, end
			}
		case p.colon(end):
		case flow && (c == ',' || c == ']' || c == '}'):
		default:
			return nil, end
		}
	}
	s := p.known[string(p.text[at:end])]
	if s.tag == "" {
		s.value = string(p.text[at:end])
		if s.tag = plainTag(s.value); s.tag == "!!str" && letter(s.value[0]) && len(s.value) <= 32 {
			p.known[s.value] = s
		}
	}
	n := p.node(yaml.ScalarNode, s.tag, at)
	n.Value = s.value
	return n, end
}

func (p *plainParser) quoted(at int, quote byte) (*yaml.Node, int) {
	length := bytes.IndexByte(p.text[at+1:], quote)
	if length < 0 {
		return nil, at
	}
	end := at + length + 2
	inside := p.text[at+1 : end-1]
	if len(inside) > maxPlainWord || bytes.IndexByte(inside, '\\') >= 0 || end < len(p.text) && p.text[end] == quote {
		return nil, at
	}
	n := p.node(yaml.ScalarNode, "!!str", at)
	n.Value = string(inside)
	return n, end
}

// word gives the end of a run of characters that mean nothing but themselves: a
// colon only inside.
func (p *plainParser) word(at int) int {
	if c := p.text[at]; !letterOrDigit(c) && c != '/' && c != '_' {
		return at
	}
	for at < len(p.text) {
		c := p.text[at]
		if !letterOrDigit(c) && strings.IndexByte("._-/@+~%=", c) < 0 &&
			(c != ':' || at+1 >= len(p.text) || p.text[at+1] != ':' && !letterOrDigit(p.text[at+1])) {
			break
		}
		at++
	}
	return at
}

func letter(c byte) bool { return letterOrDigit(c) && c > '9' }

// plainTag is the tag that the library gives to a scalar without quotes. It looks
// at an address as at every kind of number first, so that these are told here.
func plainTag(s string) string {
	if !letter(s[0]) && strings.Count(s, ".") == 3 && strings.Trim(s, "0123456789.") == "" {
		return "!!str"
	}
	n := yaml.Node{Kind: yaml.ScalarNode, Value: s}
	return n.ShortTag()
}
