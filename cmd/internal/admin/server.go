package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Options configure a Server.
type Options struct {
	Socket   string // path of the unix socket; "" for none
	Metrics  string // host:port; "" for none
	Gatherer prometheus.Gatherer
	API      API
	Log      *slog.Logger
}

// Limits of an HTTP exchange: an operator's tool asks for kilobytes and waits for
// milliseconds.
const (
	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second
	writeTimeout  = 30 * time.Second
	maxHeader     = 16 << 10
	maxScrapes    = 4
)

// Server is the admin socket and the metrics listener. Make one with [New].
type Server struct {
	o       Options
	socket  net.Listener
	metrics net.Listener
	servers []*http.Server
	wg      sync.WaitGroup
}

// New opens the listeners. On error none stays open.
func New(o Options) (*Server, error) {
	s := &Server{o: o}
	var err error
	if o.Metrics != "" {
		if s.metrics, err = net.Listen("tcp", o.Metrics); err != nil { //nolint:noctx // at start, nothing to cancel
			return nil, fmt.Errorf("admin.metrics: %w: choose a free address, or leave it out", err)
		}
	}
	if o.Socket != "" {
		if s.socket, err = listenUnix(o.Socket); err != nil {
			if s.metrics != nil {
				_ = s.metrics.Close()
			}
			return nil, fmt.Errorf("admin.socket: %w", err)
		}
	}
	return s, nil
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
	if err != nil {
		return nil, err
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
		s.serve(s.metrics, mux)
	}
	if s.socket != nil {
		s.serve(s.socket, s.routes())
	}
}

func (s *Server) serve(l net.Listener, h http.Handler) {
	hs := &http.Server{
		Handler: h, ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout,
		MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(s.o.Log.Handler(), slog.LevelDebug),
	}
	s.servers = append(s.servers, hs)
	s.wg.Go(func() {
		if err := hs.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
			s.o.Log.Error("an admin listener has failed", "error", err)
		}
	})
}

// Stop lets requests end until ctx is done, and closes the listeners.
func (s *Server) Stop(ctx context.Context) error {
	var errs []error
	for _, hs := range s.servers {
		if err := hs.Shutdown(ctx); err != nil {
			errs = append(errs, err, hs.Close())
		}
	}
	s.wg.Wait()
	if len(s.servers) == 0 { // never started
		for _, l := range []net.Listener{s.socket, s.metrics} {
			if l != nil {
				errs = append(errs, l.Close())
			}
		}
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

// routes is the whole API.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", s.status)
	mux.HandleFunc("GET /v1/explain", s.explain)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, http.StatusNotFound, r.Method+" "+r.URL.Path+" is not part of the API: see GET /v1/status and GET /v1/explain")
	})
	return mux
}

func (s *Server) status(w http.ResponseWriter, _ *http.Request) {
	s.reply(w, http.StatusOK, s.o.API.Status())
}

// explain takes registry, and client (an address or a prefix: the client subnet)
// or resolver (the address that asks), or both.
func (s *Server) explain(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	asker, subnet, err := Clients(q.Get("client"), q.Get("resolver"))
	if err != nil {
		s.fail(w, http.StatusBadRequest, err.Error())
		return
	}
	e, err := s.o.API.Explain(q.Get("registry"), asker, subnet)
	switch {
	case errors.Is(err, ErrNotFound):
		s.fail(w, http.StatusNotFound, err.Error())
	case err != nil:
		s.fail(w, http.StatusInternalServerError, err.Error())
	default:
		s.reply(w, http.StatusOK, e)
	}
}

func (s *Server) fail(w http.ResponseWriter, code int, msg string) { s.reply(w, code, Failure{msg}) }

func (s *Server) reply(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	if err := e.Encode(body); err != nil {
		s.o.Log.Debug("an admin response was not taken", "error", err)
	}
}

// Clients reads who asks from the words of an operator: client is an address or
// a prefix that stands for the client subnet, resolver the address that asks.
// A client address without a length is cut as resolvers cut it, to /24 or /56
// (RFC 7871 section 11.1). With only one of the two, the other follows from it:
// the client asks by itself, or the resolver sends no subnet.
func Clients(client, resolver string) (asker netip.Addr, subnet netip.Prefix, err error) {
	if resolver != "" {
		if asker, err = netip.ParseAddr(resolver); err != nil {
			return asker, subnet, fmt.Errorf("resolver %q is no address: write it like 192.0.2.53", resolver)
		}
	}
	if client == "" {
		if resolver == "" {
			return asker, subnet, errors.New("nobody asks: name a client address or prefix, or a resolver")
		}
		return asker, subnet, nil
	}
	if subnet, err = netip.ParsePrefix(client); err != nil {
		a, aerr := netip.ParseAddr(client)
		if aerr != nil {
			return asker, netip.Prefix{}, fmt.Errorf("client %q is no address or prefix: write it like 192.0.2.7 or 192.0.2.0/24", client)
		}
		bits := 56
		if a = a.Unmap(); a.Is4() {
			bits = 24
		}
		subnet = netip.PrefixFrom(a, bits)
	}
	subnet = subnet.Masked()
	if !asker.IsValid() {
		asker = subnet.Addr()
	}
	return asker, subnet, nil
}
