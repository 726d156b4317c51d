package server

import (
	"encoding/binary"
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
	// sendPatience is how long one response may wait for room in the send buffer, and
	// sendWaits how often a batch may: a link that takes nothing must keep a worker
	// neither from its queries for long nor from a stop.
	sendPatience = 50 * time.Millisecond
	sendWaits    = 4
	// controlSize holds one packet-info control message, of either family.
	controlSize = 64
)

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
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

// poll receives without waiting.
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
	if flags&unix.MSG_DONTWAIT != 0 {
		n, _, errno = unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&b.out[first])), uintptr(end-first), flags, 0, 0)
	} else {
		n, _, errno = unix.Syscall6(unix.SYS_SENDMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&b.out[first])), uintptr(end-first), flags, 0, 0)
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
