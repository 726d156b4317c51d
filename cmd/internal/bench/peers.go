//go:build linux

package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/miekg/dns"

	"portolan.dev/geo/embedded"
)

// regionsOfPeers are the regions of the registry that every server serves.
func regionsOfPeers() []string { return []string{"westus", "eastus", "westeurope", "southeastasia"} }

// figures are what the rounds gave for one server.
type figures struct {
	perSecond, cpu, user []float64
	cpuAtEase            []float64 // far from the peak
	p50, p99, p999       []float64 // at half of its own peak
	p99AtRival           []float64 // at half of gdnsd's peak
	lost                 uint64
	memory               memory
}

// peers compares Portolan with other servers.
func (r *rig) peers(ctx context.Context) error {
	if err := r.install(ctx, packages()); err != nil {
		return err
	}
	s, closeSite, err := r.newSite()
	if err != nil {
		return err
	}
	defer closeSite()
	servers := servers()
	for i, srv := range servers {
		if err := s.startServer(ctx, srv, fmt.Sprintf("server%d", i)); err != nil {
			return err
		}
	}
	all := make([]figures, len(servers))
	if err := r.peaks(ctx, servers, all); err != nil {
		return err
	}
	if err := r.latencies(ctx, servers, all); err != nil {
		return err
	}
	for i, srv := range servers {
		if all[i].memory, err = srv.process.memory(); err != nil {
			return err
		}
	}
	r.printPeers(servers, all)
	return nil
}

// newSite makes the location database, unless there is one of the same data from
// an earlier run, and listens for the probes.
func (r *rig) newSite() (*site, func(), error) {
	table, err := embedded.Table()
	if err != nil {
		return nil, nil, err
	}
	s := &site{rig: r}
	if s.world, err = newWorld(table, regionsOfPeers()); err != nil {
		return nil, nil, err
	}
	digest := table.Digest()
	if s.database, err = filepath.Abs(filepath.Join(r.cache, "city-"+hex.EncodeToString(digest[:6])+".mmdb")); err != nil {
		return nil, nil, err
	}
	if _, err := os.Stat(s.database); errors.Is(err, fs.ErrNotExist) {
		r.progress("writing %s, once", s.database)
		if err := os.MkdirAll(filepath.Dir(s.database), 0o755); err != nil { //nolint:gosec // servers that give up root must read it
			return nil, nil, err
		}
		if err := s.world.database(s.database); err != nil {
			return nil, nil, err
		}
	}
	l, port, err := listen()
	if err != nil {
		return nil, nil, err
	}
	s.probePort = port
	return s, func() { _ = l.Close() }, nil
}

// listen accepts connections on every address of 127.0.0.0/8, where the replicas
// are, so that their probes succeed.
func listen() (net.Listener, int, error) {
	l, err := net.Listen("tcp4", "0.0.0.0:0") //nolint:gosec,noctx // as above
	if err != nil {
		return nil, 0, err
	}
	go acceptAll(l)
	return l, l.Addr().(*net.TCPAddr).Port, nil
}

// acceptAll accepts connections, and closes them, until l is closed.
func acceptAll(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		_ = c.Close()
	}
}

// startServer starts one server and checks that it answers as it should.
func (s *site) startServer(ctx context.Context, srv *server, dir string) error {
	r := s.rig
	srv.addr = r.port()
	argv, err := srv.command(s, dir, srv.addr)
	if err != nil {
		return fmt.Errorf("%s: %w", srv.name, err)
	}
	if srv.process, err = r.start(ctx, []int{r.serverCPU}, argv[0], argv[1:]...); err != nil {
		return err
	}
	r.progress("%s starts at %s", srv.name, srv.addr)
	if srv.name == "reflector" {
		return r.awaitReflection(ctx, srv)
	}
	if err := r.awaitAnswer(ctx, srv.process, srv.addr, name, patience); err != nil {
		return err
	}
	if !srv.geo {
		return nil
	}
	for prefix, region := range s.world.samples(40) {
		if err := s.checkSample(ctx, srv, prefix, region); err != nil {
			return fmt.Errorf("%s: %w", srv.name, err)
		}
	}
	return nil
}

// awaitReflection waits until the reflector listens: what it sends back is no answer
// that awaitAnswer takes.
func (r *rig) awaitReflection(ctx context.Context, srv *server) error {
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(name), dns.TypeA)
	var err error
	for deadline := r.now().Add(patience); r.now().Before(deadline); {
		if _, _, err = new(dns.Client).ExchangeContext(ctx, m, srv.addr.String()); err == nil || ctx.Err() != nil {
			return err
		}
	}
	return err
}

// checkSample asks for one client and compares the address that is answered.
func (s *site) checkSample(ctx context.Context, srv *server, client netip.Prefix, region string) error {
	a, _, err := new(dns.Client).ExchangeContext(ctx, question(name, client), srv.addr.String())
	if err != nil {
		return fmt.Errorf("for client %s: %w", client, err)
	}
	for i := range s.world.regions {
		if s.world.regions[i].Label != region {
			continue
		}
		for _, rr := range a.Answer {
			if got, ok := rr.(*dns.A); ok && got.A.String() == address(i) {
				return nil
			}
		}
	}
	return fmt.Errorf("client %s should get %s, and gets %v", client, region, a.Answer)
}

// ease is a rate at which queries come one by one, as they do most of the time: what
// it costs to wait for them and to be woken counts most.
const ease = 10_000

// peaks drives every server in turn in a closed loop, and then at ease.
func (r *rig) peaks(ctx context.Context, servers []*server, all []figures) error {
	for round := range r.rounds {
		r.progress("peak, round %d of %d", round+1, r.rounds)
		for i, srv := range servers {
			a := r.closed(srv.addr, "global4")
			// What a server drops must not keep the loop from sending more.
			a.timeout = 200 * time.Millisecond
			m, err := r.measure(ctx, srv.process, &a)
			if err != nil {
				return fmt.Errorf("%s: %w", srv.name, err)
			}
			f := &all[i]
			f.perSecond = append(f.perSecond, m.PerSecond)
			f.cpu = append(f.cpu, m.cpu())
			f.user = append(f.user, m.user)
			f.lost += m.Lost
			a.rate = ease
			if m, err = r.measure(ctx, srv.process, &a); err != nil {
				return fmt.Errorf("%s: %w", srv.name, err)
			}
			f.cpuAtEase = append(f.cpuAtEase, m.cpu())
		}
	}
	return nil
}

// latencies drives every server at half of its own peak, and Portolan and gdnsd at
// half of that of gdnsd.
func (r *rig) latencies(ctx context.Context, servers []*server, all []figures) error {
	rival := 0
	for i, srv := range servers {
		if srv.name == "gdnsd" {
			rival = i
		}
	}
	for round := range r.rounds {
		r.progress("latency, round %d of %d", round+1, r.rounds)
		for i, srv := range servers {
			f := &all[i]
			a := r.closed(srv.addr, "global4")
			a.rate = int(median(f.perSecond) / 2)
			m, err := r.ask(ctx, &a)
			if err != nil {
				return fmt.Errorf("%s: %w", srv.name, err)
			}
			f.p50 = append(f.p50, m.Latency.P50)
			f.p99 = append(f.p99, m.Latency.P99)
			f.p999 = append(f.p999, m.Latency.P999)
			f.lost += m.Lost
			if i != 0 && i != rival {
				continue
			}
			a.rate = int(median(all[rival].perSecond) / 2)
			if m, err = r.ask(ctx, &a); err != nil {
				return fmt.Errorf("%s: %w", srv.name, err)
			}
			f.p99AtRival = append(f.p99AtRival, m.Latency.P99)
		}
	}
	return nil
}

func (r *rig) printPeers(servers []*server, all []figures) {
	t := new(table)
	t.add("server", "does", "answers/s", "CPU/answer", "of it user", "CPU to Portolan's", fmt.Sprintf("CPU/answer at %d/s", ease), "to Portolan's", "p50", "p99", "p99.9", "p99 at half of gdnsd's peak", "RSS", "PSS", "lost")
	for i, srv := range servers {
		f := &all[i]
		rival := ""
		if len(f.p99AtRival) > 0 {
			rival = us(median(f.p99AtRival))
		}
		t.add(srv.name, srv.does, thousands(median(f.perSecond)), us(median(f.cpu)), us(median(f.user)),
			fmt.Sprintf("%.2f", median(ratios(f.cpu, all[0].cpu))),
			us(median(f.cpuAtEase)), fmt.Sprintf("%.2f", median(ratios(f.cpuAtEase, all[0].cpuAtEase))), us(median(f.p50)), us(median(f.p99)), us(median(f.p999)),
			rival, mebibytes(f.memory.rss), mebibytes(f.memory.pss), strconv.FormatUint(f.lost, 10))
	}
	t.print(r.out)
	r.printf("One core each, %d rounds in turn, %s a measurement, medians. Latency at half of a server's own peak.\n", r.rounds, r.duration)
}
