package config

import (
	"fmt"

	"go.yaml.in/yaml/v3"
)

const (
	// maxAliased bounds the values reached through aliases in one load, since a
	// small file can say a large one with them. What stands in the files
	// themselves is bounded by their size.
	maxAliased = 8 << 20
	// maxMerges bounds the depth of merge keys, which may form a ring.
	maxMerges = 8
)

// spend accounts for n more values below c and says whether to go on.
func (c *cursor) spend(n int) bool {
	if !c.aliased || c.d.errs.closed {
		return !c.d.errs.closed
	}
	c.d.aliased += n
	if c.d.aliased <= maxAliased {
		return true
	}
	c.fail(fmt.Sprintf("aliases expand to more than %d values", maxAliased), "write the values out, or use fewer aliases")
	c.d.errs.closed = true
	return false
}

// below is a cursor on a value inside c. An entry of a mapping has its key node.
func (c *cursor) below(key, value *yaml.Node, index int) *cursor {
	p := &place{up: c.place, source: c.source, index: int32(index), line: int32(value.Line), column: int32(value.Column)}
	in := &cursor{place: p, d: c.d, node: value, aliased: c.aliased}
	if value.Kind == yaml.AliasNode {
		in.node, in.aliased = value.Alias, true
	}
	// A mapping in block style is said to stand where its first key does, and an
	// empty value nowhere useful.
	if key != nil {
		p.key = key.Value
		if value.Kind == yaml.MappingNode || in.empty() {
			p.line, p.column = int32(key.Line), int32(key.Column)
		}
	}
	return in
}

// items gives the elements of a list in order.
func (c *cursor) items(each func(*cursor)) bool {
	if c.node.Kind != yaml.SequenceNode || custom(c.node) {
		hint := "write a list: [...]"
		if c.node.Kind == yaml.ScalarNode && !c.empty() {
			hint = "write a list: [" + clip(c.node.Value) + "]"
			if plainKey(c.node.Value) && !custom(c.node) {
				hint = "write a list: [\"" + c.node.Value + "\"]"
			}
		}
		c.scalar("a list", hint)
		return false
	}
	if !c.spend(len(c.node.Content)) {
		return false
	}
	for i, n := range c.node.Content {
		each(c.below(nil, n, i))
	}
	return true
}

// entries gives the entries of a mapping in order, merge keys resolved. A key
// that stands twice in the mapping is given twice. A key that is no text is
// refused here; so is an empty mapping given as nothing, unless allowed.
func (c *cursor) entries(each func(key *place, value *cursor)) bool {
	if c.empty() {
		return true // "westus:" is "westus: {}"
	}
	if c.node.Kind != yaml.MappingNode || custom(c.node) {
		c.scalar("a mapping", "write key: value below it")
		return false
	}
	content, ok := c.merged(c.node, maxMerges)
	for i := 0; ok && i+1 < len(content); i += 2 {
		key := content[i]
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		at := c.below(key, key, 0)
		switch {
		case key.Kind != yaml.ScalarNode || custom(key):
			at.key = ""
			at.place = c.child("?")
			at.line, at.column = int32(key.Line), int32(key.Column)
			at.fail("a key must be plain text", "")
		case at.empty() || key.Value == "":
			at.place = c.child("?")
			at.line, at.column = int32(key.Line), int32(key.Column)
			at.fail("a key is empty", "")
		default:
			each(at.place, c.below(key, content[i+1], 0))
		}
	}
	return ok
}

// merged gives keys and values of a mapping, with what its merge keys bring that
// it does not have itself (YAML merge key draft: earlier wins).
func (c *cursor) merged(n *yaml.Node, depth int) ([]*yaml.Node, bool) {
	if !c.spend(len(n.Content)) {
		return nil, false
	}
	plain := true
	for i := 0; i < len(n.Content); i += 2 {
		plain = plain && n.Content[i].Tag != "!!merge"
	}
	if plain {
		return n.Content, true
	}
	own := make([]*yaml.Node, 0, len(n.Content))
	have := make(map[string]bool, len(n.Content)/2)
	var sources []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Tag != "!!merge" {
			own = append(own, key, value)
			have[key.Value] = true
			continue
		}
		from, ok := c.mergeSources(value, depth)
		if !ok {
			return nil, false
		}
		sources = append(sources, from...)
	}
	for _, from := range sources {
		content, ok := c.merged(from, depth-1)
		if !ok {
			return nil, false
		}
		for i := 0; i+1 < len(content); i += 2 {
			if key := content[i]; !have[key.Value] {
				have[key.Value] = true
				own = append(own, key, content[i+1])
			}
		}
	}
	return own, true
}

// mergeSources gives the mappings that the value of a merge key names. What they
// hold counts as reached through an alias, whether it is or not.
func (c *cursor) mergeSources(value *yaml.Node, depth int) ([]*yaml.Node, bool) {
	c.aliased = true
	at := &place{up: c.place, source: c.source, key: "<<", line: int32(value.Line), column: int32(value.Column)}
	if depth == 0 {
		c.d.errs.add(at, "merge keys lead into one another", "write the keys out")
		return nil, false
	}
	from := []*yaml.Node{value}
	if value.Kind == yaml.SequenceNode {
		from = value.Content
	}
	if !c.spend(len(from)) {
		return nil, false
	}
	maps := make([]*yaml.Node, 0, len(from))
	for _, n := range from {
		if n.Kind == yaml.AliasNode {
			n = n.Alias
		}
		if n.Kind != yaml.MappingNode {
			c.d.errs.add(at, "a merge key takes a mapping or a list of mappings", "name an anchor: <<: *anchor")
			return nil, false
		}
		maps = append(maps, n)
	}
	return maps, true
}
