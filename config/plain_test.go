package config

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// shape is a node as far as the decoder looks at it.
type shape struct {
	Kind         yaml.Kind
	Tag, Value   string
	Line, Column int
	Content      []shape
}

func shapeOf(n *yaml.Node) shape {
	s := shape{Kind: n.Kind, Tag: n.Tag, Value: n.Value, Line: n.Line, Column: n.Column}
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" && n.Value == "" {
		s.Line, s.Column = 0, 0 // a value left out stands nowhere
	}
	for _, c := range n.Content {
		s.Content = append(s.Content, shapeOf(c))
	}
	return s
}

// comparePlain holds the plain parser against the library, and says whether it
// understood the document. The nodes are used again for the next one.
func comparePlain(t *testing.T, data []byte, pool *nodes) bool {
	t.Helper()
	got, blocks, ok := parsePlain(data, pool)
	defer pool.give(blocks)
	if !ok {
		return false
	}
	want, problem := parseLibrary(data)
	if problem != nil || want == nil {
		t.Fatalf("understood what the library refuses with %+v:\n%s", problem, data)
	}
	if diff := cmp.Diff(shapeOf(want), shapeOf(got)); diff != "" {
		t.Fatalf("read as something else (-library +plain):\n%s\n%s", diff, data)
	}
	return true
}

// TestPlain says what is plain and what is left to the library.
func TestPlain(t *testing.T) {
	plain := []string{
		"a: b", "a:\n  b: c\n  d: [1, 2.5, 10.0.0.1, \"2001:db8::1\"]\ne:\n", "a: {b: c, d: [x, {y: z}], }",
		"a:\n- b\n- c\nd: e", "a:\n  - b: c\n    d: e\n  - f", "# x\n\na: b # c\n  # d\n\nb: 'it is'", "- a\n-\n- b: 1",
		"zone: example.io\nttl: 300s\nport: 443\nyes: no\nx: null\ny: 0x10\nz: 1e3\nd: 2001-02-03", "  a: 1\n  b: 2",
		"\"a b\": c\n'd': \"e # f: g\"", "a: 2001:db8::1", "a: {}\nb: []",
	}
	var pool nodes
	for _, text := range plain {
		if !comparePlain(t, []byte(text), &pool) {
			t.Errorf("not understood:\n%s", text)
		}
	}
	left := []string{
		"", "# nothing", "a", "a: &x b", "a: *x", "a: !t b", "a: |\n b", "a: b\n  c", "a: b: c", "a: [b,\n  c]", "a: \"b\\n\"", "a: 'b''c'",
		"a:\tb", "a: b\r\nc: d", "a: ü", "---\na: b", "a: b\n---\nc: d", "? a\n: b", "<<: {a: b}", "a: b\n c: d", "a: [b", "a: b c", "- - a", "%YAML 1.2\n---\na: b",
		"a: b\n  - c", "a: -1", "a: {b}", "a: [b: c]", "{a: b}", "a:b", "a: \"b\" c", "a:\n  - b\n - c", strings.Repeat("- ", 100) + "a", strings.Repeat("k", 1100) + ": 1", "a: b\n- c", "a: \"b\nc\"",
	}
	for _, text := range left {
		if _, _, ok := parsePlain([]byte(text), nil); ok {
			t.Errorf("understood:\n%s", text)
		}
	}
}

// TestPlainIsTheLibrary reads generated documents, most of them damaged a little,
// with both parsers.
func TestPlainIsTheLibrary(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	const runs = 4_000
	var pool nodes
	understood := 0
	for range runs {
		g := yamlWriter{rng: rng}
		g.mapping(0, 3)
		text := g.text.String()
		for range rng.IntN(3) {
			at := rng.IntN(len(text))
			text = text[:at] + string("\n :-#,[]{}\"'&*!|>ab1"[rng.IntN(20)]) + text[at+rng.IntN(2):]
		}
		if comparePlain(t, []byte(text), &pool) {
			understood++
		}
	}
	if understood < runs/3 {
		t.Errorf("%d of %d documents understood: too few to compare", understood, runs)
	}
}

// yamlWriter writes random documents in the ways people do.
type yamlWriter struct {
	rng  *rand.Rand
	text strings.Builder
}

func (g *yamlWriter) mapping(indent, depth int) {
	for i := range 1 + g.rng.IntN(3) {
		fmt.Fprintf(&g.text, "%s"+g.pick("key%d", "a.b%d", "\"q %d\"", "'s%d'", "aws/us-east-%d", "10.0.0.0/%d")+":", strings.Repeat(" ", indent), i)
		g.below(indent, depth)
	}
}

func (g *yamlWriter) below(indent, depth int) {
	switch n := g.rng.IntN(6); {
	case depth > 0 && n < 2:
		g.text.WriteString(g.pick("\n", " # note\n", "  \n\n"))
		g.mapping(indent+1+g.rng.IntN(3), depth-1)
	case depth > 0 && n == 2:
		g.text.WriteByte('\n')
		g.list(indent+2*g.rng.IntN(2), depth-1)
	default:
		g.text.WriteString(" " + g.flow(2) + g.pick("", " ", " # note") + "\n")
	}
}

func (g *yamlWriter) list(indent, depth int) {
	for range 1 + g.rng.IntN(3) {
		g.text.WriteString(strings.Repeat(" ", indent) + "-")
		if depth > 0 && g.rng.IntN(3) == 0 {
			g.text.WriteString(" first: " + g.flow(1) + "\n")
			g.mapping(indent+2, depth-1)
			continue
		}
		g.below(indent, depth)
	}
}

func (g *yamlWriter) flow(depth int) string {
	switch n := g.rng.IntN(5); {
	case depth > 0 && n == 0:
		return "[" + g.flow(depth-1) + g.pick(", ", ",", " , ") + g.flow(depth-1) + g.pick("", ",", " ") + "]"
	case depth > 0 && n == 1:
		return "{a: " + g.flow(depth-1) + g.pick(", ", ",") + "b: " + g.flow(depth-1) + "}"
	}
	if g.rng.IntN(40) == 0 {
		return g.pick("~x", "-1", "two words", "\"a\\tb\"", "'it''s'", "&a b", "!t x", "", "a: b")
	}
	return g.pick("word", "10.1.2.3", "\"2001:db8::1\"", "2001:db8::1", "443", "30s", "true", "null", "'a # b'", "1.5", "a-b", "\"\"", "12:30", "0o7", "1_000", "2001-01-01")
}

func (g *yamlWriter) pick(words ...string) string { return words[g.rng.IntN(len(words))] }

// FuzzPlain finds documents that the plain parser reads otherwise than the library.
func FuzzPlain(f *testing.F) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 50 {
		g := yamlWriter{rng: rng}
		g.mapping(0, 3)
		f.Add([]byte(g.text.String()))
	}
	f.Add(large(0, 2, 2))
	var pool nodes
	f.Fuzz(func(t *testing.T, data []byte) { comparePlain(t, data, &pool) })
}

// BenchmarkParse is a file of 1,000 registries without what is made of it.
func BenchmarkParse(b *testing.B) {
	data := large(0, 1000, 8)
	for name, parse := range map[string]func([]byte){
		"plain":   func(data []byte) { parsePlain(data, nil) },
		"library": func(data []byte) { _, _ = parseLibrary(data) },
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				parse(data)
			}
		})
	}
}
