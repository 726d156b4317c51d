package config

import (
	"sync"

	"go.yaml.in/yaml/v3"
)

// nodes keeps trees that have been decoded for those that come next: a load of a
// fleet needs millions of nodes, and few of them at a time. The zero value and nil
// are ready for use; nil keeps nothing. Safe for concurrent use.
type nodes struct {
	mu   sync.Mutex
	free [][]yaml.Node
}

// nodesAtOnce is how many nodes are handed out together.
const nodesAtOnce = 512

func (n *nodes) take() []yaml.Node {
	if n == nil {
		return make([]yaml.Node, nodesAtOnce)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.free) == 0 {
		return make([]yaml.Node, nodesAtOnce)
	}
	last := len(n.free) - 1
	block := n.free[last]
	n.free = n.free[:last]
	return block
}

// give takes blocks back. Nothing may refer to their nodes any more.
func (n *nodes) give(blocks [][]yaml.Node) {
	if n == nil || len(blocks) == 0 {
		return
	}
	for i, block := range blocks {
		for j := range block {
			block[j] = yaml.Node{Content: block[j].Content[:0]} // its room is used again
		}
		blocks[i] = block[:cap(block)]
	}
	n.mu.Lock()
	n.free = append(n.free, blocks...)
	n.mu.Unlock()
}
