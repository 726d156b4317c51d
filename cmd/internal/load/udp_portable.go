//go:build unix && !linux

package load

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// udpLink is a connected UDP socket that moves one datagram a system call.
type udpLink struct {
	fd      int
	out     []byte
	lengths []int
	in      [4096]byte
}

func newUDPLink(server netip.AddrPort, timeout time.Duration) (link, error) {
	fd, err := connect(server, unix.SOCK_DGRAM, timeout)
	if err != nil {
		return nil, err
	}
	return &udpLink{fd: fd, out: make([]byte, 0, maxBurst*maxQuery)}, nil
}

func (l *udpLink) descriptor() int { return l.fd }

func (l *udpLink) close() { _ = unix.Close(l.fd) }

func (l *udpLink) add(n int) []byte {
	if len(l.lengths) == maxBurst {
		_, _ = l.flush() // the queries that fail are lost, and counted as such
	}
	at := len(l.out)
	l.out = l.out[:at+n]
	l.lengths = append(l.lengths, n)
	return l.out[at : at+n : at+n]
}

func (l *udpLink) flush() (failed int, err error) {
	rest := l.out
	for _, n := range l.lengths {
		if _, e := unix.Write(l.fd, rest[:n]); e != nil {
			failed++
			err = fmt.Errorf("send: %w", e)
		}
		rest = rest[n:]
	}
	l.out, l.lengths = l.out[:0], l.lengths[:0]
	return failed, err
}

func (l *udpLink) receive(each func(msg []byte)) (more bool, err error) {
	n, err := unix.Read(l.fd, l.in[:])
	switch {
	case err == nil:
		each(l.in[:n])
		return true, nil
	case errors.Is(err, unix.EAGAIN):
		return false, nil
	case passing(err):
		return true, nil
	}
	return false, fmt.Errorf("receive: %w", err)
}

// pollWaiter waits for many descriptors, in milliseconds.
type pollWaiter struct{ fds []unix.PollFd }

func newWaiter(links []link) waiter {
	w := &pollWaiter{}
	for _, l := range links {
		w.fds = append(w.fds, unix.PollFd{Fd: int32(l.descriptor()), Events: unix.POLLIN})
	}
	return w
}

func (w *pollWaiter) wait(d time.Duration) {
	_, _ = unix.Poll(w.fds, int(d.Milliseconds())) // an interrupted wait is a short one
}

// pin cannot bind threads here.
func pin(int) error { return errors.New("threads can be bound to CPUs on Linux only") }

// sharpen has nothing to set here.
func sharpen() {}
