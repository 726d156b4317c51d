//go:build !linux && !dragonfly && !freebsd && !netbsd && !openbsd

package secretfile

// rootFiles and rootFolders are empty: the authorities are not in files, or not in such
// that we know.
func rootFiles() []string   { return nil }
func rootFolders() []string { return nil }
