//go:build unix

package load

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// streamBuffer is what one read takes: many pipelined answers.
	streamBuffer = 128 << 10
	prefixLen    = 2 // RFC 1035 section 4.2.2
)

// tcpLink is one connection with pipelined queries.
type tcpLink struct {
	fd   int
	out  []byte
	in   []byte
	have int // octets of in that are received
}

func newTCPLink(server netip.AddrPort, timeout time.Duration) (link, error) {
	fd, err := connect(server, unix.SOCK_STREAM, timeout)
	if err != nil {
		return nil, err
	}
	// The queries of a burst are written at once: nothing is gained by waiting.
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	return &tcpLink{fd: fd, in: make([]byte, streamBuffer), out: make([]byte, 0, maxBurst*(prefixLen+maxQuery))}, nil
}

func (l *tcpLink) descriptor() int { return l.fd }

func (l *tcpLink) close() { _ = unix.Close(l.fd) }

func (l *tcpLink) add(n int) []byte {
	l.out = binary.BigEndian.AppendUint16(l.out, uint16(n))
	at := len(l.out)
	l.out = append(l.out, make([]byte, n)...)
	return l.out[at:]
}

// flush writes what was added. A server that reads nothing for long is a failure:
// there is no way back into the middle of a message.
func (l *tcpLink) flush() (failed int, err error) {
	rest := l.out
	l.out = l.out[:0]
	for len(rest) > 0 {
		n, err := unix.Write(l.fd, rest)
		if errors.Is(err, unix.EAGAIN) {
			ready, err := poll(l.fd, unix.POLLOUT, patience)
			if err == nil && !ready {
				err = errors.New("the server does not read")
			}
			if err != nil {
				return 0, fmt.Errorf("write: %w", err)
			}
			continue
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return 0, fmt.Errorf("write: %w", err)
		}
		rest = rest[max(n, 0):]
	}
	return 0, nil
}

func (l *tcpLink) receive(each func(msg []byte)) (more bool, err error) {
	n, err := unix.Read(l.fd, l.in[l.have:])
	switch {
	case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("read: %w", err)
	case n == 0:
		return false, io.EOF
	}
	more = l.have+n == len(l.in)
	l.have += n
	at := 0
	for l.have-at >= prefixLen {
		end := at + prefixLen + int(binary.BigEndian.Uint16(l.in[at:]))
		if end > l.have {
			break
		}
		each(l.in[at+prefixLen : end])
		at = end
	}
	l.have = copy(l.in, l.in[at:l.have])
	return more, nil
}

// patience is how long a server may leave a connection unread.
const patience = time.Second
