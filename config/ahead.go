package config

import (
	"iter"
	"runtime"

	"go.yaml.in/yaml/v3"
)

// parsed is a file before it is decoded. At most one of the fields is set; none
// for a file without content.
type parsed struct {
	root    *yaml.Node
	problem *problem
	err     error // of the file system
}

func parse(data []byte) parsed {
	root, problem := parseDocument(data)
	return parsed{root: root, problem: problem}
}

// ahead gives the files in order and parses the next ones meanwhile: parsing is
// most of the work and no file depends on another until it is decoded. As many
// are under way as there are processors, which bounds the trees in memory too.
// The goroutines end on their own, each after its one file, even when the caller
// stops early: the channels have room for what nobody takes.
func ahead(paths []string) iter.Seq2[string, parsed] {
	return func(yield func(string, parsed) bool) {
		var underWay []chan parsed
		rest := paths
		fill := func() {
			for len(rest) > 0 && len(underWay) < runtime.GOMAXPROCS(0) {
				underWay = append(underWay, start(rest[0]))
				rest = rest[1:]
			}
		}
		fill()
		for _, path := range paths {
			p := <-underWay[0]
			underWay = underWay[1:]
			fill()
			if !yield(path, p) {
				return
			}
		}
	}
}

func start(path string) chan parsed {
	done := make(chan parsed, 1)
	go func() {
		data, err := readFile(path)
		if err != nil {
			done <- parsed{err: err}
			return
		}
		done <- parse(data)
	}()
	return done
}
