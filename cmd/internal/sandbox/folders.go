package sandbox

import (
	"os"
	"path/filepath"
	"strings"
)

// maxLinks bounds the links that are followed from one name, as the kernel does.
const maxLinks = 40

// Folders lists where a file is read from: its folder, and if it is a link, the folders
// that the links lead through and end in. Whoever renews a file that is a link makes
// the link lead to another file beside the one before (certbot: live/ to archive/), or
// exchanges the link to a folder of versions (Kubernetes: ..data), which therefore is
// granted with all versions where they lie beside it. Where a link to a folder leads
// elsewhere altogether, the folder that it leads to at the start is all there is.
func Folders(path string) (out []string) {
	for range maxLinks {
		dir, name := filepath.Split(path)
		out = append(append(out, dir), versioned(dir)...)
		if resolved, err := filepath.EvalSymlinks(dir); err == nil {
			dir = resolved
		}
		to, err := os.Readlink(filepath.Join(dir, name))
		if err != nil {
			return out // the file itself, a pattern, or nothing yet
		}
		if path = to; !filepath.IsAbs(to) {
			path = filepath.Join(dir, to)
		}
	}
	return out
}

// versioned lists the folders on the way to dir that hold a link which leads to
// another folder below them. The first two levels of the tree are never among them:
// what lies below these is not of one program.
func versioned(dir string) (out []string) {
	for at := filepath.Clean(dir); ; at = filepath.Dir(at) {
		parent := filepath.Dir(at)
		if strings.Count(parent, "/") < 2 {
			return out
		}
		if to, err := os.Readlink(at); err == nil && filepath.IsLocal(to) {
			out = append(out, parent)
		}
	}
}
