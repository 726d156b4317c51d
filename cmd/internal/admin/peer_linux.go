package admin

import (
	"net"

	"golang.org/x/sys/unix"
)

// peerUID returns the user that opened the connection: SO_PEERCRED, unix(7).
func peerUID(c *net.UnixConn) (uint32, bool) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, false
	}
	var cred *unix.Ucred
	var gerr error
	err = raw.Control(func(fd uintptr) {
		cred, gerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err != nil || gerr != nil {
		return 0, false
	}
	return cred.Uid, true
}
