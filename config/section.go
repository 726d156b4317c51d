package config

import (
	"time"

	"go.yaml.in/yaml/v3"
)

// field is one key of a mapping that becomes a T. The tables of fields are the
// only list of keys there is: the decoder, the hints, the defaults and
// [Reference] all come from them.
type field[T any] struct {
	name string
	typ  string // for the documentation
	// def is the default as YAML, decoded by set into every T; "" leaves the
	// zero value. note is a default in words where it depends on something.
	def, note string
	required  bool
	// open says that several files may give the key and add to it.
	open bool
	// only has the probe types that know the key; nil means all.
	only []string
	set  func(c *cursor, v *T)
}

// section is a table of fields made ready.
type section[T any] struct {
	fields []field[T]
	index  map[string]int
	names  []string
	base   T // every default filled in
}

// newSection decodes the defaults through d, which collects what is wrong with
// them like anything else; a test sees that there is nothing.
func newSection[T any](d *decoder, fields []field[T]) *section[T] {
	s := &section[T]{fields: fields, index: make(map[string]int, len(fields))}
	root := &cursor{place: &place{source: &source{name: "default"}}, d: d}
	for i := range fields {
		f := &fields[i]
		s.index[f.name] = i
		s.names = append(s.names, f.name)
		if f.def == "" {
			continue
		}
		var doc yaml.Node
		if err := yaml.Unmarshal([]byte(f.def), &doc); err != nil {
			root.fail(err.Error(), f.name)
			continue
		}
		f.set(root.below(&yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: f.name}, doc.Content[0], 0), &s.base)
	}
	return s
}

// read decodes a mapping into v. first has, for each field, where it was given
// before: by another file of the same section, or in this mapping as it goes on.
func (s *section[T]) read(c *cursor, v *T, first []*place) {
	ok := c.entries(func(key *place, value *cursor) {
		i, known := s.index[key.key]
		if !known {
			c.d.errs.add(key, "unknown key", suggest(key.key, s.names))
			return
		}
		f := &s.fields[i]
		if at := first[i]; at != nil && (at.source == key.source || !f.open) {
			c.d.errs.add(key, "duplicate key", "first given at "+at.pos().String())
			return
		}
		first[i] = key
		f.set(value, v)
	})
	if !ok {
		return
	}
	for i := range s.fields {
		if f := &s.fields[i]; f.required && first[i] == nil {
			c.d.errs.add(c.child(f.name), "is missing", "add it: "+f.typ)
		}
	}
}

// one decodes a mapping that stands alone into a T that has the defaults, and
// says which keys it gave.
func (s *section[T]) one(c *cursor, v *T) given[T] {
	*v = s.base
	return s.into(c, v)
}

// into is one for a T that holds more than the defaults already.
func (s *section[T]) into(c *cursor, v *T) given[T] {
	g := given[T]{s: s, at: c.place, first: make([]*place, len(s.fields))}
	s.read(c, v, g.first)
	return g
}

// into makes a set of a way to read a value and the field it goes to. A value that
// is wrong leaves the default, so that what is checked later can go on.
func into[T, V any](read func(*cursor) (V, bool), to func(*T) *V) func(*cursor, *T) {
	return func(c *cursor, v *T) {
		if x, ok := read(c); ok {
			*to(v) = x
		}
	}
}

// between reads a whole number within bounds.
func between(low, high int) func(*cursor) (int, bool) {
	return func(c *cursor) (int, bool) { return c.integer(low, high) }
}

// lasting reads a duration within bounds.
func lasting(low, high time.Duration) func(*cursor) (time.Duration, bool) {
	return func(c *cursor) (time.Duration, bool) { return c.duration(low, high) }
}

// oneOf reads one of the words.
func oneOf(words ...string) func(*cursor) (string, bool) {
	return func(c *cursor) (string, bool) { return c.choice(words...) }
}

// united is a section that several files may add to, each key given once.
type united[T any] struct {
	*section[T]

	first []*place
}

func newUnited[T any](d *decoder, fields []field[T]) united[T] {
	return united[T]{newSection(d, fields), make([]*place, len(fields))}
}

func (u united[T]) add(c *cursor, v *T) { u.read(c, v, u.first) }

// given says whether any file gave the key.
func (u united[T]) given(name string) bool { return u.first[u.index[name]] != nil }

// given is which keys a mapping gave, and where.
type given[T any] struct {
	s     *section[T]
	at    *place
	first []*place
}

// has says whether the key was given.
func (g given[T]) has(name string) bool { return g.first[g.s.index[name]] != nil }

// where is the place of a key, or where it would stand.
func (g given[T]) where(name string) *place {
	if at := g.first[g.s.index[name]]; at != nil {
		return at
	}
	return g.at.child(name)
}

// unite says whether key is new among those seen so far, in any file, and adds an
// error naming both places if it is not.
func unite(c *cursor, seen map[string]*place, name string, key *place) bool {
	if at := seen[name]; at != nil {
		c.d.errs.add(key, "duplicate key", "first given at "+at.pos().String())
		return false
	}
	seen[name] = key
	return true
}
