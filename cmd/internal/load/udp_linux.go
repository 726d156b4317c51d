package load

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// segments is how many datagrams the kernel cuts one buffer into at most
	// (UDP_MAX_SEGMENTS of the oldest kernels with UDP_SEGMENT).
	segments = 64
	// batch is how many buffers or answers one system call moves.
	batch = 64
	// answerSize is room for an answer of the size that queries offer.
	answerSize = 1536
	// stuck is how long a full send buffer is waited for.
	stuck = 100 * time.Millisecond
)

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// outgoing is the memory of one send call. Queries of the same length share a
// buffer, which the kernel cuts up again.
type outgoing struct {
	headers [batch]mmsghdr
	vectors [batch]unix.Iovec
	control [batch][32]byte
	buffers [batch][segments * maxQuery]byte
	size    [batch]int // of one query
	count   [batch]int // queries
	used    int
	open    [maxQuery + 1]int8 // by query length, the buffer that has room, plus one
}

// incoming is the memory of one receive call.
type incoming struct {
	headers [batch]mmsghdr
	vectors [batch]unix.Iovec
	answers [batch][answerSize]byte
}

// udpLink is a connected UDP socket that moves datagrams in batches.
type udpLink struct {
	fd      int
	segment bool // whether the kernel cuts buffers up
	out     *outgoing
	in      *incoming
}

func newUDPLink(server netip.AddrPort, timeout time.Duration) (link, error) {
	fd, err := connect(server, unix.SOCK_DGRAM, timeout)
	if err != nil {
		return nil, err
	}
	for _, option := range []int{unix.SO_RCVBUFFORCE, unix.SO_SNDBUFFORCE} {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, socketBuffer) // for root only
	}
	l := &udpLink{fd: fd, out: new(outgoing), in: new(incoming)}
	l.segment = unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_SEGMENT, 0) == nil // Linux 4.18
	for i := range batch {
		l.in.vectors[i].Base = &l.in.answers[i][0]
		l.in.vectors[i].SetLen(answerSize)
		l.in.headers[i].hdr.Iov = &l.in.vectors[i]
		l.in.headers[i].hdr.SetIovlen(1)
		l.out.vectors[i].Base = &l.out.buffers[i][0]
		l.out.headers[i].hdr.Iov = &l.out.vectors[i]
		l.out.headers[i].hdr.SetIovlen(1)
		c := l.out.control[i][:]
		binary.NativeEndian.PutUint64(c, uint64(unix.CmsgLen(2)))
		binary.NativeEndian.PutUint32(c[8:], unix.IPPROTO_UDP)
		binary.NativeEndian.PutUint32(c[12:], unix.UDP_SEGMENT)
	}
	return l, nil
}

func (l *udpLink) descriptor() int { return l.fd }

func (l *udpLink) close() { _ = unix.Close(l.fd) }

func (l *udpLink) add(n int) []byte {
	o := l.out
	i := int(o.open[n]) - 1
	if i < 0 {
		if o.used == batch { // every buffer is taken: make room
			_, _ = l.flush() // the queries that fail are lost, and counted as such
		}
		i = o.used
		o.used++
		o.size[i], o.count[i] = n, 0
		o.open[n] = int8(i + 1)
	}
	at := o.count[i] * n
	o.count[i]++
	if !l.segment || o.count[i] == segments {
		o.open[n] = 0
	}
	return o.buffers[i][at : at+n : at+n]
}

func (l *udpLink) flush() (failed int, err error) {
	o := l.out
	for i := range o.used {
		o.vectors[i].SetLen(o.size[i] * o.count[i])
		o.open[o.size[i]] = 0
		h := &o.headers[i].hdr
		h.Control = nil
		h.SetControllen(0)
		if o.count[i] > 1 {
			binary.NativeEndian.PutUint16(o.control[i][unix.CmsgLen(0):], uint16(o.size[i]))
			h.Control = &o.control[i][0]
			h.SetControllen(unix.CmsgSpace(2))
		}
	}
	failures := 0
	for sent := 0; sent < o.used; {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(l.fd), uintptr(unsafe.Pointer(&o.headers[sent])), uintptr(o.used-sent), unix.MSG_DONTWAIT, 0, 0)
		switch {
		case errno == 0:
			sent += int(n)
			failures = 0
		case errno == unix.EAGAIN && failures == 0:
			failures++
			_, _ = poll(l.fd, unix.POLLOUT, stuck)
		case passing(errno) && failures < 2: // about an earlier datagram: this one may pass
			failures++
		default:
			failed += o.count[sent]
			err = fmt.Errorf("sendmmsg: %w", errno)
			sent++
			failures = 0
		}
	}
	o.used = 0
	return failed, err
}

func (l *udpLink) receive(each func(msg []byte)) (more bool, err error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(l.fd), uintptr(unsafe.Pointer(&l.in.headers[0])), batch, unix.MSG_DONTWAIT, 0, 0)
	switch {
	case errno == unix.EAGAIN:
		return false, nil
	case errno != 0 && passing(errno):
		return true, nil
	case errno != 0:
		return false, fmt.Errorf("recvmmsg: %w", errno)
	}
	for i := range int(n) {
		each(l.in.answers[i][:l.in.headers[i].len])
	}
	return int(n) == batch, nil
}

// ppollWaiter waits for many descriptors with the precision of the kernel's timers.
type ppollWaiter struct{ fds []unix.PollFd }

func newWaiter(links []link) waiter {
	w := &ppollWaiter{}
	for _, l := range links {
		w.fds = append(w.fds, unix.PollFd{Fd: int32(l.descriptor()), Events: unix.POLLIN})
	}
	return w
}

func (w *ppollWaiter) wait(d time.Duration) {
	ts := unix.NsecToTimespec(int64(d))
	_, _ = unix.Ppoll(w.fds, &ts, nil) // an interrupted wait is a short one
}

// pin binds the calling thread to one CPU, and lets its sleeps end in time.
func pin(cpu int) error {
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("run on CPU %d: %w", cpu, err)
	}
	return nil
}

// sharpen makes the sleeps of the calling thread end within a microsecond of
// their time and not within the usual fifty.
func sharpen() { _ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1000, 0, 0, 0) }
