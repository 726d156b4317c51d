package server

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// receiveBuffer asks for room for a burst of some thousand queries; the system may give
// less.
const receiveBuffer = 4 << 20

// batchSocket is one UDP socket that moves datagrams in batches.
type batchSocket struct {
	// fd is -1 when it is closed. Its loop reads it without the lock, and is the only one
	// that changes it while it runs; all others take the lock.
	fd       int
	mu       sync.Mutex // guards fd against a change
	addr     netip.AddrPort
	ipv6     bool
	wildcard bool // bound to all addresses: responses must name the one asked
	// kept: another process has the socket, too, and keeps it open.
	kept bool
}

// listenUDP binds n sockets to addr, among which the system spreads datagrams.
func listenUDP(addr netip.AddrPort, n int) ([]udpSocket, error) {
	sockets := make([]udpSocket, 0, n)
	for range max(n, 1) {
		s, err := newBatchSocket(addr)
		if err != nil {
			for _, open := range sockets {
				open.close()
			}
			return nil, err
		}
		sockets = append(sockets, s)
	}
	return sockets, nil
}

func newBatchSocket(addr netip.AddrPort) (*batchSocket, error) {
	s := &batchSocket{addr: addr, ipv6: addr.Addr().Is6(), wildcard: addr.Addr().IsUnspecified()}
	family := unix.AF_INET
	if s.ipv6 {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	s.fd = fd
	if s.ipv6 {
		err = os.NewSyscallError("setsockopt IPV6_V6ONLY", unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1))
	}
	if err == nil {
		err = s.setup()
	}
	if err != nil {
		s.close()
		return nil, err
	}
	if err := unix.Bind(fd, sockaddr(addr)); err != nil {
		s.close()
		return nil, os.NewSyscallError("bind", err)
	}
	return s, nil
}

// setup sets the socket options. TCP on the same address is bound without
// SO_REUSEPORT and first, so a second server cannot slip in beside this one.
func (s *batchSocket) setup() error {
	if err := s.setTimeouts(); err != nil {
		return err
	}
	// A smaller buffer than asked for only shortens the burst that is survived. The
	// system's limit, net.core.rmem_max, is often 2 ms of full load; who may exceed it
	// does.
	if unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
		_ = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
	}
	set := []struct{ level, name, value int }{{unix.SOL_SOCKET, unix.SO_REUSEPORT, 1}}
	// Forged path MTU messages must not make this server fragment, RFC 9715
	// section 3.1.
	if s.ipv6 {
		set = append(set, struct{ level, name, value int }{unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_OMIT})
	} else {
		set = append(set, struct{ level, name, value int }{unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_OMIT})
	}
	if s.wildcard && s.ipv6 {
		set = append(set, struct{ level, name, value int }{unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1})
	} else if s.wildcard {
		set = append(set, struct{ level, name, value int }{unix.IPPROTO_IP, unix.IP_PKTINFO, 1})
	}
	for _, o := range set {
		if err := unix.SetsockoptInt(s.fd, o.level, o.name, o.value); err != nil {
			return os.NewSyscallError(fmt.Sprintf("setsockopt %d/%d", o.level, o.name), err)
		}
	}
	return nil
}

// setTimeouts bounds what blocks.
func (s *batchSocket) setTimeouts() error {
	receive, send := unix.NsecToTimeval(int64(pollEvery)), unix.NsecToTimeval(int64(sendPatience))
	if err := unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &receive); err != nil {
		return os.NewSyscallError("setsockopt SO_RCVTIMEO", err)
	}
	return os.NewSyscallError("setsockopt SO_SNDTIMEO", unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &send))
}

// inheritUDP takes a bound socket over, whoever opened it.
func inheritUDP(f *os.File, addr netip.AddrPort, kept bool) (udpSocket, error) {
	s := &batchSocket{fd: -1, addr: addr, kept: kept, ipv6: addr.Addr().Is6(), wildcard: addr.Addr().IsUnspecified()}
	var err error
	if s.fd, err = duplicate(f); err == nil {
		// A descriptor's mode is everybody's who has it, and others wait differently.
		err = os.NewSyscallError("fcntl", unix.SetNonblock(s.fd, false))
	}
	if err == nil && s.ipv6 && s.wildcard {
		var only int
		if only, err = unix.GetsockoptInt(s.fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY); err == nil && only == 0 {
			err = errors.New("the socket takes IPv4, too: give it BindIPv6Only=ipv6-only, and IPv4 a socket of its own")
		}
	}
	if err == nil {
		err = s.setup()
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// duplicate returns the descriptor of f once more, and closes f.
func duplicate(f *os.File) (int, error) {
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	return fd, os.NewSyscallError("fcntl", err)
}

// another returns a socket like s that receives beside it: one of its own, or where
// that cannot be had the same again.
func (s *batchSocket) another(addr netip.AddrPort) (udpSocket, error) {
	if own, err := newBatchSocket(addr); err == nil {
		return own, nil
	}
	fd, err := unix.FcntlInt(uintptr(s.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return &batchSocket{fd: fd, addr: addr, kept: s.kept, ipv6: s.ipv6, wildcard: s.wildcard}, nil
}

// descriptor implements udpSocket.
func (s *batchSocket) descriptor() (*os.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fd, err := unix.FcntlInt(uintptr(s.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fd), "udp"), nil
}

func sockaddr(addr netip.AddrPort) unix.Sockaddr {
	if addr.Addr().Is6() {
		return &unix.SockaddrInet6{Port: int(addr.Port()), Addr: addr.Addr().As16()}
	}
	return &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}
}

func (s *batchSocket) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd >= 0 {
		_ = unix.Close(s.fd)
		s.fd = -1
	}
}

// reopen puts a new socket in the place of one that is of no use: it is bound beside it
// first, so that the address is never free.
func (s *batchSocket) reopen(lost bool) error {
	fresh, err := newBatchSocket(s.addr)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !lost {
		_ = unix.Close(s.fd)
	}
	s.fd, s.kept = fresh.fd, false
	return nil
}
