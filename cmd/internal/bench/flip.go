//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
	"github.com/spf13/cobra"
)

// watched is how many of the registries are asked for to see that all have changed.
const watched = 500

func (r *rig) flip() *cobra.Command {
	sizes := []int{1, 100_000}
	cmd := r.command("flip", "Measure one verdict that concerns every registry", func(r *rig, ctx context.Context) error {
		return r.flips(ctx, sizes)
	})
	cmd.Flags().IntSliceVar(&sizes, "registries", sizes, "how many registries have a replica behind the same target")
	return cmd
}

// flips measures from the failing answer to a probe to changed answers. What does
// not depend on the number of registries is mostly making the verdict durable.
func (r *rig) flips(ctx context.Context, sizes []int) error {
	a, err := r.respond()
	if err != nil {
		return err
	}
	defer a.close()
	t := new(table)
	t.add("registries", "first changed answer after", fmt.Sprintf("all of %d answers", watched), "of it asking", "RSS", "PSS")
	for _, n := range sizes {
		if err := r.flipOf(ctx, t, a, n); err != nil {
			return err
		}
	}
	t.print(r.out)
	r.printf("From the failing answer to the probe, `fall: 1`; %d rounds, medians. The server has both CPUs, which whoever asks needs little of.\n", r.rounds)
	return nil
}

// flipOf adds a row for so many registries.
func (r *rig) flipOf(ctx context.Context, t *table, a *responder, registries int) error {
	addr, dir := r.port(), fmt.Sprintf("flip%d", registries)
	config, err := r.behindOne(dir, addr, registries, a.port)
	if err != nil {
		return err
	}
	r.progress("%d registries", registries)
	a.turn(false)
	p, err := r.serve(ctx, []int{r.serverCPU, r.loadCPU}, addr, dir, config)
	if err != nil {
		return err
	}
	defer p.stop()
	w, err := newWatch(addr, registries)
	if err != nil {
		return err
	}
	defer w.close()
	var first, all, asking []float64
	for range r.rounds {
		f, err := r.flipOnce(ctx, a, w)
		if err != nil {
			return fmt.Errorf("%w: %s", err, p.log.String())
		}
		first, all, asking = append(first, f[0]), append(all, f[1]), append(asking, f[2])
	}
	m, err := p.memory()
	if err != nil {
		return err
	}
	t.add(strconv.Itoa(registries), us(median(first)), us(median(all)), us(median(asking)), mebibytes(m.rss), mebibytes(m.pss))
	return nil
}

// flipOnce turns the target off once everybody answers it. It returns the
// microseconds to the first changed answer and to the last, and what it takes to ask
// for all when nothing changes.
func (r *rig) flipOnce(ctx context.Context, a *responder, w *watch) (f [3]float64, err error) {
	a.turn(false)
	if !r.until(ctx, patience, func() bool { return w.answered(address(0)) == watched }) {
		return f, errors.New("not every registry answers its first replica")
	}
	begin := r.now()
	w.answered(address(0))
	f[2] = float64(r.now().Sub(begin).Microseconds())
	a.turn(true)
	if !r.until(ctx, patience, func() bool { return w.one(address(1)) }) {
		return f, errors.New("no answer has changed")
	}
	at := r.now()
	if !r.until(ctx, patience, func() bool { return w.answered(address(1)) == watched }) {
		return f, errors.New("not every answer has changed")
	}
	failed := *a.failed.Load()
	f[0] = float64(at.Sub(failed).Microseconds())
	f[1] = float64(r.now().Sub(failed).Microseconds())
	return f, nil
}

// behindOne writes registries with two replicas, the first of all of them behind one
// target that can fail.
func (r *rig) behindOne(dir string, addr netip.AddrPort, registries, port int) (string, error) {
	for first := 0; first < registries; first += perFile {
		var b strings.Builder
		b.WriteString("registries:\n")
		for i := first; i < min(first+perFile, registries); i++ {
			fmt.Fprintf(&b, "  %s:\n    sticky: off\n    recovery_hold: 0s\n    replicas:\n", registryName(i))
			fmt.Fprintf(&b, "      westus: {addresses: [%s], probe: switch, probe_target: \"127.2.0.1:%d\"}\n", address(0), port)
			fmt.Fprintf(&b, "      eastus: {addresses: [%s], probe: well, probe_target: \"127.2.0.2:%d\"}\n", address(1), port)
		}
		if _, err := r.write(fmt.Sprintf("%s/registries.d/%06d.yaml", dir, first), b.String()); err != nil {
			return "", err
		}
	}
	return r.head(addr, 1) + `
include: ["registries.d/*.yaml"]
geo: {default_region: westus, networks: {127.0.0.0/8: westus}}
probes:
  switch: {type: http, path: /switch, host: probe.example.io, interval: 100ms, fall: 1, rise: 1}
  well: {type: http, path: /v2/, host: probe.example.io, interval: 1s}
`, nil
}

// watch asks for some of the registries, one after the other.
type watch struct {
	conn    *dns.Conn
	queries []*dns.Msg
	next    int
}

func newWatch(addr netip.AddrPort, registries int) (*watch, error) {
	conn, err := new(dns.Client).Dial(addr.String())
	if err != nil {
		return nil, err
	}
	w := &watch{conn: conn}
	for i := range watched {
		m := new(dns.Msg)
		m.SetQuestion(registryName(i*registries/watched)+".example.io.", dns.TypeA)
		w.queries = append(w.queries, m)
	}
	return w, nil
}

func (w *watch) close() { _ = w.conn.Close() }

// one asks for the next registry and reports whether the answer is the address.
func (w *watch) one(want string) bool {
	w.next = (w.next + 1) % len(w.queries)
	_ = w.conn.SetDeadline(time.Now().Add(time.Second)) //nolint:forbidigo // deadlines of sockets are in real time
	if w.conn.WriteMsg(w.queries[w.next]) != nil {
		return false
	}
	a, err := w.conn.ReadMsg()
	if err != nil || len(a.Answer) == 0 {
		return false
	}
	got, ok := a.Answer[len(a.Answer)-1].(*dns.A)
	return ok && got.A.String() == want
}

// answered asks for all and returns how many answer the address.
func (w *watch) answered(want string) (n int) {
	for range w.queries {
		if w.one(want) {
			n++
		}
	}
	return n
}
