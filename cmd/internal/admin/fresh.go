package admin

import (
	"net"
	"net/http"
	"sync"
)

// fresh are the connections that have sent nothing yet. http.Server.Shutdown waits
// five seconds for each of them, longer than a server is given to stop; whoever
// has asked nothing is owed nothing.
type fresh struct {
	mu    sync.Mutex // guards what follows
	conns map[net.Conn]struct{}
	ended bool
}

// changed is an http.Server.ConnState.
func (f *fresh) changed(c net.Conn, st http.ConnState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case st != http.StateNew:
		delete(f.conns, c)
	case f.ended:
		_ = c.Close()
	default:
		f.conns[c] = struct{}{}
	}
}

// end closes them, and those that come later at once.
func (f *fresh) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	for c := range f.conns {
		_ = c.Close()
	}
}
