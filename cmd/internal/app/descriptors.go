package app

import (
	"fmt"
	"math"
	"runtime"

	"portolan.dev/cmd/internal/admin"
	"portolan.dev/config"
	"portolan.dev/health"
)

// What a process opens apart from all that is counted one by one.
const (
	// ownDescriptors are the streams of the process, the ledger, the files of a reload,
	// the runtime's, deliveries of events, and those that look-ups hold.
	ownDescriptors = 64
	// A probe may try two addresses at once; a program that probes takes pipes and a
	// handle on the process.
	probeDescriptors = 2
	execDescriptors  = 5
	// leastConnections are held however few descriptors there are: some clients know no
	// other way than TCP.
	leastConnections = 16
)

// descriptors is how the descriptors of a process are to be shared out.
type descriptors struct {
	connections int // that server.tcp.connections promises
	reserve     int // for all else: connections that clients hold must not take these
}

// need is the least limit on open files (RLIMIT_NOFILE) that is enough.
func (d descriptors) need() int { return d.connections + d.reserve }

// held is how many connections may be held with a limit.
func (d descriptors) held(limit int) int {
	return min(d.connections, max(limit-d.reserve, leastConnections))
}

// descriptorsOf counts what serving w takes, with so many UDP sockets for each address.
func descriptorsOf(w *World, workers int) descriptors {
	c := w.Config
	// An upgrade opens each socket once more, for the next process.
	sockets := 2 * (len(c.Server.Listen)*(workers+1) + len(c.Server.TLS.Listen))
	operators := admin.Options{Socket: c.Admin.Socket, Metrics: c.Admin.Metrics, Remote: admin.Remote{Listen: c.Admin.TCP.Listen}}
	each := probeDescriptors
	for i := range c.Probes {
		if c.Probes[i].Type == config.ProbeExec {
			each = execDescriptors
		}
	}
	return descriptors{
		connections: c.Server.TCP.Connections,
		reserve:     ownDescriptors + sockets + operators.Descriptors() + each*probesUnderWay(w.Compiled.Endpoints) + len(w.Compiled.Targets),
	}
}

// workersOf is how many UDP sockets each address gets.
func workersOf(c *config.Config) int {
	if c.Server.Workers > 0 {
		return c.Server.Workers
	}
	return runtime.GOMAXPROCS(0)
}

// probesUnderWay bounds the probes that are under way at once. When all targets hang it
// is the sum of timeout/interval over the checks; half of it again covers their jitter.
// No check has two.
func probesUnderWay(endpoints []health.Endpoint) int {
	seen := make(map[string]struct{})
	share := 0.0
	for i := range endpoints {
		for j := range endpoints[i].Checks {
			check := &endpoints[i].Checks[j]
			if _, again := seen[check.Key]; again || check.Interval <= 0 {
				continue
			}
			seen[check.Key] = struct{}{}
			share += min(1, check.Timeout.Seconds()/check.Interval.Seconds())
		}
	}
	return min(int(math.Ceil(1.5*share)), len(seen), health.DefaultConcurrency)
}

// shareDescriptors bounds the connections of clients so that probes and operators always
// have descriptors: better to hold fewer than promised than to be blind because of them.
func (a *App) shareDescriptors(w *World) {
	d := descriptorsOf(w, a.workers)
	limit, known := raiseDescriptors(d.need())
	held := d.connections
	if known {
		held = d.held(limit)
	}
	if held == int(a.connections.Swap(int64(held))) {
		return
	}
	a.server.Limit(held)
	if held < d.connections {
		a.log.Warn("the process may open fewer files than server.tcp.connections takes; fewer connections are held",
			"connections", d.connections, "held", held, "limit", limit, "reserve", d.reserve,
			"next", fmt.Sprintf("raise LimitNOFILE (ulimit -n) to %d, or lower server.tcp.connections", d.need()))
	}
}

// DescriptorWarnings says whether a process like this one may open as many files as
// serving w takes. Another one, as a service manager starts it, may have other limits.
func DescriptorWarnings(w *World) []string {
	d := descriptorsOf(w, workersOf(w.Config))
	if limit, known := descriptorLimit(); known && limit < d.need() {
		return []string{fmt.Sprintf("server.tcp.connections: %d connections, and a reserve of %d for probes and operators, take a limit of %d open files; "+
			"here it is %d, with which a server holds %d connections: see that the server is started with LimitNOFILE=%d (ulimit -n) at least, or lower it",
			d.connections, d.reserve, d.need(), limit, d.held(limit), d.need())}
	}
	return nil
}
