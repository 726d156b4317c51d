package app

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// niceness of what can wait. Beside a worker that wants the same core it gets a
// quarter of it.
const niceness = 5

// behind runs f on a thread that the kernel puts behind the others, and returns when
// it has: a reload must not take the core from answers.
func behind(f func()) {
	done := make(chan struct{})
	go func() { // ends with f
		defer close(done)
		// Never unlocked: the thread ends with the goroutine, for nobody may raise it
		// again.
		runtime.LockOSThread()
		_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), niceness) // else as important as others
		f()
	}()
	<-done
}
