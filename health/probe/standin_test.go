package probe

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"time"
)

// standInEnv makes the test binary the target of the benchmarks instead, so that what
// the target costs is not counted.
const standInEnv = "PORTOLAN_BENCH_STAND_IN"

// serveStandIn answers as a registry over HTTP and HTTPS, says where, and ends with its input.
func serveStandIn() {
	cert, _ := certificate(&testing.B{}, epoch, 100*365*24*time.Hour, "myregistry.example.io")
	handler := status(http.StatusUnauthorized, "WWW-Authenticate", `Bearer realm="https://myregistry.example.io/token",service="x"`)
	for _, config := range []*tls.Config{nil, {Certificates: []tls.Certificate{cert}}} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			panic(err)
		}
		fmt.Fprintln(os.Stdout, l.Addr())
		if config != nil {
			l = tls.NewListener(l, config)
		}
		go func() { _ = http.Serve(l, handler) }()
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
}
