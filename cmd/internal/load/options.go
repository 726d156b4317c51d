package load

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Bounds of the options.
const (
	maxThreads  = 256
	maxSockets  = 1024
	maxInFlight = 1 << 16 // of one socket: as many as there are message IDs
	maxRate     = 100_000_000
)

// Options say what is asked of whom, and how hard.
type Options struct {
	// Server is the address and port to ask.
	Server netip.AddrPort
	// TCP asks over pipelined TCP connections, else UDP is used.
	TCP bool
	// Mix is what is asked.
	Mix *Mix
	// Rate is queries a second in all; 0 is a closed loop: as many as come back.
	Rate int
	// InFlight bounds the unanswered queries of all sockets together. In a closed
	// loop it is the load.
	InFlight int
	// Duration is how long is measured; Warmup comes before it and is not counted.
	Duration, Warmup time.Duration
	// Timeout is after how long a query without an answer is lost.
	Timeout time.Duration
	// Threads send and receive, each with Sockets sockets of its own.
	Threads, Sockets int
	// PerConnection is how many queries are asked on one TCP connection before
	// another takes its place.
	PerConnection int
	// CPUs pins thread i to CPUs[i mod len]; none leaves them to the scheduler.
	CPUs []int
	// Spin never sleeps while waiting for answers or for the next query to be due.
	// It takes a core for itself and spares the server the cost of waking one.
	Spin bool
	// Own says that the server is the caller's, wherever it is.
	Own bool
	// Seed makes the queries the same from run to run.
	Seed uint64
	// Now is the clock.
	Now func() time.Time
}

// Defaults are the options that Run would otherwise not accept as zero.
func Defaults() Options {
	return Options{
		InFlight: 256, Duration: 10 * time.Second, Warmup: 500 * time.Millisecond, Timeout: 2 * time.Second,
		Threads: 1, Sockets: 1, PerConnection: 5000, Seed: 1,
	}
}

// check says what is wrong with the options, all at once.
func (o *Options) check() error {
	var errs []error
	bad := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	bad(!o.Server.IsValid() || o.Server.Port() == 0, "no server to ask: name its address and port, such as 127.0.0.1:53")
	bad(o.Mix == nil || len(o.Mix.queries) == 0, "nothing to ask: the mix is empty")
	bad(o.Rate < 0 || o.Rate > maxRate, "rate %d: give 0 for a closed loop, or up to %d queries a second", o.Rate, maxRate)
	bad(o.Threads < 1 || o.Threads > maxThreads, "%d threads: give 1 to %d", o.Threads, maxThreads)
	bad(o.Sockets < 1 || o.Sockets > maxSockets, "%d sockets a thread: give 1 to %d", o.Sockets, maxSockets)
	sockets := max(o.Threads*o.Sockets, 1)
	bad(o.InFlight < sockets || o.InFlight/sockets > maxInFlight,
		"%d queries in flight over %d sockets: give at least one and at most %d for each", o.InFlight, sockets, maxInFlight)
	bad(o.Duration <= 0, "duration %s: give more than 0", o.Duration)
	bad(o.Warmup < 0, "warm-up %s: give 0 or more", o.Warmup)
	bad(o.Timeout <= 0, "timeout %s: give more than 0", o.Timeout)
	bad(o.PerConnection < 1, "%d queries a connection: give 1 or more", o.PerConnection)
	bad(o.Now == nil, "no clock")
	for _, cpu := range o.CPUs {
		bad(cpu < 0, "CPU %d: they count from 0", cpu)
	}
	if len(errs) == 0 && !o.Own && !near(o.Server.Addr()) {
		errs = append(errs, &NotOwnError{o.Server})
	}
	return errors.Join(errs...)
}

// NotOwnError refuses a server that may be somebody else's.
type NotOwnError struct{ Server netip.AddrPort }

func (e *NotOwnError) Error() string {
	return fmt.Sprintf("%s is neither a loopback nor a private address: load sent to somebody else's server is an attack", e.Server)
}

// near reports whether an address cannot be that of a stranger on the Internet.
func near(a netip.Addr) bool {
	a = a.Unmap()
	return a.IsLoopback() || a.IsPrivate() || a.IsLinkLocalUnicast()
}
