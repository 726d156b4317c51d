package admin

import (
	"context"
	"net"
	"net/http"
	"os/user"
	"strconv"
)

// connKey finds the connection of a request in its context.
type connKey struct{}

func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// by says who asks: what the request says, else the user at the other end of the
// unix socket as the system knows them, or the machine that a token came from, else
// nobody.
func by(r *http.Request, said string) string {
	if said != "" {
		return said
	}
	if r.TLS != nil { // a token says what one may, not who one is
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		return "a token from " + host
	}
	c, ok := r.Context().Value(connKey{}).(*net.UnixConn)
	if !ok {
		return ""
	}
	uid, ok := peerUID(c)
	if !ok {
		return ""
	}
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "uid " + id
}
