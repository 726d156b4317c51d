package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// batchSize is how many datagrams one system call of the reflector moves.
const batchSize = 64

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// reflector sends every datagram back with the bit set that makes it a response.
// It does nothing else, so what it costs is the kernel's UDP path: the limit of
// every server on sockets.
type reflector struct {
	fd       int
	headers  [batchSize]mmsghdr
	vectors  [batchSize]unix.Iovec
	names    [batchSize][unix.SizeofSockaddrInet4]byte
	messages [batchSize][2048]byte
}

// serveReflector reflects until ctx is done.
func serveReflector(ctx context.Context, addr netip.AddrPort) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer func() { _ = unix.Close(fd) }()
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<20) // as Portolan asks for
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}); err != nil {
		return fmt.Errorf("bind %s: %w", addr, err)
	}
	runtime.LockOSThread()
	r := &reflector{fd: fd}
	for i := range batchSize {
		r.vectors[i].Base = &r.messages[i][0]
		h := &r.headers[i].hdr
		h.Name, h.Iov = &r.names[i][0], &r.vectors[i]
		h.SetIovlen(1)
	}
	for ctx.Err() == nil {
		if err := r.turn(); err != nil {
			return err
		}
	}
	return nil
}

// turn receives one batch and sends it back, as Portolan does: without blocking as
// long as there is something to receive.
func (r *reflector) turn() error {
	for i := range batchSize {
		r.vectors[i].SetLen(len(r.messages[i]))
		r.headers[i].hdr.Namelen = unix.SizeofSockaddrInet4
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(r.fd), uintptr(unsafe.Pointer(&r.headers[0])), batchSize, unix.MSG_DONTWAIT, 0, 0)
	if errno == unix.EAGAIN {
		n, _, errno = unix.Syscall6(unix.SYS_RECVMMSG, uintptr(r.fd), uintptr(unsafe.Pointer(&r.headers[0])), batchSize, unix.MSG_WAITFORONE, 0, 0)
	}
	if errno == unix.EINTR || errno == unix.EAGAIN {
		return nil
	}
	if errno != 0 {
		return os.NewSyscallError("recvmmsg", errno)
	}
	for i := range int(n) {
		r.messages[i][2] |= 0x80
		r.vectors[i].SetLen(int(r.headers[i].len))
	}
	for sent := 0; sent < int(n); {
		done, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(r.fd), uintptr(unsafe.Pointer(&r.headers[sent])), uintptr(int(n)-sent), 0, 0, 0)
		if errno != 0 {
			sent++ // its client asks again
			continue
		}
		sent += int(done)
	}
	return nil
}
