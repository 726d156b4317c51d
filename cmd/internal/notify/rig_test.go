package notify

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"portolan.dev/config/ledger"
)

// TestMain names a proxy that does not answer: every test sees that it is not used.
func TestMain(m *testing.M) {
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"} {
		if err := os.Setenv(name, "http://proxy.example.com:3128"); err != nil {
			panic(err)
		}
	}
	m.Run()
}

// What may be secret has hidden in it: no log may.
const (
	hookURL = "http://hooks.example.com/hidden-token"
	secret  = "hidden-secret-of-one"
)

// request is what a receiver got.
type request struct {
	at     time.Time
	header http.Header
	path   string
	body   string
}

// receiver is a server behind pipes, so that time is that of the test.
type receiver struct {
	conns    chan net.Conn
	handling sync.WaitGroup

	mu     sync.Mutex
	answer http.HandlerFunc
	got    []request
}

func newReceiver(t *testing.T, answer http.HandlerFunc) *receiver {
	t.Helper()
	r := &receiver{conns: make(chan net.Conn), answer: answer}
	s := &http.Server{Handler: r}
	done := make(chan struct{})
	go func() { _ = s.Serve(r); close(done) }()
	t.Cleanup(func() { _ = s.Close(); <-done; r.handling.Wait() })
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.handling.Add(1)
	defer r.handling.Done()
	body, err := io.ReadAll(req.Body)
	if err != nil {
		body = []byte(err.Error())
	}
	r.mu.Lock()
	r.got = append(r.got, request{time.Now(), req.Header, req.URL.Path, string(body)})
	answer := r.answer
	r.mu.Unlock()
	answer(w, req)
}

// becomes makes the receiver answer otherwise from now on.
func (r *receiver) becomes(answer http.HandlerFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

func (r *receiver) requests() []request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// Accept, Close and Addr make r a net.Listener.
func (r *receiver) Accept() (net.Conn, error) {
	c, ok := <-r.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (r *receiver) Close() error { close(r.conns); return nil }

func (*receiver) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// hang answers when the client has gone.
func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// fakeLog is a ledger in memory.
type fakeLog struct {
	mu      sync.Mutex
	events  []ledger.Event
	first   uint64 // Seq of events[0]
	grown   chan struct{}
	broken  error
	watched []uint64
}

func newFakeLog() *fakeLog { return &fakeLog{first: 1, grown: make(chan struct{})} }

func (l *fakeLog) append(events ...ledger.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range events {
		e.Seq = l.first + uint64(len(l.events))
		l.events = append(l.events, e)
	}
	close(l.grown)
	l.grown = make(chan struct{})
}

// fail ends every Watch, and deletes so many events.
func (l *fakeLog) fail(err error, deleted int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken = err
	l.events, l.first = l.events[deleted:], l.first+uint64(deleted)
	close(l.grown)
	l.grown = make(chan struct{})
}

func (l *fakeLog) Events(_ context.Context, from uint64, limit int) ([]ledger.Event, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken != nil {
		return nil, l.broken
	}
	left := l.events[min(max(from, l.first)-l.first, uint64(len(l.events))):]
	return slices.Clone(left[:cmp.Or(min(limit, len(left)), len(left))]), nil
}

func (l *fakeLog) Watch(ctx context.Context, from uint64) <-chan ledger.Event {
	l.mu.Lock()
	l.watched = append(l.watched, from)
	l.mu.Unlock()
	out := make(chan ledger.Event)
	go func() {
		defer close(out)
		for next := from; ; {
			l.mu.Lock()
			grown := l.grown
			l.mu.Unlock()
			batch, err := l.Events(ctx, next, 100)
			if err != nil || len(batch) > 0 && batch[0].Seq != next {
				return
			}
			for _, e := range batch {
				select {
				case out <- e:
					next = e.Seq + 1
				case <-ctx.Done():
					return
				}
			}
			if len(batch) > 0 {
				continue
			}
			select {
			case <-grown:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

// rig is a Notifier with a log and receivers by host, in a bubble of synctest.
type rig struct {
	*Notifier

	events *fakeLog
	mu     sync.Mutex
	hosts  map[string]*receiver // by host:port
	dialed []string
	text   bytes.Buffer // what is logged
}

func (r *rig) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(b)
}

func (r *rig) dial(ctx context.Context, _, address string) (net.Conn, error) {
	r.mu.Lock()
	r.dialed = append(r.dialed, address)
	to := r.hosts[address]
	r.mu.Unlock()
	if to == nil {
		return nil, errors.New("connection refused")
	}
	ours, theirs := net.Pipe()
	select {
	case to.conns <- theirs:
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// wall is a clock that receivers go by, and that nothing is waited for by.
func wall() time.Time { return time.Now().Add(time.Hour) }

// newRig makes one in a bubble. Receivers are named by host:port.
func newRig(t *testing.T, hosts map[string]http.HandlerFunc) *rig {
	t.Helper()
	r := &rig{events: newFakeLog(), hosts: make(map[string]*receiver)}
	for host, answer := range hosts {
		r.hosts[host] = newReceiver(t, answer)
	}
	r.Notifier = New(Options{
		Events: r.events, From: 1, Agent: "portolan/test", Now: time.Now, Wall: wall, Rand: rand.New(rand.NewPCG(1, 2)),
		Log:  slog.New(slog.NewTextHandler(r, nil)),
		Body: func(e ledger.Event, id string) any { return map[string]any{"id": id, "seq": e.Seq, "why": e.Why} },
		dial: r.dial,
	})
	t.Cleanup(func() {
		r.Stop(t.Context()) // which has ended: at once
		r.mu.Lock()
		defer r.mu.Unlock()
		if s := r.text.String(); strings.Contains(s, "hidden") {
			t.Errorf("the log shows a secret:\n%s", s)
		}
	})
	return r
}

// one is a rig with one receiver, at hookURL, and started.
func one(t *testing.T, answer http.HandlerFunc) (*rig, *receiver) {
	t.Helper()
	r := newRig(t, map[string]http.HandlerFunc{"hooks.example.com:80": answer})
	r.Start([]*Target{target(t, Settings{})})
	return r, r.hosts["hooks.example.com:80"]
}

func target(t *testing.T, s Settings) *Target {
	t.Helper()
	if s.URL == "" {
		s.URL = hookURL
	}
	if s.Secrets == nil {
		s.Secrets = []string{secret}
	}
	s.Place = "portolan.yaml:3:5"
	out, err := NewTarget(s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// happens appends events of kind Down, and waits until nothing more happens at once.
func (r *rig) happens(t *testing.T, why ...string) {
	t.Helper()
	for _, w := range why {
		r.events.append(ledger.Event{Kind: ledger.Down, Why: w})
	}
	synctest.Wait()
}

// logged counts lines with a text.
func (r *rig) logged(text string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Count(r.text.String(), text)
}

// wantStats compares the figures; outcomes not given are 0.
func (r *rig) wantStats(t *testing.T, queued int, want map[Outcome]uint64) {
	t.Helper()
	s := r.Stats()
	for o := range outcomes {
		if s.Deliveries[o] != want[o] {
			t.Errorf("%d %v, want %d", s.Deliveries[o], o, want[o])
		}
	}
	if s.Queued != queued {
		t.Errorf("%d queued, want %d", s.Queued, queued)
	}
}
