//go:build linux

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// table is a table in Markdown.
type table struct{ rows [][]string }

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// print writes the table, columns aligned; the first row is the header.
func (t *table) print(w io.Writer) {
	widths := make([]int, len(t.rows[0]))
	for _, row := range t.rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	line := func(row []string, fill string) {
		for i, cell := range row {
			fmt.Fprintf(w, "|%s%s%s%s", fill, cell, strings.Repeat(fill, widths[i]-len([]rune(cell))), fill)
		}
		fmt.Fprintln(w, "|")
	}
	for i, row := range t.rows {
		line(row, " ")
		if i == 0 {
			line(make([]string, len(row)), "-")
		}
	}
	fmt.Fprintln(w)
}

// median returns the middle value, NaN-free: 0 of none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 0 {
		return (sorted[middle-1] + sorted[middle]) / 2
	}
	return sorted[middle]
}

// ratios divides pairwise: values that were measured side by side.
func ratios(values, by []float64) []float64 {
	out := make([]float64, 0, len(values))
	for i, v := range values {
		if i < len(by) && by[i] != 0 {
			out = append(out, v/by[i])
		}
	}
	return out
}

func thousands(v float64) string { return fmt.Sprintf("%.0f k", v/1000) }

func mebibytes(n int64) string { return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20)) }

func us(v float64) string {
	if v >= 1000 {
		return fmt.Sprintf("%.3g ms", v/1000)
	}
	return fmt.Sprintf("%.3g µs", v)
}
