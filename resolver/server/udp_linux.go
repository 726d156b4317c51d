package server

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// batchSize is how many datagrams one system call moves. Batches fill by
	// themselves under load; nothing waits for one to fill.
	batchSize = BatchSize
	// udpQuerySize bounds a received datagram. A longer one arrives cut, which
	// the parser refuses.
	udpQuerySize = 2048
	// udpResponseSize is the room for a response, the most that a UDP size may be
	// configured to.
	udpResponseSize = 4096
	// cacheLines is added to buffers that follow one another in memory. At a distance
	// of a power of two the beginnings of all of them would compete for the same few
	// places in the processor's cache.
	cacheLines = 3 * 64
	// pollEvery is how long a blocked receive may take to notice a stop.
	pollEvery = 200 * time.Millisecond
	// receiveBuffer asks for room for a burst of some thousand queries; the
	// system may give less.
	receiveBuffer = 4 << 20
	// controlSize holds one packet-info control message, of either family.
	controlSize = 64
)

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// batchSocket is one UDP socket that moves datagrams in batches.
type batchSocket struct {
	fd       int
	ipv6     bool
	wildcard bool // bound to all addresses: responses must name the one asked
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
	s := &batchSocket{ipv6: addr.Addr().Is6(), wildcard: addr.Addr().IsUnspecified()}
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
	timeout := unix.NsecToTimeval(int64(pollEvery))
	if err := unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		return os.NewSyscallError("setsockopt SO_RCVTIMEO", err)
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

// inheritUDP takes a bound socket over, whoever opened it.
func inheritUDP(f *os.File, addr netip.AddrPort) (udpSocket, error) {
	s := &batchSocket{fd: -1, ipv6: addr.Addr().Is6(), wildcard: addr.Addr().IsUnspecified()}
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
	return &batchSocket{fd: fd, ipv6: s.ipv6, wildcard: s.wildcard}, nil
}

// descriptor implements udpSocket.
func (s *batchSocket) descriptor() (*os.File, error) {
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
	if s.fd >= 0 {
		_ = unix.Close(s.fd)
		s.fd = -1
	}
}

// batch is the memory of one receive loop: queries in, responses out, and the
// headers that describe both. It is on the heap as a whole because the kernel
// writes through the pointers in it.
type batch struct {
	in      [batchSize]mmsghdr
	out     [batchSize]mmsghdr
	inVec   [batchSize]unix.Iovec
	outVec  [batchSize]unix.Iovec
	names   [batchSize][unix.SizeofSockaddrInet6]byte
	control [batchSize][controlSize]byte
	queries [batchSize][udpQuerySize + cacheLines]byte
	replies [batchSize][udpResponseSize + cacheLines]byte
}

func newBatch(s *batchSocket) *batch {
	b := new(batch)
	for i := range batchSize {
		b.inVec[i].Base = &b.queries[i][0]
		b.inVec[i].SetLen(udpQuerySize)
		h := &b.in[i].hdr
		h.Name = &b.names[i][0]
		h.Iov = &b.inVec[i]
		h.SetIovlen(1)
		if s.wildcard {
			h.Control = &b.control[i][0]
		}
		b.out[i].hdr.Iov = &b.outVec[i]
		b.out[i].hdr.SetIovlen(1)
	}
	b.rearm(s, batchSize)
	return b
}

// rearm restores what the kernel overwrote in the first n receive headers.
func (b *batch) rearm(s *batchSocket, n int) {
	for i := range n {
		b.in[i].hdr.Namelen = unix.SizeofSockaddrInet6
		if s.wildcard {
			b.in[i].hdr.SetControllen(controlSize)
		}
	}
}

// serve is the receive loop of one locked thread. It asks without blocking
// through RawSyscall6, which costs the scheduler nothing; only an empty socket
// sends it into a blocking system call, entered by Syscall6 so that a waiting
// thread holds up neither the other goroutines nor the garbage collector.
func (s *batchSocket) serve(server *Server, a BatchAnswerer) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	b := newBatch(s)
	for !server.deaf.Load() {
		n, errno := s.receive(b)
		if errno != 0 {
			if errno == unix.EAGAIN || errno == unix.EINTR {
				continue
			}
			return os.NewSyscallError("recvmmsg", errno)
		}
		s.send(b, s.answer(server, b, n, a))
		b.rearm(s, n)
	}
	return nil
}

func (s *batchSocket) receive(b *batch) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&b.in[0])), batchSize, unix.MSG_DONTWAIT, 0, 0)
	if errno == unix.EAGAIN {
		n, _, errno = unix.Syscall6(unix.SYS_RECVMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&b.in[0])), batchSize, unix.MSG_WAITFORONE, 0, 0)
	}
	return int(n), errno
}

// answer answers the first n received datagrams and returns how many responses there
// are to send. If one of them cannot be taken, all are answered again one by one,
// without it.
func (s *batchSocket) answer(server *Server, b *batch, n int, a BatchAnswerer) (ready int) {
	now := server.o.Time().Unix()
	if server.o.Panicked == nil {
		return s.answerTogether(server, b, 0, n, 0, a, now)
	}
	ready, ok := s.answerSafely(server, b, 0, n, 0, a, now)
	if ok {
		return ready
	}
	ready = 0
	for i := range n {
		if next, ok := s.answerSafely(server, b, i, i+1, ready, a, now); ok {
			ready = next
		}
	}
	return ready
}

// answerSafely is answerTogether, and false if that panicked.
func (s *batchSocket) answerSafely(server *Server, b *batch, first, end, ready int, a BatchAnswerer, now int64) (next int, ok bool) {
	defer server.recovered()
	return s.answerTogether(server, b, first, end, ready, a, now), true
}

// answerTogether answers the datagrams from first to end, puts what there is to send
// behind the responses that are ready, and returns how many those then are.
func (s *batchSocket) answerTogether(server *Server, b *batch, first, end, ready int, a BatchAnswerer, now int64) int {
	var origin [batchSize]uint8 // of the queries read, the datagram each came in
	a.Reset()
	read := 0
	for i := first; i < end; i++ {
		if msg, from, ok := server.unwrap(b.queries[i][:b.in[i].len], s.peer(&b.names[i])); ok {
			a.Read(msg, from)
			origin[read] = uint8(i)
			read++
		}
	}
	a.Look()
	for i := range read {
		reply := a.Answer(b.replies[ready][:0:udpResponseSize], i, now)
		if len(reply) == 0 {
			continue
		}
		b.outVec[ready].Base = &reply[0]
		b.outVec[ready].SetLen(len(reply))
		in, out := &b.in[origin[i]].hdr, &b.out[ready].hdr
		out.Name, out.Namelen = in.Name, in.Namelen
		out.Control, out.Controllen = nil, 0
		if s.wildcard && in.Controllen > 0 {
			s.sourceFrom(&b.control[origin[i]])
			out.Control, out.Controllen = in.Control, in.Controllen
		}
		ready++
	}
	return ready
}

// send sends the first n responses. One that cannot be sent (no route, a
// firewall's refusal) is skipped: its client asks again.
func (s *batchSocket) send(b *batch, n int) {
	for sent := 0; sent < n; {
		done, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&b.out[sent])), uintptr(n-sent), unix.MSG_DONTWAIT, 0, 0)
		if errno == unix.EAGAIN { // the send buffer is full: wait for room
			done, _, errno = unix.Syscall6(unix.SYS_SENDMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&b.out[sent])), uintptr(n-sent), 0, 0, 0)
		}
		switch {
		case errno == 0:
			sent += int(done)
		case errno != unix.EINTR:
			sent++
		}
	}
}

// peer reads a socket address as the kernel wrote it: family, port, address.
func (s *batchSocket) peer(name *[unix.SizeofSockaddrInet6]byte) netip.AddrPort {
	port := binary.BigEndian.Uint16(name[2:])
	if s.ipv6 {
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(name[8:24])), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(name[4:8])), port)
}

// sourceFrom turns the packet info of a query into that of its response: the
// address asked is the address that answers; the interface is left to routing,
// except for link-local addresses, which mean nothing without one.
func (s *batchSocket) sourceFrom(control *[controlSize]byte) {
	data := control[unix.CmsgLen(0):]
	if !s.ipv6 { // struct in_pktinfo: interface, source, destination
		clear(data[:4])
		return
	}
	if linkLocal := data[0] == 0xfe && data[1]&0xc0 == 0x80; !linkLocal { // struct in6_pktinfo: address, interface
		clear(data[16:20])
	}
}
