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
// unix socket as the system knows them, else nobody.
func by(r *http.Request, said string) string {
	if said != "" {
		return said
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
