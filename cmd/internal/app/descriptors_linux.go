package app

import (
	"math"
	"syscall"
)

// descriptorLimit returns how many files this process may open; false if that is not
// known. At the start the runtime has raised the soft limit to the hard one, or one
// below; programs that probe get the soft limit that this process was started with.
func descriptorLimit() (int, bool) {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 0, false
	}
	return int(min(l.Cur, math.MaxInt32)), true
}

// raiseDescriptors is descriptorLimit once the limit is as high as needed, where this
// process may raise it (CAP_SYS_RESOURCE). The next process of an upgrade inherits it, and
// so do programs that probe.
func raiseDescriptors(need int) (int, bool) {
	limit, known := descriptorLimit()
	if !known || limit >= need {
		return limit, known
	}
	l := syscall.Rlimit{Cur: uint64(need), Max: uint64(need)}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return limit, true // it may not
	}
	return descriptorLimit()
}
