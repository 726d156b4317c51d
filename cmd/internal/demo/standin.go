package demo

import (
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// standIn is as much of a registry as a probe looks at: GET /v2/ answers 200, or
// 503 while it is broken.
type standIn struct {
	broken atomic.Bool
	addr   string
	server *http.Server
}

func newStandIn() (*standIn, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // at start, nothing to cancel
	if err != nil {
		return nil, err
	}
	s := &standIn{addr: l.Addr().String()}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v2/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
		if s.broken.Load() {
			http.Error(w, "broken for the demonstration", http.StatusServiceUnavailable)
		}
	})
	s.server = &http.Server{Handler: mux, ReadHeaderTimeout: time.Second}
	go func() { _ = s.server.Serve(l) }() // ends when the server is closed
	return s, nil
}
