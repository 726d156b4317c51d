package geo

import (
	"slices"
	"strings"
)

// nearestSpellings returns up to three names of regions that name may be a slip
// of: those at the least edit distance, if that is small for the length of the
// name. The display name counts too, so that "West US" finds westus.
func nearestSpellings(name string, table []wellKnown) []string {
	want := squash(name[strings.LastIndexByte(name, '/')+1:])
	limit := 1 + len(want)/5
	var near []string
	for _, w := range table {
		d := min(editDistance(want, squash(w.region)), editDistance(want, squash(w.display)))
		if d > limit {
			continue
		}
		if d < limit {
			limit, near = d, near[:0]
		}
		near = append(near, w.Name)
	}
	slices.Sort(near)
	return near[:min(len(near), 3)]
}

// squash drops what people write differently: case, spaces, hyphens.
func squash(s string) string {
	return strings.Map(func(r rune) rune {
		if r == ' ' || r == '-' || r == '_' || r == '.' {
			return -1
		}
		return r
	}, strings.ToLower(s))
}

// editDistance is the Levenshtein distance between a and b in bytes.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			substitute := diagonal
			if a[i] != b[j] {
				substitute++
			}
			diagonal = row[j+1]
			row[j+1] = min(substitute, diagonal+1, row[j]+1)
		}
	}
	return row[len(b)]
}
