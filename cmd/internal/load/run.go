package load

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Run asks the server as the options say and returns what came of it. It first
// asks one query and fails if that is not answered at all. With ctx done it ends
// early, and returns its error beside a report of what was measured until then.
func Run(ctx context.Context, o *Options) (*Report, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if err := greet(ctx, o); err != nil {
		return nil, err
	}
	threads := make([]*thread, 0, o.Threads)
	defer func() {
		for _, t := range threads {
			t.close()
		}
	}()
	for i := range o.Threads {
		t, err := newThread(o, i)
		if err != nil {
			return nil, err
		}
		threads = append(threads, t)
	}
	if err := runAll(ctx, o, threads); err != nil {
		return nil, err
	}
	r := report(o, threads)
	return r, ctx.Err()
}

// runAll runs the threads, from the same moment on, and returns when all have ended.
func runAll(ctx context.Context, o *Options, threads []*thread) error {
	var wg sync.WaitGroup
	errs := make([]error, len(threads))
	begin := o.Now()
	for i, t := range threads {
		t.begin = begin
		wg.Go(func() {
			// Never unlocked: a thread that is bound to a CPU ends with its goroutine.
			runtime.LockOSThread()
			sharpen()
			if len(o.CPUs) > 0 {
				if errs[i] = pin(o.CPUs[i%len(o.CPUs)]); errs[i] != nil {
					return
				}
			}
			t.run(ctx)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func newThread(o *Options, number int) (*thread, error) {
	t := &thread{
		o: o, mix: o.Mix, rng: rand.NewPCG(o.Seed, uint64(number)),
		window:  o.InFlight / (o.Threads * o.Sockets),
		measure: int64(o.Warmup) + 1,
		end:     int64(o.Warmup+o.Duration) + 1,
	}
	t.each = t.one
	t.dial = func() (link, error) { return newUDPLink(o.Server, o.Timeout) }
	if o.TCP {
		t.dial = func() (link, error) { return newTCPLink(o.Server, o.Timeout) }
	}
	if o.Rate > 0 {
		t.interval = max(int64(o.Threads)*int64(time.Second)<<10/int64(o.Rate), 1)
		t.due = 1<<10 + t.interval*int64(number)/int64(o.Threads) // threads take turns
	}
	for range o.Sockets {
		l, err := t.dial()
		if err != nil {
			t.close()
			return nil, err
		}
		t.lanes = append(t.lanes, lane{link: l, flight: newFlight()})
	}
	t.watch()
	return t, nil
}

// greet asks the first query of the mix, a few times, to tell a server that is not
// there from one that is slow.
func greet(ctx context.Context, o *Options) error {
	const attempts = 3
	q := &o.Mix.queries[0]
	wire := make([]byte, len(q.msg))
	var err error
	for i := range attempts {
		q.write(wire, uint16(i+1), uint32(i), rand.NewPCG(o.Seed, ^uint64(0)))
		m := new(dns.Msg)
		if err = m.Unpack(wire); err != nil {
			return fmt.Errorf("a query that cannot be read back: %w", err)
		}
		c := &dns.Client{Net: "udp", Timeout: o.Timeout}
		if o.TCP {
			c.Net = "tcp"
		}
		if _, _, err = c.ExchangeContext(ctx, m, hostPort(o.Server)); err == nil || ctx.Err() != nil {
			return err
		}
	}
	return fmt.Errorf("no answer from %s: %w: is a server running there?", o.Server, err)
}

func hostPort(a netip.AddrPort) string {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()).String()
}
