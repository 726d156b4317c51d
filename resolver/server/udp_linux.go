package server

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"sync"
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
	// sendPatience is how long one response may wait for room in the send buffer, and
	// sendWaits how often a batch may: a link that takes nothing must keep a worker
	// neither from its queries for long nor from a stop.
	sendPatience = 50 * time.Millisecond
	sendWaits    = 4
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
func (s *batchSocket) serve(server *Server, a BatchAnswerer) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	b := newBatch(s)
	var o outage
	for !server.deaf.Load() {
		n, errno := s.receive(b)
		if errno != 0 {
			s.bear(server, &o, errno)
			b.rearm(s, batchSize)
			continue
		}
		o.end()
		s.send(server, b, s.answer(server, b, n, a))
		b.rearm(s, n)
	}
	s.finish(server, b, a)
}

// lastBatches bounds what is still answered of a socket that is left: more than its
// buffer holds only under a flood.
const lastBatches = 256

// finish answers what has come already and closes the socket at once: what comes later
// then goes to the sockets that a service manager or the next process has of the
// address, and waits in this one if they have it, too.
func (s *batchSocket) finish(server *Server, b *batch, a BatchAnswerer) {
	for range lastBatches {
		n, errno := s.poll(b)
		if errno != 0 {
			break
		}
		s.send(server, b, s.answer(server, b, n, a))
		b.rearm(s, n)
	}
	s.close()
}

// bear does what an error of a receive calls for. The socket is opened again when it
// has given nothing but errors for a while.
func (s *batchSocket) bear(server *Server, o *outage, errno unix.Errno) {
	if errno == unix.EAGAIN { // nothing to receive
		o.end()
	}
	if errno == unix.EAGAIN || errno == unix.EINTR {
		return
	}
	server.stats.ReceiveErrors.Add(1)
	server.o.Log("receive datagrams", os.NewSyscallError("recvmmsg", errno))
	pause, lasting := o.add(server.o.Now())
	// A descriptor that is no socket any more was lost to a fault of this process, and may
	// be somebody else's by now: it is left alone.
	lost := errno == unix.EBADF || errno == unix.ENOTSOCK
	// What another process keeps open keeps its share of the clients as well, whatever is
	// opened beside it: then there is only to try again.
	if lost || lasting && !s.kept {
		err := s.reopen(lost)
		if err == nil {
			server.stats.Reopened.Add(1)
			return
		}
		server.o.Log("open a UDP socket again", err)
	}
	server.sleep(pause)
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

// receive waits for datagrams, and returns how many have come.
func (s *batchSocket) receive(b *batch) (int, unix.Errno) {
	n, errno := s.poll(b)
	if errno == unix.EAGAIN {
		var waited uintptr
		waited, _, errno = unix.Syscall6(unix.SYS_RECVMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&b.in[0])), batchSize, unix.MSG_WAITFORONE, 0, 0)
		n = int(waited)
	}
	if errno == 0 && b.in[0].hdr.Namelen == 0 {
		// Nobody has sent this: a socket that was shut down gives datagrams of nothing, at
		// once and without end.
		return 0, unix.ESHUTDOWN
	}
	return n, errno
}

// poll receives what is there.
func (s *batchSocket) poll(b *batch) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&b.in[0])), batchSize, unix.MSG_DONTWAIT, 0, 0)
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

// send sends the first n responses. One that cannot be sent (no route, a firewall's
// refusal) is skipped: its client asks again. So are all that are left when the send
// buffer stays full.
func (s *batchSocket) send(server *Server, b *batch, n int) {
	waits := 0
	for sent := 0; sent < n; {
		done, errno := s.sendmmsg(b, sent, n, unix.MSG_DONTWAIT)
		if errno == unix.EAGAIN { // the send buffer is full: wait for room, for one of them
			if waits == sendWaits {
				server.stats.Unsent.Add(uint64(n - sent))
				return
			}
			waits++
			done, errno = s.sendmmsg(b, sent, sent+1, 0)
		}
		switch errno {
		case 0:
			sent += done
		case unix.EAGAIN, unix.EINTR: // again
		default:
			server.stats.Unsent.Add(1)
			sent++
		}
	}
}

// sendmmsg sends responses from first to end and returns how many were. Only a call
// that may wait is one that the scheduler has to know of; see serve.
func (s *batchSocket) sendmmsg(b *batch, first, end int, flags uintptr) (int, unix.Errno) {
	var n uintptr
	var errno unix.Errno
	if out := uintptr(unsafe.Pointer(&b.out[first])); flags&unix.MSG_DONTWAIT != 0 {
		n, _, errno = unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(s.fd), out, uintptr(end-first), flags, 0, 0)
	} else {
		n, _, errno = unix.Syscall6(unix.SYS_SENDMMSG, uintptr(s.fd), out, uintptr(end-first), flags, 0, 0)
	}
	return int(n), errno
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
