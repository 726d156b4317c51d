package server

import (
	"net/netip"
	"sync"
	"time"
)

// connTable knows the open TCP connections and holds the limits on them.
type connTable struct {
	limits Limits

	mu     sync.Mutex // guards what follows
	all    map[*tcpConn]struct{}
	prefix map[netip.Prefix]int
}

func (t *connTable) init(l Limits) {
	t.limits = l
	t.all = make(map[*tcpConn]struct{})
	t.prefix = make(map[netip.Prefix]int)
}

// add takes a connection in, or counts why not.
func (t *connTable) add(c *tcpConn, stats *Stats) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := limitPrefix(c.from.Addr())
	switch {
	case len(t.all) >= t.limits.Connections:
		stats.RefusedFull.Add(1)
		return false
	case t.limits.PerPrefix > 0 && t.prefix[key] >= t.limits.PerPrefix:
		stats.RefusedPrefix.Add(1)
		return false
	}
	t.all[c] = struct{}{}
	t.prefix[key]++
	return true
}

func (t *connTable) remove(c *tcpConn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.all, c)
	key := limitPrefix(c.from.Addr())
	if t.prefix[key]--; t.prefix[key] == 0 {
		delete(t.prefix, key)
	}
}

func (t *connTable) open() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.all)
}

// drain ends the wait of every connection for its next query.
func (t *connTable) drain() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for c := range t.all {
		_ = c.conn.SetReadDeadline(time.Unix(1, 0)) // a deadline in the past wakes the reader
	}
}

// cut closes every connection.
func (t *connTable) cut() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for c := range t.all {
		_ = c.conn.Close()
	}
}

// limitPrefix is the unit that limits count by: what one customer of a network
// usually holds.
func limitPrefix(a netip.Addr) netip.Prefix {
	bits := 48
	if a.Is4() {
		bits = 24
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{} // no address: all such count together
	}
	return p
}
