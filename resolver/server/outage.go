package server

import (
	"errors"
	"net"
	"syscall"
	"time"
)

const (
	// firstPause follows the first error of a socket, and each further one doubles it:
	// most errors are over at once (no memory for a moment), and one that is not must not
	// take a core. The longest is short enough for a stop not to wait for it.
	firstPause   = time.Millisecond
	longestPause = 100 * time.Millisecond
	// reopenAfter is how long a socket may give nothing but errors before it is opened
	// again, and the time between two tries.
	reopenAfter = time.Second
)

// outage is a time in which a socket gives nothing but errors. No error of the system
// ends the loop that reads a socket: while the socket stays bound, its share of the
// clients would get nothing. The zero value is that of a socket that works. It belongs
// to one goroutine.
type outage struct {
	pause time.Duration // the last; 0 while the socket works
	since time.Time     // its begin, or the last time that it had lasted
}

// end notes that the socket works.
func (o *outage) end() { o.pause = 0 }

// add notes an error at a time. It returns how long to wait before the next try, and
// whether the outage has lasted so long that the socket should be opened again.
func (o *outage) add(now time.Time) (pause time.Duration, lasting bool) {
	if o.pause == 0 {
		o.pause, o.since = firstPause, now
		return o.pause, false
	}
	o.pause = min(2*o.pause, longestPause)
	// A clock that was set back would put off the next try: the outage begins again then.
	if lasting = now.Sub(o.since) >= reopenAfter; lasting || now.Before(o.since) {
		o.since = now
	}
	return o.pause, lasting
}

// Persist returns l as a listener whose Accept goes on after every error of the system
// until it is closed. failed is told of each error, from the goroutine that accepts. It
// must not block. Where l has stopped listening (because another process that has the
// socket shut it down), it listens again. Accept must not be called by several goroutines
// at once.
func Persist(l net.Listener, now func() time.Time, failed func(error)) net.Listener {
	return &persistent{Listener: l, now: now, sleep: time.Sleep, failed: failed}
}

type persistent struct {
	net.Listener
	now    func() time.Time
	sleep  func(time.Duration)
	failed func(error)
	outage outage
}

// Accept implements net.Listener.
func (p *persistent) Accept() (net.Conn, error) {
	for {
		conn, err := p.Listener.Accept()
		if err == nil {
			p.outage.end()
			return conn, nil
		}
		if errors.Is(err, net.ErrClosed) {
			return nil, err
		}
		p.failed(err)
		pause, lasting := p.outage.add(p.now())
		if lasting {
			if err := relisten(p.Listener); err != nil {
				p.failed(err)
			}
		}
		p.sleep(pause)
	}
}

// NoDescriptors reports whether an error says that the process, or the system, has as
// many open files as it may.
func NoDescriptors(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// relisten puts a socket into the state that accepts connections again. It keeps its
// address meanwhile, which a new socket might not get.
func relisten(l net.Listener) error {
	c, ok := l.(syscall.Conn)
	if !ok {
		return nil // it has no socket
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var errno error
	if err := raw.Control(func(fd uintptr) { errno = listen(fd) }); err != nil {
		return err
	}
	return errno
}
