package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"slices"
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

// Streamer is an [Answerer] of streams that also gives responses of several messages.
type Streamer interface {
	// Stream answers msg if the response to it takes several messages, with one call
	// of send for each, and reports whether it does. It stops when send fails.
	Stream(msg []byte, from netip.AddrPort, now int64, send func(msg []byte) error) (taken bool)
}

// BatchSize is how many queries are received together at most.
const BatchSize = 64

// Limits bound what TCP and TLS clients may hold together. A zero PerPrefix or
// Pipeline means no limit of its own.
type Limits struct {
	Connections int           // open at once in all
	PerPrefix   int           // open at once per client /24 or /48
	Pipeline    int           // queries on one connection before it is closed
	Idle        time.Duration // between queries, RFC 7766 section 6.2.3
	Message     time.Duration // from a connection's or message's first wait to its last octet
	Handshake   time.Duration // of TLS
}

// Options configure a Server.
type Options struct {
	// Listen holds the addresses to serve, each over UDP and TCP. Port 0 takes a
	// free port, the same for both.
	Listen []netip.AddrPort
	// ListenTLS holds the addresses to serve over TLS (RFC 7858), with the
	// configuration TLS.
	ListenTLS []netip.AddrPort
	TLS       *tls.Config
	// ProxyFrom has the networks whose connections and datagrams begin with a PROXY
	// protocol header.
	ProxyFrom []netip.Prefix
	// Workers is how many UDP sockets each address gets where the system can
	// spread datagrams over several; at least 1.
	Workers int
	// Inherit returns the sockets for a use and an address that somebody else has
	// opened: a service manager, or the process before. They are the server's from then
	// on. What it has none for is bound; nil for nothing at all.
	Inherit func(u Use, addr netip.AddrPort) []*os.File
	// InheritKept says that who has opened them keeps them open, as a service manager
	// does: then none that fails can be replaced by a new one.
	InheritKept bool
	Limits      Limits
	// UDP returns what answers for one receiving goroutine, TCP and TLSAnswerer for
	// all connections of one listener.
	UDP              func() BatchAnswerer
	TCP, TLSAnswerer func() Answerer
	// Now is the clock of timeouts. Time is what an Answerer is told; nil for Now.
	Now, Time func() time.Time
	// Idle is told the time that a connection may be idle when it changes with the
	// number of open ones. It must not block; nil for nobody.
	Idle func(time.Duration)
	// Panicked is told of a query that an Answerer could not take: it is dropped, and
	// its connection closed. It must be safe for concurrent use. With nil such a query
	// ends the process, as tests want it.
	Panicked func(value any, stack []byte)
	// Log is told what an operator should know of sockets, at a limited rate by
	// the caller's choosing. It must be safe for concurrent use.
	Log func(msg string, err error)
}

// Server is a set of sockets. Make one with [New].
type Server struct {
	o        Options
	udp      []udpSocket
	tcp      []*net.TCPListener
	tls      []*net.TCPListener
	addrs    []netip.AddrPort
	udpAddrs []netip.AddrPort // of each of udp
	conns    connTable
	wg       sync.WaitGroup
	loops    sync.WaitGroup // those of wg that receive datagrams
	// deaf: datagrams and new connections are not taken any more. stopping: connections
	// end, too.
	deaf, stopping atomic.Bool
	// readUntil is when connections are read for the last time, in Unix nanoseconds;
	// set before stopping.
	readUntil atomic.Int64
	stats     Stats
	// give passes a connection on, once the server has retired.
	give atomic.Pointer[func(Connection) error]
	// adopted answers for connections of the process before.
	adopted func() Answerer
	sleep   func(time.Duration) // between errors of a socket
	// passing is held while a connection is passed on, for which it has two descriptors.
	passing sync.Mutex
}

// Stats counts what happens to sockets and connections. All fields are monotonic.
type Stats struct {
	Accepted, TimedOut atomic.Uint64
	// EvictedFull and EvictedPrefix are connections closed for a new one when all, or
	// all of a prefix, were taken.
	EvictedFull, EvictedPrefix atomic.Uint64
	Handshakes                 atomic.Uint64 // of TLS, that failed
	// BadProxy counts connections and datagrams of a balancer without a good header,
	// BadSource datagrams from port 0.
	BadProxy, BadSource atomic.Uint64
	Panics              atomic.Uint64
	// ReceiveErrors and AcceptErrors are errors of the system at UDP sockets and
	// listeners, and Reopened the UDP sockets that were opened again for them.
	ReceiveErrors, AcceptErrors, Reopened atomic.Uint64
	Unsent                                atomic.Uint64 // UDP responses that the system did not take
}

// udpSocket is one bound UDP socket and its receive loop.
type udpSocket interface {
	// serve answers until the server is deaf, whatever errors there are.
	serve(s *Server, a BatchAnswerer)
	// another returns a socket for one more receive loop of an inherited address.
	another(addr netip.AddrPort) (udpSocket, error)
	// descriptor returns the socket once more, for another process.
	descriptor() (*os.File, error)
	close()
}

// New binds all sockets and serves none of them yet. On error nothing stays
// bound.
func New(o Options) (*Server, error) {
	s := &Server{o: o, adopted: sync.OnceValue(o.TCP), sleep: time.Sleep}
	if s.o.Time == nil {
		s.o.Time = o.Now
	}
	s.conns.init(o.Limits, o.Idle)
	for _, addr := range o.Listen {
		if err := s.bind(addr); err != nil {
			s.close()
			return nil, err
		}
	}
	for _, addr := range o.ListenTLS {
		l, err := s.listenTCP(TLS, addr)
		if err != nil {
			s.close()
			return nil, fmt.Errorf("listen on tcp %s for TLS: %w: is another server running there?", addr, err)
		}
		s.tls = append(s.tls, l)
	}
	return s, nil
}

// bind opens the sockets of one address. With port 0 the TCP listener chooses,
// and another port is tried while UDP cannot have the same.
func (s *Server) bind(addr netip.AddrPort) error {
	var err error
	for range 10 {
		var l *net.TCPListener
		if l, err = s.listenTCP(TCP, addr); err != nil {
			return fmt.Errorf("listen on tcp %s: %w: is another server running there?", addr, err)
		}
		bound := netip.AddrPortFrom(addr.Addr(), uint16(l.Addr().(*net.TCPAddr).Port))
		var sockets []udpSocket
		if sockets, err = s.listenUDP(bound); err == nil {
			s.tcp = append(s.tcp, l)
			s.udp = append(s.udp, sockets...)
			s.addrs = append(s.addrs, bound)
			s.udpAddrs = append(s.udpAddrs, slices.Repeat([]netip.AddrPort{bound}, len(sockets))...)
			return nil
		}
		_ = l.Close()
		if addr.Port() != 0 {
			break
		}
	}
	return fmt.Errorf("listen on udp %s: %w: is another server running there?", addr, err)
}

// Addrs returns the addresses served, with the ports that were taken.
func (s *Server) Addrs() []netip.AddrPort { return s.addrs }

// AddrsTLS returns the addresses served over TLS, with the ports that were taken.
func (s *Server) AddrsTLS() []netip.AddrPort {
	addrs := make([]netip.AddrPort, len(s.tls))
	for i, l := range s.tls {
		addrs[i] = netip.AddrPortFrom(s.o.ListenTLS[i].Addr(), uint16(l.Addr().(*net.TCPAddr).Port))
	}
	return addrs
}

// Stats returns the counters of connections.
func (s *Server) Stats() *Stats { return &s.stats }

// Open returns how many TCP and TLS connections are open now.
func (s *Server) Open() int { return s.conns.open() }

// Limit sets how many TCP and TLS connections may be open at once from now on, at
// least 1; those idle longest are closed if there are more. Safe for concurrent use.
func (s *Server) Limit(connections int) { s.conns.limit(max(connections, 1), &s.stats) }

// Spare closes the connection that has been idle longest, for its descriptor. Safe for
// concurrent use.
func (s *Server) Spare() { s.conns.spare(&s.stats) }

// Start serves all sockets until [Server.Stop].
func (s *Server) Start() {
	for _, u := range s.udp {
		a := s.o.UDP()
		s.loops.Add(1)
		s.wg.Go(func() {
			defer s.loops.Done()
			u.serve(s, a)
		})
	}
	for _, l := range s.tcp {
		a := s.o.TCP()
		s.wg.Go(func() { s.acceptLoop(l, a, nil) })
	}
	for _, l := range s.tls {
		a := s.o.TLSAnswerer()
		s.wg.Go(func() { s.acceptLoop(l, a, s.o.TLS) })
	}
}

// recovered, deferred, counts and reports a panic. What it was about is dropped: a
// half-written response must not be sent.
func (s *Server) recovered() {
	if v := recover(); v != nil {
		s.stats.Panics.Add(1)
		s.o.Panicked(v, debug.Stack())
	}
}

// lastMoment is for what a connection has received when the server stops and nobody
// has read yet: a read whose deadline has passed does not look.
const lastMoment = 50 * time.Millisecond

// Stop closes the listeners, lets queries that have been received be answered,
// and returns when all goroutines have ended, or with ctx's error once that is
// done first; connections are then cut.
func (s *Server) Stop(ctx context.Context) error {
	until := s.o.Now().Add(lastMoment)
	s.readUntil.Store(until.UnixNano())
	s.deaf.Store(true)
	s.stopping.Store(true)
	for _, l := range slices.Concat(s.tcp, s.tls) {
		_ = l.Close()
	}
	s.conns.drain(until)
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
	for _, l := range slices.Concat(s.tcp, s.tls) {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			s.o.Log("close a TCP listener", err)
		}
	}
	for _, u := range s.udp {
		u.close()
	}
}
