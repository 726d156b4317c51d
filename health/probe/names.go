package probe

import (
	"context"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"portolan.dev/health"
)

const (
	// goodFor is how long the addresses of a name are dialed after the last look-up that
	// succeeded. Those of load balancers change within days: much later a failure could
	// be that of an address which has long been another's.
	goodFor = time.Hour
	// maxNames and maxDialed bound what is kept: names, and addresses of each.
	maxNames  = 16384
	maxDialed = 8
)

// Names looks up host names and remembers what they last led to, so that targets are
// probed on while the resolver of this machine is in trouble. Probers share one, and it
// outlives them. It is safe for concurrent use.
type Names struct {
	now func() time.Time
	ask func(ctx context.Context, host string) ([]netip.Addr, error)

	mu      sync.Mutex
	hosts   map[string]known
	learned func() // told when the addresses of a name are others than before; nil for nobody
}

// OnLearn has f told, from many goroutines, when a look-up gives other addresses than the
// one before. Call it before the Names are used. f must not wait for anything.
func (n *Names) OnLearn(f func()) { n.learned = f }

// Recall gives Names that have just been made what a host led to when an earlier process
// last looked it up, at a moment of their clock.
func (n *Names) Recall(host string, addrs []netip.Addr, at time.Time) {
	if now := n.now(); at.After(now) {
		at = now
	}
	if len(addrs) > 0 {
		n.keep(host, known{addrs: dialable(addrs), at: at})
	}
}

// Each calls f for every host with the addresses that it led to when it was last looked
// up, and when that was.
func (n *Names) Each(f func(host string, addrs []netip.Addr, at time.Time)) {
	n.mu.Lock()
	hosts := maps.Clone(n.hosts)
	n.mu.Unlock()
	for host, k := range hosts {
		f(host, k.addrs, k.at)
	}
}

// known is what is known of a name.
type known struct {
	addrs   []netip.Addr
	at      time.Time // when a look-up last succeeded; zero without a clock
	failing bool      // the look-up after that did not
}

// NewNames returns Names that ask the resolver of the system. now reads the clock; with
// nil, addresses stay good as long as the Names are kept.
func NewNames(now func() time.Time) *Names {
	if now == nil {
		now = func() time.Time { return time.Time{} }
	}
	return &Names{now: now, ask: askSystem, hosts: make(map[string]known)}
}

// askSystem asks the resolver of the system, which reads its configuration again when
// that has changed. Where there is a search list, the error is that of the name as it
// stands.
func askSystem(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// lookUp returns the addresses of a host, at least one. While the resolver fails these
// are the last good ones, and the notes of ctx say so.
func (n *Names) lookUp(ctx context.Context, host string) ([]netip.Addr, error) {
	n.mu.Lock()
	k, now := n.hosts[host], n.now()
	n.mu.Unlock()
	if now.Sub(k.at) > goodFor {
		k = known{}
	}
	askCtx, cancel := withShare(ctx, k)
	defer cancel()
	addrs, err := n.ask(askCtx, host)
	if err == nil && len(addrs) == 0 {
		err = &net.DNSError{Err: "no addresses", Name: host, IsNotFound: true}
	}
	if err == nil {
		before := k.addrs
		k = known{addrs: dialable(addrs), at: now}
		n.keep(host, k)
		if n.learned != nil && !slices.Equal(before, k.addrs) {
			n.learned()
		}
		return k.addrs, nil
	}
	if noSuchName(err) || len(k.addrs) == 0 || ctx.Err() != nil {
		return nil, err
	}
	k.failing = true
	n.keep(host, k)
	note := "at the last known addresses, for the look-up of " + host + " fails here: " + reason(err)
	if age := now.Sub(k.at).Round(time.Second); !k.at.IsZero() {
		note = "at the addresses of " + age.String() + " ago, for the look-up of " + host + " fails here: " + reason(err)
	}
	addNote(ctx, note)
	return k.addrs, nil
}

// withShare leaves a look-up only a part of the time that a probe has if there is
// something to go on with: half, and an eighth once the resolver is known to fail.
func withShare(ctx context.Context, k known) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok || len(k.addrs) == 0 {
		return context.WithCancel(ctx)
	}
	part := time.Duration(2)
	if k.failing {
		part = 8
	}
	// Deadlines of contexts go by the clock of the system.
	return context.WithTimeout(ctx, time.Until(deadline)/part)
}

// keep remembers what is known of a host. When there are too many another one goes.
func (n *Names) keep(host string, k known) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, ok := n.hosts[host]; !ok && len(n.hosts) >= maxNames {
		for other := range n.hosts {
			delete(n.hosts, other)
			break
		}
	}
	n.hosts[host] = k
}

// dialable returns the first addresses in the order in which to try them: that of the
// resolver (RFC 6724), but the families in turn (RFC 8305 section 4).
func dialable(addrs []netip.Addr) []netip.Addr {
	var of [2][]netip.Addr
	for _, a := range addrs {
		a = a.Unmap()
		family := 0
		if a.Is4() != addrs[0].Unmap().Is4() {
			family = 1
		}
		of[family] = append(of[family], a)
	}
	var out []netip.Addr
	for i := range max(len(of[0]), len(of[1])) {
		for family := range of {
			if i < len(of[family]) && len(out) < maxDialed {
				out = append(out, of[family][i])
			}
		}
	}
	return slices.Clip(out)
}

// notes is what is to be known of a probe beside its result.
type notes struct {
	mu   sync.Mutex
	text string
}

type notesKey struct{}

// addNote gives the probe that ctx is of its note, unless it has one: a probe of many
// steps looks up the same name for each.
func addNote(ctx context.Context, text string) {
	n, ok := ctx.Value(notesKey{}).(*notes)
	if !ok {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.text == "" {
		n.text = ", " + text
	}
}

// noting adds notes to the details of a prober.
type noting struct{ health.Prober }

// Probe implements [health.Prober].
func (p noting) Probe(ctx context.Context) health.Result {
	var n notes
	r := p.Prober.Probe(context.WithValue(ctx, notesKey{}, &n))
	n.mu.Lock()
	defer n.mu.Unlock()
	r.Detail = clean(r.Detail + n.text)
	return r
}
