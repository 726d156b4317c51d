package config

import (
	"iter"
	"runtime"

	"go.yaml.in/yaml/v3"
)

// parsed is a file before it is decoded. At most one of root, problem and err is
// set; none for a file without content.
type parsed struct {
	root    *yaml.Node
	parts   []part // of its registries, which are then not below root
	problem *problem
	err     error         // of the file system
	data    []byte        // with parts: the whole file
	blocks  [][]yaml.Node // where the nodes are, to be given back
}

// parse reads the text of a file, the registries of which in parts where they can be.
func (d *decoder) parse(data []byte, src *source) parsed {
	// Where care is taken, small files are read at once.
	if !d.careful || len(data) > 4*d.part {
		if p, ok := d.parseParts(data, src); ok {
			return p
		}
	}
	root, blocks, problem := parseDocument(data, &d.nodes)
	return parsed{root: root, problem: problem, blocks: blocks}
}

func (d *decoder) parseParts(data []byte, src *source) (p parsed, ok bool) {
	head, parts, ok := split(data, d.part, d.cache)
	if !ok {
		return parsed{}, false
	}
	root, blocks, problem := parseDocument(head, &d.nodes)
	if problem != nil || !holdsRegistries(root, parts[0].line) {
		return parsed{}, false
	}
	if len(parts) == 1 { // among many such files: here, and not one after the other
		b := d.batch(parts[0], &place{source: src})
		parts[0].done = &b
	}
	return parsed{root: root, parts: parts, data: data, blocks: blocks}, true
}

// parseFile is parse for a file of the file system.
func (d *decoder) parseFile(path string) parsed {
	data, err := readFile(path)
	if err != nil {
		return parsed{err: err}
	}
	return d.parse(data, &source{name: path})
}

// ahead gives what do makes of each item, in order, and does the next ones
// meanwhile: parsing is most of the work, and nothing depends on what is behind it
// until it is decoded. As many are under way as there are processors, which bounds
// the trees in memory too. The goroutines end on their own, each after its one
// item, even when the caller stops early: the channels have room for what nobody
// takes. beside, unless nil, runs each.
func ahead[T, R any](items []T, do func(T) R, beside func(func())) iter.Seq2[T, R] {
	if beside == nil {
		beside = func(f func()) { f() }
	}
	return func(yield func(T, R) bool) {
		var underWay []chan R
		rest := items
		fill := func() {
			for len(rest) > 0 && len(underWay) < runtime.GOMAXPROCS(0) {
				done := make(chan R, 1)
				go func(item T) { beside(func() { done <- do(item) }) }(rest[0])
				underWay = append(underWay, done)
				rest = rest[1:]
			}
		}
		fill()
		for _, item := range items {
			r := <-underWay[0]
			underWay = underWay[1:]
			fill()
			if !yield(item, r) {
				return
			}
		}
	}
}
