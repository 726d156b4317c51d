package admin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/netutil"

	"portolan.dev/cmd/internal/handover"
	"portolan.dev/resolver/server"
)

// Options configure a Server.
type Options struct {
	Socket   string // path of the unix socket; "" for none
	Metrics  string // host:port; "" for none
	Remote   Remote // the zero value for none
	Gatherer prometheus.Gatherer
	API      API
	Log      *slog.Logger
	// Inherit returns what is open already for a use and an address, as handover.Sockets
	// does; nil for nothing.
	Inherit func(use, address string) []*os.File
	// AcceptFailed is told of each error of a listener, which goes on. It must be safe for
	// concurrent use and not block; nil for nobody.
	AcceptFailed func(error)
}

// Limits of an HTTP exchange: an operator's tool asks for kilobytes and waits for
// milliseconds.
const (
	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second
	writeTimeout  = 30 * time.Second
	idleTimeout   = 2 * time.Minute
	maxHeader     = 16 << 10
	maxBody       = 64 << 10
	maxScrapes    = 4
	// maxSocketPath is what fits the address of a unix socket everywhere (unix(7)).
	maxSocketPath = 103
	maxFollowers  = 64
	// maxCollectors bounds the connections to the metrics listener: who holds them must
	// not have the descriptors that probes and operators need.
	maxCollectors = 64
	// stuckTimeout ends a follower that reads nothing.
	stuckTimeout = 30 * time.Second
)

// Descriptors is how many descriptors a Server with these options may hold at once. The
// unix socket, which only its owner and group may use, counts with its followers and
// some calls beside them.
func (o *Options) Descriptors() int {
	n := 0
	if o.Socket != "" {
		n += 1 + maxFollowers + maxFollowers/4
	}
	if o.Metrics != "" {
		n += 1 + maxCollectors
	}
	if o.Remote.Listen != "" {
		n += 1 + maxRemote
	}
	return n
}

// Server is the admin socket and the metrics listener. Make one with [New].
type Server struct {
	o       Options
	socket  net.Listener
	metrics net.Listener
	remote  net.Listener            // what raw has for it, with TLS over it
	raw     map[string]net.Listener // by use
	servers []*http.Server
	wg      sync.WaitGroup

	// closing ends when Stop begins: streams, which would go on for ever, end then,
	// while every other exchange may finish.
	closing   context.Context
	close     context.CancelFunc
	followers chan struct{} // a slot for each stream
	fresh     fresh
	// Bounds of an exchange and of a write to a follower; tests shorten them.
	read, write, stuck time.Duration
}

// New opens the listeners. On error none stays open.
func New(o Options) (*Server, error) {
	s := &Server{o: o, followers: make(chan struct{}, maxFollowers), read: readTimeout, write: writeTimeout, stuck: stuckTimeout}
	s.fresh.conns = make(map[net.Conn]struct{})
	s.closing, s.close = context.WithCancel(context.Background())
	s.raw = make(map[string]net.Listener)
	var err error
	if o.Metrics != "" {
		if s.metrics, err = s.listen(handover.Metrics, o.Metrics, listenTCP); err != nil {
			return nil, fmt.Errorf("admin.metrics: %w", err)
		}
	}
	if o.Socket != "" {
		if s.socket, err = s.listen(handover.Admin, o.Socket, listenUnix); err != nil {
			return nil, errors.Join(fmt.Errorf("admin.socket: %w", err), s.closeListeners())
		}
	}
	if o.Remote.Listen != "" {
		if s.remote, err = s.listenRemote(); err != nil {
			return nil, errors.Join(fmt.Errorf("admin.tcp.listen: %w", err), s.closeListeners())
		}
	}
	return s, nil
}

// listen returns what is open already for an address, or opens it.
func (s *Server) listen(use, address string, open func(string) (net.Listener, error)) (l net.Listener, err error) {
	var files []*os.File
	if s.o.Inherit != nil {
		files = s.o.Inherit(use, address)
	}
	if len(files) == 0 {
		l, err = open(address)
	} else {
		l, err = net.FileListener(files[0])
	}
	for _, f := range files {
		_ = f.Close()
	}
	if err != nil {
		return nil, err
	}
	s.raw[use] = l
	return l, nil
}

func listenTCP(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address) //nolint:noctx // at start, nothing to cancel
	if err != nil {
		return nil, fmt.Errorf("%w: choose a free address, or leave it out", err)
	}
	return l, nil
}

// Listeners returns the listeners by use, for the next process to inherit.
func (s *Server) Listeners() map[string]syscall.Conn {
	out := make(map[string]syscall.Conn, len(s.raw))
	for use, l := range s.raw {
		if c, ok := l.(syscall.Conn); ok {
			out[use] = c
		}
	}
	return out
}

// Leave makes Stop leave the unix socket in its place: the next process listens there.
func (s *Server) Leave() { s.unlink(false) }

// unlink says whether the unix socket goes when its listener is closed.
func (s *Server) unlink(yes bool) {
	if l, ok := s.socket.(*net.UnixListener); ok {
		l.SetUnlinkOnClose(yes)
	}
}

func (s *Server) closeListeners() error {
	var errs []error
	for _, l := range []net.Listener{s.socket, s.metrics, s.remote} {
		if l != nil {
			errs = append(errs, l.Close())
		}
	}
	return errors.Join(errs...)
}

// listenUnix opens a socket that its owner and group may use. A socket that
// nobody listens on any more is replaced.
func listenUnix(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // the socket itself is 0660
		return nil, fmt.Errorf("%w: make the folder, or name another path", err)
	}
	if info, err := os.Lstat(path); err == nil {
		if info.Mode()&fs.ModeSocket == 0 {
			return nil, fmt.Errorf("%s exists and is no socket: remove it, or name another path", path)
		}
		if c, err := (&net.Dialer{Timeout: time.Second}).Dial("unix", path); err == nil {
			_ = c.Close()
			return nil, fmt.Errorf("%s: another server listens there: stop it, or name another path", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	l, err := net.Listen("unix", path) //nolint:noctx // at start, nothing to cancel
	if len(path) > maxSocketPath && errors.Is(err, syscall.EINVAL) {
		return nil, fmt.Errorf("%w: the system allows some %d octets: name a shorter path", err, maxSocketPath)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: name another path", err)
	}
	if err := os.Chmod(path, 0o660); err != nil { //nolint:gosec // the group may ask: that is what it is for
		_ = l.Close()
		return nil, err
	}
	return l, nil
}

// Start serves until Stop.
func (s *Server) Start() {
	if s.metrics != nil {
		mux := http.NewServeMux()
		mux.Handle("GET /metrics", promhttp.HandlerFor(s.o.Gatherer, promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes}))
		s.serve(around(s.metrics, netutil.LimitListener(s.metrics, maxCollectors)), mux)
	}
	if s.socket != nil {
		s.unlink(true) // also if it was inherited
		s.serve(s.socket, s.routes())
	}
	if s.remote != nil {
		s.serve(s.remote, s.guarded(s.routes()))
	}
}

func (s *Server) serve(l net.Listener, h http.Handler) {
	hs := &http.Server{
		Handler: h, ReadHeaderTimeout: headerTimeout, ReadTimeout: s.read, WriteTimeout: s.write, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(s.o.Log.Handler(), slog.LevelDebug), ConnContext: withConn,
		ConnState: s.fresh.changed,
	}
	s.servers = append(s.servers, hs)
	s.wg.Go(func() {
		if err := hs.Serve(s.persist(l)); err != nil && !errors.Is(err, http.ErrServerClosed) {
			s.o.Log.Error("an admin listener has failed", "error", err)
		}
	})
}

// persist lets no error of the system end a listener: it would go on to be bound, with
// nobody behind it.
func (s *Server) persist(l net.Listener) net.Listener {
	return server.Persist(l, time.Now, func(err error) { //nolint:forbidigo // how long errors last, in the system's time
		if s.o.AcceptFailed != nil {
			s.o.AcceptFailed(err)
		}
	})
}

// around returns outer, a listener that accepts from inner, with the socket of inner: one
// that has failed for long is made to listen again there.
func around(inner, outer net.Listener) net.Listener {
	c, ok := inner.(syscall.Conn)
	if !ok {
		return outer
	}
	return struct {
		net.Listener
		syscall.Conn
	}{outer, c}
}

// Stop ends the streams, lets other requests finish until ctx is done, and closes
// the listeners.
func (s *Server) Stop(ctx context.Context) error {
	s.close()
	s.fresh.end()
	var errs []error
	for _, hs := range s.servers {
		if err := hs.Shutdown(ctx); err != nil {
			errs = append(errs, err, hs.Close())
		}
	}
	s.wg.Wait()
	if len(s.servers) == 0 { // never started
		errs = append(errs, s.closeListeners())
	}
	return errors.Join(errs...)
}

// MetricsAddr returns the address of the metrics listener; "" for none.
func (s *Server) MetricsAddr() string {
	if s.metrics == nil {
		return ""
	}
	return s.metrics.Addr().String()
}
