package activity

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"portolan.dev/resolver/decide"
)

// Sweep removes what processes of this user have left in the folder of path and no
// server has come back for, as after its state folder was moved: files that nobody
// has locked and in which nothing matters any more at now. path itself stays.
func Sweep(path string, now time.Time) (removed int) {
	kind, _, _ := cutLast(filepath.Base(path))
	names, err := filepath.Glob(filepath.Join(filepath.Dir(path), kind+"-*"))
	if err != nil {
		return 0
	}
	for _, name := range names {
		if name != path && name != path+".new" && sweep(name, now) {
			removed++
		}
	}
	return removed
}

// cutLast cuts a name of [Path] before what tells servers apart.
func cutLast(name string) (before, after string, found bool) {
	i := strings.LastIndexByte(name, '-')
	if i < 0 {
		return name, "", false
	}
	return name[:i], name[i+1:], true
}

func sweep(name string, now time.Time) bool {
	f, err := os.OpenFile(name, os.O_RDWR|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	size, err := own(f)
	if err != nil || matters(f, size, now) {
		return false
	}
	// Locked now, and not while it was read: whoever comes for it must not find it in
	// use.
	return lock(f) == nil && os.Remove(name) == nil
}

// matters says whether a file holds a unit that may still be held, or may be about to.
func matters(f *os.File, size int64, now time.Time) (yes bool) {
	info, err := f.Stat()
	if err != nil || now.Sub(info.ModTime()) < decide.Keep*time.Second {
		return true // somebody may be making it
	}
	left, err := read(f, size)
	if err != nil {
		return false
	}
	oldest := uint32(now.Add(-decide.Keep * time.Second).Unix())
	left.Holds.Each(func(_ decide.Key, e decide.Entry) { yes = yes || e.LastSeen >= oldest || e.Until >= oldest })
	return yes
}
