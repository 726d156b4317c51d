package server

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"
)

// Connection is an open TCP connection that another process goes on with.
type Connection struct {
	File *os.File       // the receiver closes it
	From netip.AddrPort // the client, by its PROXY header if there was one
	// Received is what has come of the next queries.
	Received []byte
	// Served is how many queries were answered.
	Served int
}

//nolint:gochecknoglobals // never written
var past = time.Unix(1, 0)

// Retire leaves the sockets to another process that has them, too: the server takes
// no more datagrams and connections, and passes on its TCP connections, each as soon
// as what it has asked is answered. give is called from many goroutines; if it fails, the
// connection stays here. TLS connections cannot be passed on. quiet is called when the
// last datagram is answered. Retire returns nil when no connection is left, or ctx's
// error; [Server.Stop] belongs behind it.
func (s *Server) Retire(ctx context.Context, quiet func(), give func(Connection) error) error {
	s.give.Store(&give)
	s.deaf.Store(true)
	for _, l := range slices.Concat(s.tcp, s.tls) {
		_ = l.Close()
	}
	s.conns.release()
	done := make(chan struct{})
	go func() { // ends with the goroutines of the server, at the latest in Stop
		s.loops.Wait()
		quiet()
		s.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%d connections are still open: %w", s.Open(), ctx.Err())
	}
}

// Adopt goes on with a connection of the process before. The server must have been
// started.
func (s *Server) Adopt(given Connection) error {
	conn, err := net.FileConn(given.File)
	_ = given.File.Close()
	if err != nil {
		return fmt.Errorf("take over a connection: %w", err)
	}
	raw, ok := conn.(*net.TCPConn)
	if !ok {
		_ = conn.Close()
		return fmt.Errorf("take over a connection: a %T is none of ours", conn)
	}
	if len(given.Received) > readSize {
		_ = conn.Close()
		return fmt.Errorf("take over a connection: %d octets received, more than a server reads ahead", len(given.Received))
	}
	c := newStreamConn(s, raw, s.adopted())
	c.from, c.served = given.From, given.Served
	c.in = append(make([]byte, 0, readSize), given.Received...)
	s.conns.add(c, &s.stats)
	s.take(c, func() bool {
		s.conns.settle(c, &s.stats)
		return true
	})
	return nil
}

// giving returns what passes this connection on; nil as long as it stays.
func (c *streamConn) giving() *func(Connection) error {
	if c.secure || c.kept {
		return nil
	}
	return c.s.give.Load()
}

// passOn gives the connection to the next process. Its descriptor there is another
// one: that this one is closed then means nothing to the client.
func (c *streamConn) passOn(give func(Connection) error) bool {
	// One at a time: all at once would take twice the descriptors that there are.
	c.s.passing.Lock()
	defer c.s.passing.Unlock()
	f, err := Descriptor(c.raw)
	if err == nil {
		err = give(Connection{File: f, From: c.from, Received: c.in, Served: c.served})
	}
	if err != nil {
		c.kept = true
		c.s.o.Log("a connection stays with the process before", err)
	}
	return err == nil
}

// release ends the wait of every connection that can be passed on, and has the others
// told that they should go (RFC 7828 section 3.4). One whose PROXY header is still
// awaited finds out by itself, after it.
func (t *connTable) release() {
	t.mu.Lock()
	if t.told != nil {
		t.told(0)
		t.told = nil
	}
	t.mu.Unlock()
	t.each(func(c *streamConn) {
		if c.inPrefix != nil && !c.secure {
			_ = c.raw.SetReadDeadline(past)
		}
	})
}
