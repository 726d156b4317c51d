package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Answerer turns a query into a response.
type Answerer interface {
	// Answer appends the response to msg, received from the address from, to dst
	// and returns it; nothing appended means nothing is sent. now is in Unix
	// seconds, at most a second or so old. It must not keep msg or dst, and must
	// be safe for concurrent use.
	Answer(dst, msg []byte, from netip.AddrPort, now int64) []byte
}

// BatchAnswerer turns queries that were received together into responses. It belongs
// to one goroutine, which calls Reset, Read for each of at most [BatchSize] queries,
// Look, and Answer for each.
type BatchAnswerer interface {
	// Reset makes room for the next queries.
	Reset()
	// Read takes in a query, received from the address from. msg stays as it is until
	// the query is answered.
	Read(msg []byte, from netip.AddrPort)
	// Look does for all queries what is better done together.
	Look()
	// Answer does for query i, counted from 0, what [Answerer] does.
	Answer(dst []byte, i int, now int64) []byte
}

// BatchSize is how many queries are received together at most.
const BatchSize = 64

// Limits bound what TCP clients may hold. A zero PerPrefix or Pipeline means no
// limit of its own.
type Limits struct {
	Connections int           // open at once in all
	PerPrefix   int           // open at once per client /24 or /48
	Pipeline    int           // queries on one connection before it is closed
	Idle        time.Duration // between queries, RFC 7766 section 6.2.3
	Message     time.Duration // from a connection's or message's first wait to its last octet
}

// Options configure a Server.
type Options struct {
	// Listen holds the addresses to serve, each over UDP and TCP. Port 0 takes a
	// free port, the same for both.
	Listen []netip.AddrPort
	// Workers is how many UDP sockets each address gets where the system can
	// spread datagrams over several; at least 1.
	Workers int
	Limits  Limits
	// UDP returns what answers for one receiving goroutine, TCP for all connections
	// of one listener.
	UDP func() BatchAnswerer
	TCP func() Answerer
	// Now is the clock.
	Now func() time.Time
	// Log is told what an operator should know of sockets, at a limited rate by
	// the caller's choosing. It must be safe for concurrent use.
	Log func(msg string, err error)
}

// Server is a set of sockets. Make one with [New].
type Server struct {
	o        Options
	udp      []udpSocket
	tcp      []*net.TCPListener
	addrs    []netip.AddrPort
	conns    connTable
	wg       sync.WaitGroup
	stopping atomic.Bool
	stats    Stats
}

// Stats counts what happens to connections. All fields are monotonic.
type Stats struct {
	Accepted, RefusedFull, RefusedPrefix, TimedOut atomic.Uint64
}

// udpSocket is one bound UDP socket and its receive loop.
type udpSocket interface {
	// serve answers until the socket is closed or stop reports true.
	serve(a BatchAnswerer, now func() time.Time, stop func() bool) error
	close()
}

// New binds all sockets and serves none of them yet. On error nothing stays
// bound.
func New(o Options) (*Server, error) {
	s := &Server{o: o}
	s.conns.init(o.Limits)
	for _, addr := range o.Listen {
		if err := s.bind(addr); err != nil {
			s.close()
			return nil, err
		}
	}
	return s, nil
}

// bind opens the sockets of one address. With port 0 the TCP listener chooses,
// and another port is tried while UDP cannot have the same.
func (s *Server) bind(addr netip.AddrPort) error {
	var err error
	for range 10 {
		var l *net.TCPListener
		if l, err = listenTCP(addr); err != nil {
			return fmt.Errorf("listen on tcp %s: %w: is another server running there?", addr, err)
		}
		bound := netip.AddrPortFrom(addr.Addr(), uint16(l.Addr().(*net.TCPAddr).Port))
		var sockets []udpSocket
		if sockets, err = listenUDP(bound, s.o.Workers); err == nil {
			s.tcp = append(s.tcp, l)
			s.udp = append(s.udp, sockets...)
			s.addrs = append(s.addrs, bound)
			return nil
		}
		_ = l.Close()
		if addr.Port() != 0 {
			break
		}
	}
	return fmt.Errorf("listen on udp %s: %w: is another server running there?", addr, err)
}

func listenTCP(addr netip.AddrPort) (*net.TCPListener, error) {
	network := "tcp4"
	if addr.Addr().Is6() {
		network = "tcp6"
	}
	return net.ListenTCP(network, net.TCPAddrFromAddrPort(addr))
}

// Addrs returns the addresses served, with the ports that were taken.
func (s *Server) Addrs() []netip.AddrPort { return s.addrs }

// Stats returns the counters of connections.
func (s *Server) Stats() *Stats { return &s.stats }

// Open returns how many TCP connections are open now.
func (s *Server) Open() int { return s.conns.open() }

// Start serves all sockets until [Server.Stop].
func (s *Server) Start() {
	for _, u := range s.udp {
		a := s.o.UDP()
		s.wg.Go(func() {
			if err := u.serve(a, s.o.Now, s.stopping.Load); err != nil && !s.stopping.Load() {
				s.o.Log("a UDP socket has failed and is closed", err)
			}
		})
	}
	for _, l := range s.tcp {
		a := s.o.TCP()
		s.wg.Go(func() { s.acceptLoop(l, a) })
	}
}

// Stop closes the listeners, lets queries that have been received be answered,
// and returns when all goroutines have ended, or with ctx's error once that is
// done first; connections are then cut.
func (s *Server) Stop(ctx context.Context) error {
	s.stopping.Store(true)
	for _, l := range s.tcp {
		_ = l.Close()
	}
	s.conns.drain()
	done := make(chan struct{})
	go func() { // ends with the goroutines of the server
		s.wg.Wait()
		close(done)
	}()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		s.conns.cut()
		err = fmt.Errorf("stop the server: %w: open connections were cut", ctx.Err())
		<-done
	}
	s.close()
	return err
}

func (s *Server) close() {
	for _, l := range s.tcp {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			s.o.Log("close a TCP listener", err)
		}
	}
	for _, u := range s.udp {
		u.close()
	}
}
