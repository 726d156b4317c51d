//go:build linux

package main

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// responder is what probes talk to. It listens on every address of 127.0.0.0/8.
//
//	/v2/     200
//	/switch  200, or 503 once it is turned off
//	/flap    200 and 503 in turn, for each address by itself
type responder struct {
	port int
	http *http.Server
	now  func() time.Time

	off    atomic.Bool
	failed atomic.Pointer[time.Time] // when /switch first said 503 since it was turned off
	asked  atomic.Uint64             // requests
	flaps  atomic.Uint64             // answers of /flap, each another than the one before

	mu   sync.Mutex
	well map[string]bool // by address asked: what /flap says next
}

func (r *rig) respond() (*responder, error) {
	l, err := net.Listen("tcp4", "0.0.0.0:0") //nolint:gosec,noctx // the probes go to addresses of 127.0.0.0/8
	if err != nil {
		return nil, err
	}
	a := &responder{port: l.Addr().(*net.TCPAddr).Port, now: r.now, well: map[string]bool{}}
	mux := http.NewServeMux()
	mux.HandleFunc("/v2/", func(http.ResponseWriter, *http.Request) { a.asked.Add(1) })
	mux.HandleFunc("/switch", a.toggle)
	mux.HandleFunc("/flap", a.flap)
	a.http = &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go func() { _ = a.http.Serve(l) }() // ends with close
	return a, nil
}

func (a *responder) close() { _ = a.http.Close() }

func (a *responder) toggle(w http.ResponseWriter, _ *http.Request) {
	a.asked.Add(1)
	if !a.off.Load() {
		return
	}
	now := a.now()
	a.failed.CompareAndSwap(nil, &now)
	w.WriteHeader(http.StatusServiceUnavailable)
}

func (a *responder) flap(w http.ResponseWriter, req *http.Request) {
	a.asked.Add(1)
	a.flaps.Add(1)
	local, _ := req.Context().Value(http.LocalAddrContextKey).(net.Addr)
	a.mu.Lock()
	well := a.well[local.String()]
	a.well[local.String()] = !well
	a.mu.Unlock()
	if !well {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

// turn switches /switch off or on again.
func (a *responder) turn(off bool) {
	a.failed.Store(nil)
	a.off.Store(off)
}

// until waits until ok, and reports whether that came about in time.
func (r *rig) until(ctx context.Context, within time.Duration, ok func() bool) bool {
	for deadline := r.now().Add(within); r.now().Before(deadline) && ctx.Err() == nil; {
		if ok() {
			return true
		}
	}
	return false
}
