//go:build linux

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"portolan.dev/geo/geotest"
)

// long asks for the counts that take minutes.
func long() bool { return os.Getenv("PORTOLAN_LONG") != "" }

// operator speaks to the admin socket of a server as curl would: it knows nothing
// of the program's own types. It is safe for concurrent use.
type operator struct {
	t    *testing.T
	http *http.Client
}

func (s *server) operator(t *testing.T) *operator {
	t.Helper()
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", s.socket())
	}
	return &operator{t, &http.Client{Timeout: patience, Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
}

// send sends a request and returns the status and the body; 0 and the error's text
// when there was no whole response, as when the server is killed.
func (o *operator) send(method, path string, body io.Reader) (code int, text string) {
	o.t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, "http://portolan"+path, body)
	if err != nil {
		o.t.Errorf("%s %s: %v", method, path, err)
		return 0, err.Error()
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := o.http.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(b)
}

// post sends a change.
func (o *operator) post(path string, change fields) (code int, text string) {
	o.t.Helper()
	b, err := json.Marshal(change)
	if err != nil {
		o.t.Fatal(err)
	}
	return o.send(http.MethodPost, path, bytes.NewReader(b))
}

// fields are the members of a request.
type fields map[string]any

// must sends a change and wants it done.
func (o *operator) must(path string, change fields) {
	o.t.Helper()
	if code, text := o.post(path, change); code != http.StatusOK {
		o.t.Fatalf("%s %v: %d %s", path, change, code, text)
	}
}

// get reads what a path answers into v.
func (o *operator) get(path string, v any) {
	o.t.Helper()
	code, text := o.send(http.MethodGet, path, nil)
	if code != http.StatusOK {
		o.t.Fatalf("%s: %d %s", path, code, text)
	}
	if err := json.Unmarshal([]byte(text), v); err != nil {
		o.t.Fatalf("%s: %v: %s", path, err, text)
	}
}

// again starts the binary anew with the folder and the configuration of a server
// that has ended.
func (s *server) again(t *testing.T) {
	t.Helper()
	s.becomes(start(t, s.ns, portolan(t), "serve", "-c", s.path))
}

// againWith is again with sockets that are open already.
func (s *server) againWith(t *testing.T, sockets []*os.File) {
	t.Helper()
	s.becomes(startWithSockets(t, s.ns, sockets, s.path))
}

// becomes waits until the next process serves.
func (s *server) becomes(p *process) {
	s.t.Helper()
	s.process, s.addrs = p, nil
	s.learn(s.waitLog(0, "msg=serving"))
}

// alias gives the namespace another name, whose programs ask another resolver, with
// options as resolv.conf has them.
func (n *netns) alias(t *testing.T, suffix, resolver, options string) *netns {
	t.Helper()
	a := &netns{n.name + "-" + suffix}
	path, etc := filepath.Join(netnsDir, a.name), filepath.Join(netnsEtcDir, a.name)
	for _, err := range []error{
		os.WriteFile(path, nil, 0o400),
		unix.Mount(filepath.Join(netnsDir, n.name), path, "", unix.MS_BIND, ""),
		os.MkdirAll(etc, 0o755),
		os.WriteFile(filepath.Join(etc, "resolv.conf"), fmt.Appendf(nil, "nameserver %s\noptions %s\n", resolver, options), 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { removeNetns(a.name) })
	return a
}

var (
	inSeattle   = geotest.Place{Prefix: "128.0.0.0/8", City: "Seattle", Country: "US", Latitude: 47.6, Longitude: -122.3}
	inAtlanta   = geotest.Place{Prefix: "128.0.0.0/8", City: "Atlanta", Country: "US", Latitude: 33.7, Longitude: -84.4}
	inAmsterdam = geotest.Place{Prefix: "145.0.0.0/8", City: "Amsterdam", Country: "NL", Latitude: 52.4, Longitude: 4.9}
)

// locationData makes a location database.
func locationData(t *testing.T, places ...geotest.Place) string {
	t.Helper()
	data, err := geotest.MMDB(places...)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// region returns the region that the global name leads a client subnet to, by the
// CNAME; "" for none.
func region(m *dns.Msg) string {
	if len(m.Answer) == 0 {
		return ""
	}
	alias, ok := m.Answer[0].(*dns.CNAME)
	if !ok {
		return ""
	}
	_, after, _ := strings.Cut(alias.Target, ".")
	label, _, _ := strings.Cut(after, ".")
	return label
}

// front stands before a registry and lets uploads through by stages. It closes
// every connection, so that clients resolve the name for every request.
type front struct {
	stages  *atomic.Pointer[stages]
	blind   *atomic.Bool // probes get an error
	backend *httputil.ReverseProxy
}

// newFront serves addr in the namespace with what stands at backend.
func newFront(t *testing.T, n *netns, addr, backend string, s *atomic.Pointer[stages], blind *atomic.Bool) {
	t.Helper()
	var l net.Listener
	err := n.do(func() (err error) {
		l, err = net.Listen("tcp", addr)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	target := &url.URL{Scheme: "http", Host: backend}
	f := &front{s, blind, &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // registries make the Location of an upload from it
		},
		Transport: &http.Transport{DialContext: n.dial, DisableKeepAlives: true},
		ModifyResponse: func(r *http.Response) error {
			if m := uploadPath.FindStringSubmatch(r.Request.URL.Path); m != nil && r.StatusCode >= 400 {
				s.Load().fail(m[1])
			}
			return nil
		},
		// A client of a dead replica sees a connection that breaks.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}}
	srv := &http.Server{Handler: f}
	srv.SetKeepAlivesEnabled(false)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(l) // ends with Close
	}()
	t.Cleanup(func() {
		_ = srv.Close()
		<-done
	})
}

var uploadPath = regexp.MustCompile(`^/v2/(.+)/blobs/uploads/`)

// ServeHTTP implements [http.Handler].
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := f.stages.Load()
	if f.blind.Load() && strings.HasPrefix(r.UserAgent(), "portolan") {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	m := uploadPath.FindStringSubmatch(r.URL.Path)
	if s == nil || m == nil {
		f.backend.ServeHTTP(w, r)
		return
	}
	switch r.Method {
	case http.MethodPost:
		s.enter(r.Context(), m[1])
	case http.MethodPut: // ends an upload, one way or the other
		defer s.leave(m[1])
	}
	f.backend.ServeHTTP(w, r)
}

// stages lets each push begin so many uploads, and more with each stage: a push
// spans an event, however fast or slow the machine is.
type stages struct {
	mu      sync.Mutex
	allowed int
	more    chan struct{} // closed when allowed rises
	pushes  map[string]*progress
}

// progress is how far a push has come. One that has failed waits for the uploads that
// it has begun, which may not go on, and ends only then.
type progress struct {
	begun, ended int
	failed       bool
}

func newStages(allowed int) *stages {
	return &stages{allowed: allowed, more: make(chan struct{}), pushes: make(map[string]*progress)}
}

func (s *stages) of(repository string) *progress {
	p := s.pushes[repository]
	if p == nil {
		p = new(progress)
		s.pushes[repository] = p
	}
	return p
}

// enter returns when a push may begin another upload.
func (s *stages) enter(ctx context.Context, repository string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p := s.of(repository); p.begun >= s.allowed; {
		more := s.more
		s.mu.Unlock()
		select {
		case <-more:
		case <-ctx.Done():
		}
		s.mu.Lock()
		if ctx.Err() != nil {
			return
		}
	}
	s.of(repository).begun++
}

func (s *stages) leave(repository string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of(repository).ended++
}

func (s *stages) fail(repository string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of(repository).failed = true
}

// allow lets each push begin more uploads.
func (s *stages) allow(more int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.allowed += more
	close(s.more)
	s.more = make(chan struct{})
}

// spent reports whether a push has ended all the uploads that it may begin, or has
// failed.
func (s *stages) spent(repository string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.of(repository)
	return p.failed || p.ended >= s.allowed
}

// serverStatus is the part of GET /v1/status that the tests look at.
type serverStatus struct {
	Ledger      uint64
	LedgerError string `json:"ledger_error"`
	Registries  []struct {
		Registry string
		Holds    bool
		Replicas []struct {
			Region     string
			Routed, Up bool
			Drain      *struct {
				Drained bool
				Reason  string
			}
			RoutingBy string `json:"routing_by"`
		}
	}
}

func (s *server) status(t *testing.T) (st serverStatus) {
	t.Helper()
	s.operator(t).get("/v1/status", &st)
	return st
}

// replicaStandIn is a registry as far as a prober can tell, well or broken.
type replicaStandIn struct {
	addr   string
	broken atomic.Bool
}

func newReplicaStandIn(t *testing.T) *replicaStandIn {
	t.Helper()
	r := new(replicaStandIn)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if r.broken.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(s.Close)
	r.addr = strings.TrimPrefix(s.URL, "http://")
	return r
}
