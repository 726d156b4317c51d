//go:build unix

package handover

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// locate returns the network and the address that a socket is bound to. Package net
// would tell as well, but it changes how everybody who has the socket waits for it.
func locate(f *os.File) (network, address string, err error) {
	fd := int(f.Fd())
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return "", "", os.NewSyscallError("getsockopt", err)
	}
	bound, err := unix.Getsockname(fd)
	if err != nil {
		return "", "", os.NewSyscallError("getsockname", err)
	}
	switch kind {
	case unix.SOCK_STREAM:
		if listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || listens == 0 {
			return "", "", errors.Join(errors.New("a socket that does not listen"), err)
		}
		network = "tcp"
	case unix.SOCK_DGRAM:
		network = "udp"
	}
	switch bound := bound.(type) {
	case *unix.SockaddrInet4:
		address = netip.AddrPortFrom(netip.AddrFrom4(bound.Addr), uint16(bound.Port)).String()
	case *unix.SockaddrInet6:
		address = netip.AddrPortFrom(netip.AddrFrom16(bound.Addr), uint16(bound.Port)).String()
	case *unix.SockaddrUnix:
		if network == "tcp" {
			return "unix", bound.Name, nil
		}
		network = ""
	}
	if network == "" || address == "" {
		return "", "", fmt.Errorf("a socket of type %d on a %T: not one for TCP, UDP or local streams", kind, bound)
	}
	return network, address, nil
}
