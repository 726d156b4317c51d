//go:build unix

package handover

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Channel is one end. Send may be called from many goroutines, Receive from one.
type Channel struct {
	conn *net.UnixConn
	mu   sync.Mutex // one message at a time is sent
}

// headSize is kind, length, and whether a descriptor comes with it.
const headSize = 6

// Pair returns an end for this process and the other one as a file, to be inherited by
// the next process.
func Pair() (*Channel, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	unix.CloseOnExec(fds[0])
	unix.CloseOnExec(fds[1])
	other := os.NewFile(uintptr(fds[1]), "handover")
	c, err := open(os.NewFile(uintptr(fds[0]), "handover"))
	if err != nil {
		return nil, nil, errors.Join(err, other.Close())
	}
	return c, other, nil
}

// Inherited returns the end that the process before has left as this environment
// says, nil if this process was not started by one. The variable must not reach
// children of this process: take it away.
func Inherited(getenv func(string) string) (*Channel, error) {
	value := getenv(Variable)
	if value == "" {
		return nil, nil
	}
	fd, err := strconv.Atoi(value)
	if err != nil || fd < 3 {
		return nil, fmt.Errorf("%s=%q is not what an upgrade sets: leave it out of the environment", Variable, value)
	}
	unix.CloseOnExec(fd)
	return open(os.NewFile(uintptr(fd), "handover"))
}

func open(f *os.File) (*Channel, error) {
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	u, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("a %T is no end of a handover", conn), conn.Close())
	}
	return &Channel{conn: u}, nil
}

// Send sends a message: body in JSON, nil for none, and a descriptor, nil for none,
// of which the other side gets its own. The File stays the caller's.
func (c *Channel) Send(k Kind, body any, f *os.File) error {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return err
		}
	}
	if len(text) > maxBody {
		return fmt.Errorf("%s: %d octets are too many", k, len(text))
	}
	head := append(make([]byte, 0, headSize), byte(k))
	head = binary.BigEndian.AppendUint32(head, uint32(len(text)))
	var rights []byte
	if f == nil {
		head = append(head, 0)
	} else {
		head = append(head, 1)
		rights = unix.UnixRights(int(f.Fd()))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, _, err := c.conn.WriteMsgUnix(head, rights, nil); err != nil {
		return fmt.Errorf("tell the other process %s: %w", k, err)
	}
	if _, err := c.conn.Write(text); err != nil {
		return fmt.Errorf("tell the other process %s: %w", k, err)
	}
	return nil
}

// Receive waits for the next message until the deadline, the zero time for none. Its
// descriptor is the caller's. At the end of the other process the error is io.EOF.
func (c *Channel) Receive(deadline time.Time) (Message, error) {
	if err := c.conn.SetReadDeadline(deadline); err != nil {
		return Message{}, err
	}
	var head [headSize]byte
	rights := make([]byte, unix.CmsgSpace(4))
	n, more, _, _, err := c.conn.ReadMsgUnix(head[:], rights)
	if err == nil && n == 0 {
		err = io.EOF
	}
	if errors.Is(err, syscall.ECONNRESET) {
		err = io.EOF // it went without having read everything
	}
	if err != nil {
		return Message{}, err
	}
	m := Message{Kind: Kind(head[0])}
	if m.File, err = received(rights[:more]); err != nil {
		return Message{}, err
	}
	if _, err := io.ReadFull(c.conn, head[n:]); err != nil {
		return m.broken(err)
	}
	size := binary.BigEndian.Uint32(head[1:])
	if size > maxBody || (head[5] == 1) != (m.File != nil) {
		return m.broken(errors.New("a message of another version"))
	}
	m.body = make([]byte, size)
	if _, err := io.ReadFull(c.conn, m.body); err != nil {
		return m.broken(err)
	}
	return m, nil
}

// received returns the descriptor of a control message, nil for none.
func received(rights []byte) (*os.File, error) {
	if len(rights) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return nil, err
	}
	var f *os.File
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			continue // something else
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			if f != nil {
				_ = unix.Close(fd)
				continue
			}
			f = os.NewFile(uintptr(fd), "received")
		}
	}
	return f, nil
}

// Close ends the channel.
func (c *Channel) Close() error { return c.conn.Close() }
