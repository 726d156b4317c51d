package admin

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/netutil"

	"portolan.dev/cmd/internal/handover"
)

// Remote is the API for other machines: with TLS and a token, never without.
type Remote struct {
	Listen string // host:port; "" for none
	TLS    *tls.Config
	// Allow reports whether a token lets in, in a time that does not depend on how much
	// of it is right. Safe for concurrent use.
	Allow func(token string) bool
}

// maxRemote bounds the connections from other machines: whoever has no token shall
// not take more of the server.
const maxRemote = 256

// refusalsLogged is how often at most refused tokens are logged.
const refusalsLogged = time.Minute

func (s *Server) listenRemote() (net.Listener, error) {
	r := s.o.Remote
	if r.TLS == nil || r.Allow == nil {
		return nil, fmt.Errorf("%s: without TLS or tokens", r.Listen)
	}
	l, err := s.listen(handover.Remote, r.Listen, listenTCP)
	if err != nil {
		return nil, err
	}
	return around(l, tls.NewListener(netutil.LimitListener(l, maxRemote), r.TLS)), nil
}

// guarded lets requests through that bear a token (RFC 6750, section 2.1), and says
// nothing to others, not even which paths there are.
func (s *Server) guarded(next http.Handler) http.Handler {
	var logged atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if strings.EqualFold(scheme, "Bearer") && s.o.Remote.Allow(strings.TrimSpace(token)) {
			next.ServeHTTP(w, r)
			return
		}
		if last, now := logged.Load(), time.Now().Unix(); now-last >= int64(refusalsLogged/time.Second) && logged.CompareAndSwap(last, now) { //nolint:forbidigo // paces a log line
			s.o.Log.WarnContext(r.Context(), "a request to the admin API without a token that lets in", "from", r.RemoteAddr)
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="portolan"`)
		reply(w, http.StatusUnauthorized, Failure{"no token that lets in: send `Authorization: Bearer TOKEN`, with one of admin.tcp.token_file"})
	})
}

// RemoteAddr returns the address of the listener for other machines; "" for none.
func (s *Server) RemoteAddr() string {
	if s.remote == nil {
		return ""
	}
	return s.remote.Addr().String()
}
