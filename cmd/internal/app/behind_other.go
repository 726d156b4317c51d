//go:build !linux

package app

// behind runs f. Threads have no priorities of their own here.
func behind(f func()) { f() }
