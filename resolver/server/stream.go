package server

import (
	"container/list"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"time"
)

const (
	// readSize is what one connection may have waiting unread by us; pipelined
	// queries beyond it wait in the kernel.
	readSize = 4096
	// maxQuery bounds one query over a stream. Nothing that asks this server is
	// longer: a question, an OPT record and a TSIG fit in a tenth of it.
	maxQuery = 2048
	// writeSize is when collected responses are sent; one response more may be
	// waiting, so a connection holds readSize + writeSize + 64 KiB at the very most,
	// and TLS some 40 KiB besides.
	writeSize = 16 << 10
)

// acceptLoop takes connections; config is nil for TCP without TLS.
func (s *Server) acceptLoop(l *net.TCPListener, a Answerer, config *tls.Config) {
	in := Persist(l, s.o.Now, s.acceptFailed)
	for {
		conn, err := in.Accept()
		if err != nil {
			return
		}
		c := newStreamConn(s, conn.(*net.TCPConn), a)
		c.secure = config != nil
		s.conns.add(c, &s.stats)
		s.stats.Accepted.Add(1)
		s.take(c, func() bool { return c.begin(config) })
	}
}

// acceptFailed is told of each error of an accept loop. Without a descriptor for a new
// connection one that is held gives up its own, as at the limit of connections: clients
// that hold connections must not keep out those that ask.
func (s *Server) acceptFailed(err error) {
	s.stats.AcceptErrors.Add(1)
	s.o.Log("accept a connection", err)
	if NoDescriptors(err) {
		s.Spare()
	}
}

func newStreamConn(s *Server, conn *net.TCPConn, a Answerer) *streamConn {
	c := &streamConn{conn: conn, raw: conn, a: a, s: s}
	c.streamer, _ = a.(Streamer)
	c.sender = c.send
	c.from = conn.RemoteAddr().(*net.TCPAddr).AddrPort()
	c.from = netip.AddrPortFrom(c.from.Addr().Unmap().WithZone(""), c.from.Port())
	return c
}

// take serves a connection that is in the table, once begin lets it go on.
func (s *Server) take(c *streamConn, begin func() bool) {
	s.wg.Go(func() {
		defer s.conns.remove(c)
		defer c.raw.Close()
		if s.o.Panicked != nil {
			defer s.recovered()
		}
		if begin() {
			c.serve()
		}
	})
}

// streamConn is one connection. Its goroutine reads what has come, answers all of
// it in order, and writes the responses together.
type streamConn struct {
	conn net.Conn // raw, or TLS over it
	raw  *net.TCPConn
	s    *Server
	a    Answerer
	// streamer is a, if it gives responses of several messages.
	streamer Streamer
	sender   func([]byte) error // send, made once
	from     netip.AddrPort
	secure   bool // over TLS
	kept     bool // cannot be passed on
	served   int
	in, out  []byte // received and not yet answered; answered and not yet sent

	// Where the connection is in the table; guarded by its mutex.
	prefix          netip.Prefix
	inAll, inPrefix *list.Element
}

// begin reads what comes before the first query: a PROXY header, the TLS handshake.
// It reports whether the connection may go on.
func (c *streamConn) begin(config *tls.Config) bool {
	if p := proxies(c.s.o.ProxyFrom); p.has(c.from.Addr()) {
		if c.raw.SetReadDeadline(c.s.o.Now().Add(c.s.o.Limits.Message)) != nil {
			return false
		}
		from, ok := readProxy(c.raw)
		if !ok {
			c.s.stats.BadProxy.Add(1)
			return false
		}
		if from.IsValid() {
			c.from = from
		}
	}
	c.s.conns.settle(c, &c.s.stats)
	if config == nil {
		return true
	}
	t := tls.Server(c.raw, config)
	if c.raw.SetDeadline(c.s.o.Now().Add(c.s.o.Limits.Handshake)) != nil {
		return false
	}
	if err := t.HandshakeContext(context.Background()); err != nil {
		c.s.stats.Handshakes.Add(1)
		return false
	}
	c.conn = t
	return c.raw.SetDeadline(time.Time{}) == nil
}

// serve answers until the client is done, too slow, or over its limits.
func (c *streamConn) serve() {
	if c.in == nil {
		c.in = make([]byte, 0, readSize)
	}
	for {
		if !c.answerAll() || !c.flush() {
			return
		}
		if c.s.stopping.Load() && len(c.in) == 0 {
			return
		}
		if !c.fill() {
			return
		}
	}
}

// answerAll answers every complete query in the buffer and reports whether the
// connection may go on.
func (c *streamConn) answerAll() bool {
	for {
		if len(c.in) < 2 {
			return true
		}
		n := int(binary.BigEndian.Uint16(c.in))
		if n > maxQuery {
			return false
		}
		if len(c.in) < 2+n {
			return true
		}
		if !c.answer(c.in[2 : 2+n]) {
			c.flush()
			return false
		}
		c.in = append(c.in[:0], c.in[2+n:]...)
		if len(c.out) >= writeSize && !c.flush() {
			return false
		}
	}
}

// answer appends the response to one query with its length prefix. No response
// (a runt or a response as query) ends the connection: on a stream that peer is
// broken.
func (c *streamConn) answer(msg []byte) bool {
	if c.streamer != nil && c.streamer.Stream(msg, c.from, c.s.o.Time().Unix(), c.sender) {
		return c.count()
	}
	start := len(c.out)
	c.out = append(c.out, 0, 0)
	c.out = c.a.Answer(c.out, msg, c.from, c.s.o.Time().Unix())
	n := len(c.out) - start - 2
	if n == 0 {
		c.out = c.out[:start]
		return false
	}
	binary.BigEndian.PutUint16(c.out[start:], uint16(n))
	return c.count()
}

// count counts a query and reports whether the connection may have another.
func (c *streamConn) count() bool {
	c.served++
	return c.s.o.Limits.Pipeline == 0 || c.served < c.s.o.Limits.Pipeline
}

// errGone ends a response of many messages.
var errGone = errors.New("the client is gone, or too slow")

// send sends one message of several, behind all that waits to be sent. It fails when
// the client is gone or too slow.
func (c *streamConn) send(msg []byte) error {
	c.out = binary.BigEndian.AppendUint16(c.out, uint16(len(msg)))
	c.out = append(c.out, msg...)
	if !c.flush() {
		return errGone
	}
	return nil
}

// fill waits for more: as long as idling is allowed at the start of a query,
// briefly once a part of it has come (RFC 7766 section 6.2.3).
func (c *streamConn) fill() bool {
	c.s.conns.touch(c)
	wait := time.Duration(c.s.conns.idle.Load())
	if len(c.in) > 0 || c.served == 0 {
		wait = c.s.o.Limits.Message
	}
	deadline := c.s.o.Now().Add(wait)
	for need := true; need; need = !c.complete() {
		if err := c.setReadDeadline(deadline); err != nil {
			return false
		}
		n, err := c.conn.Read(c.in[len(c.in):cap(c.in)])
		if n == 0 {
			if !errors.Is(err, os.ErrDeadlineExceeded) || c.expired() {
				return false
			}
			continue
		}
		if len(c.in) == 0 { // the message has begun: now its own time runs
			deadline = c.s.o.Now().Add(c.s.o.Limits.Message)
		}
		c.in = c.in[:len(c.in)+n]
	}
	return true
}

// expired says what a deadline that has passed means: that the connection ends here, or,
// when it was to be passed on and could not be, nothing.
func (c *streamConn) expired() bool {
	if give := c.giving(); give != nil {
		return c.passOn(*give)
	}
	if !c.s.stopping.Load() {
		c.s.stats.TimedOut.Add(1)
	}
	return true
}

// setReadDeadline sets the deadline unless the server is stopping: a drained
// connection reads what is there already and no more.
func (c *streamConn) setReadDeadline(deadline time.Time) error {
	if err := c.conn.SetReadDeadline(deadline); err != nil {
		return err
	}
	switch { // after the set: drain may have set its own just before
	case c.s.stopping.Load():
		return c.conn.SetReadDeadline(time.Unix(0, c.s.readUntil.Load()))
	case c.giving() != nil:
		return c.conn.SetReadDeadline(past)
	}
	return nil
}

// complete reports whether the buffer holds a whole query, or one too long.
func (c *streamConn) complete() bool {
	if len(c.in) < 2 {
		return false
	}
	n := int(binary.BigEndian.Uint16(c.in))
	return n > maxQuery || len(c.in) >= 2+n
}

// flush sends the collected responses, prefix and message in one write
// (RFC 7766 section 8). A client that does not read is given up on.
func (c *streamConn) flush() bool {
	if len(c.out) == 0 {
		return true
	}
	if err := c.conn.SetWriteDeadline(c.s.o.Now().Add(c.s.o.Limits.Message)); err != nil {
		return false
	}
	_, err := c.conn.Write(c.out)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.s.stats.TimedOut.Add(1)
	}
	c.out = c.out[:0]
	if cap(c.out) > writeSize+4096 {
		c.out = nil // one long response must not stay with an idle connection
	}
	return err == nil
}
