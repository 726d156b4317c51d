package demo

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"portolan.dev/cmd/internal/app"
)

func options() app.Options {
	return app.Options{Source: app.Source{Now: time.Now}, Log: slog.New(slog.DiscardHandler)}
}

func start(t *testing.T) *Demo {
	t.Helper()
	d, err := Start("127.0.0.1:0", "127.0.0.1:0", options())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	d.App().Start()
	return d
}

// ask returns the addresses that the global name has for a client in Toronto.
func ask(t *testing.T, d *Demo) string {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion("myregistry.example.io.", dns.TypeA)
	m.SetEdns0(1232, false)
	m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_SUBNET{
		Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 24, Address: net.IPv4(128, 100, 0, 0).To4(),
	})
	client := dns.Client{Timeout: 5 * time.Second}
	in, _, err := client.ExchangeContext(t.Context(), m, d.App().Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, rr := range in.Answer {
		if a, ok := rr.(*dns.A); ok {
			out = append(out, a.A.String())
		}
	}
	return strings.Join(out, " ")
}

// A replica that is broken is left, and the words for it are those of the guide.
func TestBreak(t *testing.T) {
	d := start(t)
	if got := ask(t, d); got != "192.0.2.30" {
		t.Fatalf("Toronto gets %s", got)
	}
	said, err := Tell(t.Context(), d.ControlAddr(), "break", "canadacentral")
	if err != nil || said != "canadacentral: answers 503 from now on" {
		t.Errorf("%q, %v", said, err)
	}
	for deadline := time.Now().Add(20 * time.Second); ask(t, d) != "192.0.2.20"; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("Toronto does not move")
		}
	}
	if said, err := Tell(t.Context(), d.ControlAddr(), "mend", "canadacentral"); err != nil || said != "canadacentral: answers 200 again" {
		t.Errorf("%q, %v", said, err)
	}
	for _, tt := range [][2]string{{"break", "nowhere"}, {"bless", "westus"}} {
		if _, err := Tell(t.Context(), d.ControlAddr(), tt[0], tt[1]); err == nil || !strings.Contains(err.Error(), "break or mend one of westus, eastus") {
			t.Errorf("%v: %v", tt, err)
		}
	}
}

// The guide names what is there: the address, a configuration that can be read,
// the socket.
func TestGuide(t *testing.T) {
	d := start(t)
	var text bytes.Buffer
	if err := d.Guide(&text); err != nil {
		t.Fatal(err)
	}
	addr := d.App().Addrs()[0]
	for _, want := range []string{
		"at " + addr.String(), "dig @127.0.0.1 -p ", d.App().MetricsAddr(), filepath.Join(d.dir, "contoso.yaml"), filepath.Join(d.dir, "admin.sock"),
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the guide does not name %s:\n%s", want, text.String())
		}
	}
	if strings.Contains(text.String(), "{{") {
		t.Errorf("the guide has a gap:\n%s", text.String())
	}
	if _, err := (app.Source{Path: filepath.Join(d.dir, "contoso.yaml"), Now: time.Now}).LoadConfig(); err != nil {
		t.Error(err)
	}
}

// A demo that cannot start says why, and leaves no folder behind.
func TestFailedStart(t *testing.T) {
	d := start(t)
	t.Setenv("TMPDIR", t.TempDir())
	for _, tt := range []struct{ listen, control, says string }{
		{"nonsense", "127.0.0.1:0", "write it like 127.0.0.1:8053"},
		{d.App().Addrs()[0].String(), "127.0.0.1:0", d.App().Addrs()[0].String()},
		{"127.0.0.1:0", d.ControlAddr(), "is another demo running?"},
	} {
		if _, err := Start(tt.listen, tt.control, options()); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s, %s: %v", tt.listen, tt.control, err)
		}
		if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
			t.Errorf("%s, %s: left behind: %v, %v", tt.listen, tt.control, left, err)
		}
	}
}

// What was made is gone after Stop.
func TestStop(t *testing.T) {
	d, err := Start("127.0.0.1:0", "127.0.0.1:0", options())
	if err != nil {
		t.Fatal(err)
	}
	dir, control := d.dir, d.ControlAddr()
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s: %v", dir, err)
	}
	if _, err := Tell(t.Context(), control, "break", "westus"); err == nil || !strings.Contains(err.Error(), "is a demo running?") {
		t.Errorf("after the end: %v", err)
	}
}
