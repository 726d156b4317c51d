//go:build unix

package server

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Descriptor returns the socket of a listener or connection once more, for another
// process; the caller closes it. The File of
// package net would take it out of the mode in which the runtime waits for it.
func Descriptor(c syscall.Conn) (*os.File, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	var fd int
	var dup error
	if err := raw.Control(func(was uintptr) { fd, dup = unix.FcntlInt(was, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return nil, err
	}
	if dup != nil {
		return nil, os.NewSyscallError("fcntl", dup)
	}
	return os.NewFile(uintptr(fd), "socket"), nil
}

// backlog is more than any system allows, which then takes the most that it does.
const backlog = 65535

// listen makes a bound socket accept connections.
func listen(fd uintptr) error { return os.NewSyscallError("listen", unix.Listen(int(fd), backlog)) }
