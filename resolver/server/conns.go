package server

import (
	"container/list"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// connTable knows the open connections and holds the limits on them. At a limit the
// connection that has been idle longest makes room for the new one: who opens
// connections and does nothing with them gets in nobody's way.
type connTable struct {
	limits Limits
	// told is called with the idle timeout when it changes; it must not block.
	told func(time.Duration)
	idle atomic.Int64 // the idle timeout now, in nanoseconds

	mu     sync.Mutex // guards what follows
	all    *list.List // of *streamConn, the idlest first
	prefix map[netip.Prefix]*list.List
}

func (t *connTable) init(l Limits, told func(time.Duration)) {
	t.limits, t.told = l, told
	t.all = list.New()
	t.prefix = make(map[netip.Prefix]*list.List)
	t.idle.Store(int64(l.Idle))
	if told != nil {
		told(l.Idle)
	}
}

// add takes a connection in, and closes the idlest one if there is no room.
func (t *connTable) add(c *streamConn, stats *Stats) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all.Len() >= t.limits.Connections {
		stats.EvictedFull.Add(1)
		t.evict(t.all)
	}
	c.inAll = t.all.PushBack(c)
	t.adjust()
}

// limit sets how many connections may be open at once, and closes the idlest ones of
// those that are too many.
func (t *connTable) limit(most int, stats *Stats) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.limits.Connections = most
	for t.all.Len() > most {
		stats.EvictedFull.Add(1)
		t.evict(t.all)
	}
	t.adjust()
}

// spare closes the idlest connection, if there is one.
func (t *connTable) spare(stats *Stats) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all.Len() > 0 {
		stats.EvictedFull.Add(1)
		t.evict(t.all)
	}
}

// settle counts a connection for the prefix of its client, once that is known.
func (t *connTable) settle(c *streamConn, stats *Stats) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.inAll == nil { // closed meanwhile
		return
	}
	c.prefix = limitPrefix(c.from.Addr())
	peers := t.prefix[c.prefix]
	if t.limits.PerPrefix > 0 && peers != nil && peers.Len() >= t.limits.PerPrefix {
		stats.EvictedPrefix.Add(1)
		t.evict(peers)
		peers = t.prefix[c.prefix]
	}
	if peers == nil {
		peers = list.New()
		t.prefix[c.prefix] = peers
	}
	c.inPrefix = peers.PushBack(c)
}

// evict closes the idlest connection of a list. Closing what is below TLS does not
// wait for anything.
func (t *connTable) evict(l *list.List) {
	c := l.Front().Value.(*streamConn)
	_ = c.raw.Close()
	t.drop(c)
}

// touch notes that a connection has just done something.
func (t *connTable) touch(c *streamConn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.inAll != nil {
		t.all.MoveToBack(c.inAll)
	}
	if c.inPrefix != nil {
		t.prefix[c.prefix].MoveToBack(c.inPrefix)
	}
}

func (t *connTable) remove(c *streamConn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.drop(c)
}

// drop forgets a connection, unless that is done.
func (t *connTable) drop(c *streamConn) {
	if c.inPrefix != nil {
		peers := t.prefix[c.prefix]
		if peers.Remove(c.inPrefix); peers.Len() == 0 {
			delete(t.prefix, c.prefix)
		}
		c.inPrefix = nil
	}
	if c.inAll != nil {
		t.all.Remove(c.inAll)
		c.inAll = nil
		t.adjust()
	}
}

// adjust sets the idle timeout: what is configured up to half of the connections
// that may be open, and from there less with the room that is left, down to a tenth
// (RFC 7766 section 6.2.3, RFC 9210 section 4.2).
func (t *connTable) adjust() {
	most, open := int64(t.limits.Connections), int64(t.all.Len())
	idle := int64(t.limits.Idle)
	if open > most/2 {
		idle = max(idle/most*(most-open)*2, idle/10)
	}
	if t.idle.Swap(idle) != idle && t.told != nil {
		t.told(time.Duration(idle))
	}
}

func (t *connTable) open() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.all.Len()
}

// each calls f for every connection.
func (t *connTable) each(f func(*streamConn)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for e := t.all.Front(); e != nil; e = e.Next() {
		f(e.Value.(*streamConn))
	}
}

// drain ends the wait of every connection for its next query at that moment. What has
// been received by then is still read.
func (t *connTable) drain(until time.Time) {
	t.each(func(c *streamConn) { _ = c.raw.SetReadDeadline(until) })
}

// cut closes every connection.
func (t *connTable) cut() {
	t.each(func(c *streamConn) { _ = c.raw.Close() })
}

// limitPrefix is the unit that limits count by: what one customer of a network
// usually holds.
func limitPrefix(a netip.Addr) netip.Prefix {
	bits := 48
	if a.Is4() {
		bits = 24
	}
	return netip.PrefixFrom(a, bits).Masked()
}
