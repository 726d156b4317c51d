//go:build unix

package load

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// socketBuffer asks for room for a burst of answers; the system may give less.
const socketBuffer = 8 << 20

// connect makes a connected socket that never blocks. Connecting a UDP socket
// leaves it to the kernel to drop datagrams of any other source.
func connect(server netip.AddrPort, kind int, timeout time.Duration) (int, error) {
	family, to := endpoint(server)
	fd, err := unix.Socket(family, kind, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return -1, os.NewSyscallError("fcntl", err)
	}
	for _, option := range []int{unix.SO_RCVBUF, unix.SO_SNDBUF} {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, socketBuffer) // with less, bursts are shorter
	}
	err = unix.Connect(fd, to)
	if errors.Is(err, unix.EINPROGRESS) {
		err = connected(fd, timeout)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("connect to %s: %w", server, err)
	}
	return fd, nil
}

// endpoint is an address as the system calls want it.
func endpoint(server netip.AddrPort) (family int, to unix.Sockaddr) {
	if addr := server.Addr().Unmap(); addr.Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Port: int(server.Port()), Addr: addr.As4()}
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Port: int(server.Port()), Addr: server.Addr().As16(), ZoneId: zone(server.Addr().Zone())}
}

// zone is the number of an interface, 0 where none is named. A link-local address
// needs one.
func zone(name string) uint32 {
	if name == "" {
		return 0
	}
	if i, err := net.InterfaceByName(name); err == nil {
		return uint32(i.Index)
	}
	n, _ := strconv.ParseUint(name, 10, 32) // neither name nor number: connecting will fail
	return uint32(n)
}

// connected waits for a TCP connection to come about.
func connected(fd int, timeout time.Duration) error {
	ready, err := poll(fd, unix.POLLOUT, timeout)
	if err != nil {
		return err
	}
	if !ready {
		return os.ErrDeadlineExceeded
	}
	code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && code != 0 {
		err = unix.Errno(code)
	}
	return err
}

// poll waits until one descriptor is ready, or the time has passed.
func poll(fd int, events int16, timeout time.Duration) (bool, error) {
	fds := []unix.PollFd{{Fd: int32(fd), Events: events}}
	for {
		n, err := unix.Poll(fds, int(timeout.Milliseconds()))
		if !errors.Is(err, unix.EINTR) {
			return n > 0, err
		}
	}
}

// passing reports whether an error says nothing about what was just tried: the ICMP
// message about an earlier datagram, an interruption, a moment without memory.
func passing(err error) bool {
	return errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.EINTR) || errors.Is(err, unix.ENOBUFS)
}
