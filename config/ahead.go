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
	blocks  [][]yaml.Node // of a part: where its nodes are, to be given back
}

func parse(data []byte) parsed { return parseIn(data, partSize) }

// parseIn is parse with parts of the given size.
func parseIn(data []byte, size int) parsed {
	if head, parts, ok := split(data, size); ok {
		if root, problem := parseDocument(head); problem == nil && root != nil {
			return parsed{root: root, parts: parts, data: data}
		}
	}
	root, problem := parseDocument(data)
	return parsed{root: root, problem: problem}
}

// parseFile is parse for a file of the file system.
func parseFile(path string) parsed {
	data, err := readFile(path)
	if err != nil {
		return parsed{err: err}
	}
	return parse(data)
}

// ahead gives what do makes of each item, in order, and does the next ones
// meanwhile: parsing is most of the work, and nothing depends on what is behind it
// until it is decoded. As many are under way as there are processors, which bounds
// the trees in memory too. The goroutines end on their own, each after its one
// item, even when the caller stops early: the channels have room for what nobody
// takes.
func ahead[T, R any](items []T, do func(T) R) iter.Seq2[T, R] {
	return func(yield func(T, R) bool) {
		var underWay []chan R
		rest := items
		fill := func() {
			for len(rest) > 0 && len(underWay) < runtime.GOMAXPROCS(0) {
				done := make(chan R, 1)
				go func(item T) { done <- do(item) }(rest[0])
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
