package admin

import (
	"net"
	"net/http"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"portolan.dev/cmd/internal/handover"
	"portolan.dev/resolver/server"
)

// A listener that another process has shut down listens again, also below a limit on
// its connections.
func TestMetricsListenerThatWasShutDown(t *testing.T) {
	var s *Server
	for try := 0; s == nil; try++ { // a port by number: another would go with the shutdown
		free, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_ = free.Close()
		if s, err = listen(t, Options{Metrics: free.Addr().String()}); err != nil && try == 10 {
			t.Fatal(err)
		}
	}
	s.Start()
	f, err := server.Descriptor(s.Listeners()[handover.Metrics])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Shutdown(int(f.Fd()), unix.SHUT_RD); err != nil {
		t.Fatal(err)
	}
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		r, err := client.Get("http://" + s.MetricsAddr() + "/metrics")
		if err == nil {
			_ = r.Body.Close()
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}
