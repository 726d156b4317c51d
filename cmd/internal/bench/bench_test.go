//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"math"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"portolan.dev/cmd/internal/app"
	"portolan.dev/geo"
	"portolan.dev/geo/embedded"
	"portolan.dev/resolver/compile"
)

func TestMedian(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		of   []float64
		want float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 3, 2}, 2.5}} {
		if got := median(c.of); got != c.want {
			t.Errorf("median of %v is %g", c.of, got)
		}
	}
	if got := ratios([]float64{2, 9, 4}, []float64{1, 3}); len(got) != 2 || got[1] != 3 {
		t.Errorf("ratios %v", got)
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	tab, out := new(table), new(bytes.Buffer)
	tab.add("server", "µs")
	tab.add("one", "12.5")
	tab.print(out)
	if want := "| server | µs   |\n|--------|------|\n| one    | 12.5 |\n\n"; out.String() != want {
		t.Errorf("printed\n%swant\n%s", out, want)
	}
}

// A result takes the place of the one before, and of nothing else.
func TestInto(t *testing.T) {
	t.Parallel()
	path := t.TempDir() + "/page.md"
	page := "# Page\n\n<!-- bench-cores -->\n<!-- end -->\ntext\n<!-- bench-peers -->\n\nold\n\n<!-- end -->\nrest\n"
	if err := os.WriteFile(path, []byte(page), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][2]string{{"peers", "new"}, {"cores", "cores 1"}, {"peers", "newer"}} {
		r := &rig{out: new(bytes.Buffer)}
		write, err := r.into(path, c[0])
		if err != nil {
			t.Fatal(err)
		}
		r.printf("%s\n", c[1])
		if err := write(); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	want := "# Page\n\n<!-- bench-cores -->\n\ncores 1\n\n<!-- end -->\ntext\n<!-- bench-peers -->\n\nnewer\n\n<!-- end -->\nrest\n"
	if err != nil || string(got) != want {
		t.Errorf("the page is\n%s (%v)", got, err)
	}
	if _, err := new(rig).into(path, "flip"); err == nil {
		t.Error("a page without a place for it is no error")
	}
}

// What servers are checked with is what the embedded table says: the region that is
// nearest to the place of the client.
func TestSamples(t *testing.T) {
	t.Parallel()
	table, err := embedded.Table()
	if err != nil {
		t.Fatal(err)
	}
	w, err := newWorld(table, regionsOfPeers())
	if err != nil {
		t.Fatal(err)
	}
	for client, region := range w.samples(200) {
		id, _ := table.Cell(client.Addr())
		nearest, best := "", math.Inf(1)
		for _, name := range regionsOfPeers() {
			r, err := geo.WellKnown(name)
			if err != nil {
				t.Fatal(err)
			}
			if km := r.Kilometres(table.Cells()[id].Point); km < best {
				nearest, best = name, km
			}
		}
		if region != nearest {
			t.Errorf("%s: %s, want %s", client, region, nearest)
		}
	}
}

// The configurations that are generated are sound.
func TestConfigurations(t *testing.T) {
	t.Parallel()
	r := &rig{dir: t.TempDir(), now: time.Now}
	addr := netip.MustParseAddrPort("127.0.0.1:15300")
	many, err := r.many("many", addr, 40, 60, 15399, false)
	if err != nil {
		t.Fatal(err)
	}
	all, err := r.many("all", addr, 40, 60, 15399, true)
	if err != nil {
		t.Fatal(err)
	}
	flips, err := r.behindOne("flips", addr, 30, 15399)
	if err != nil {
		t.Fatal(err)
	}
	for dir, c := range map[string]struct {
		text       string
		registries int
		endpoints  int
	}{
		"one": {r.one(addr, 2, 15399), 1, 4}, "many": {many, 40, 47}, "all": {all, 40, 47}, "flips": {flips, 30, 2},
		"probed": {r.probed(addr, 40, 10*time.Second, 15399), 11, 40}, "flappy": {r.flappy(addr, 15399), 1, flapping},
	} {
		path, err := r.write(dir+"/portolan.yaml", c.text)
		if err != nil {
			t.Fatal(err)
		}
		w, err := app.Source{Path: path, Now: time.Now}.Build(nil, compile.NewSlots())
		if err != nil {
			t.Errorf("%s: %v", dir, err)
			continue
		}
		if got := len(w.Compiled.Snapshot.Registries); got != c.registries || len(w.Compiled.Endpoints) != c.endpoints {
			t.Errorf("%s: %d registries and %d endpoints, want %d and %d", dir, got, len(w.Compiled.Endpoints), c.registries, c.endpoints)
		}
	}
}

// What a process and its children use is counted, and stop leaves none of them.
func TestProcess(t *testing.T) {
	for _, program := range []string{"taskset", "sh"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
	r := &rig{dir: t.TempDir(), now: time.Now}
	p, err := r.start(t.Context(), []int{0}, "sh", "-c", "(while :; do :; done) & trap '' TERM; while :; do sleep 0.1; done")
	if err != nil {
		t.Fatal(err)
	}
	if !r.until(t.Context(), 20*time.Second, func() bool {
		u, err := p.usage()
		return err == nil && u.total() >= 50*time.Millisecond
	}) {
		t.Error("a busy child is not counted")
	}
	m, err := p.memory()
	if err != nil || m.pss <= 0 || m.rss < m.pss {
		t.Errorf("memory %+v, %v", m, err)
	}
	p.stop()
	if !r.until(t.Context(), 20*time.Second, func() bool { return errors.Is(syscall.Kill(-p.cmd.Process.Pid, 0), syscall.ESRCH) }) {
		t.Error("the child lives on")
	}
	if _, err := p.usage(); err == nil {
		t.Error("a process that has ended has used something")
	}
}

// The reflector and the handler answer, which the load's greeting relies on.
func TestBaselines(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := &rig{dir: t.TempDir(), now: time.Now}
	for _, serve := range []func(context.Context, netip.AddrPort) error{
		serveReflector,
		func(ctx context.Context, a netip.AddrPort) error { return serveHandler(ctx, a.String()) },
	} {
		conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		addr := conn.LocalAddr().(*net.UDPAddr).AddrPort()
		conn.Close()
		go func() { _ = serve(ctx, addr) }()
		if err := r.awaitReflection(ctx, &server{addr: addr}); err != nil {
			t.Error(err)
		}
	}
}

// The responder fails when it is told to, and flaps for each address by itself.
func TestResponder(t *testing.T) {
	r := &rig{now: time.Now}
	a, err := r.respond()
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	get := func(host, path string) int {
		conn, err := net.Dial("tcp4", net.JoinHostPort(host, portText(a.port)))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("GET " + path + " HTTP/1.0\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 64)
		n, _ := conn.Read(buf)
		if strings.Contains(string(buf[:n]), " 200 ") {
			return 200
		}
		return 503
	}
	got := []int{
		get("127.0.0.1", "/switch"), get("127.0.0.1", "/flap"), get("127.0.0.1", "/flap"), get("127.0.0.2", "/flap"), get("127.0.0.1", "/v2/"),
	}
	a.turn(true)
	if got = append(got, get("127.0.0.1", "/switch")); a.failed.Load() == nil {
		t.Error("the failure has no time")
	}
	want := []int{200, 503, 200, 503, 200, 503}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("answers %v, want %v", got, want)
		}
	}
}

func portText(port int) string {
	return strings.TrimPrefix(netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(port)).String(), "0.0.0.0:")
}
