package config

import "strings"

// suggest is the hint for a word that is none of the known ones: the one it
// probably means, else all of them when they are few.
func suggest(word string, known []string) string {
	if best := nearest(word, known); best != "" {
		return "did you mean " + best + "?"
	}
	const few = 40
	if len(known) == 0 || len(known) > few {
		return ""
	}
	return "use one of " + strings.Join(known, ", ")
}

// speller gives hints for many words among many known ones, in bounded time: each
// word is looked up once, and when maxSpelled were, no more are.
type speller struct {
	known []string
	hints map[string]string
}

const maxSpelled = 1000

func newSpeller(known []string) *speller {
	return &speller{known: known, hints: map[string]string{}}
}

// suggest is [suggest] among the known words of s.
func (s *speller) suggest(word string) string {
	hint, done := s.hints[word]
	if !done && len(s.hints) < maxSpelled {
		hint = suggest(word, s.known)
		s.hints[word] = hint
	}
	return hint
}

// nearest is the known word within a third of its length in edits, the first of
// those that are equally near; "" when there is none.
func nearest(word string, known []string) string {
	const longest = 64 // names are shorter; foreign text may not be
	if len(word) > longest {
		return ""
	}
	word = strings.ToLower(word)
	best, least := "", 4
	for _, k := range known {
		if len(k) > longest || abs(len(k)-len(word)) >= least {
			continue
		}
		if n := distance(word, strings.ToLower(k)); n < least && 3*n <= max(len(k), 3) {
			best, least = k, n
		}
	}
	return best
}

// distance counts the edits (insert, delete, replace, swap of neighbors) that
// make b of a: the optimal string alignment distance, in bytes.
func distance(a, b string) int {
	before := make([]int, len(b)+1)
	above := make([]int, len(b)+1)
	row := make([]int, len(b)+1)
	for j := range above {
		above[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(above[j]+1, row[j-1]+1, above[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, above, row = above, row, before
	}
	return above[len(b)]
}

func abs(n int) int { return max(n, -n) }
