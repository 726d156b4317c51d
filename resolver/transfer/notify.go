package transfer

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"portolan.dev/resolver/wire"
)

// NotifyOptions configure a Notifier.
type NotifyOptions struct {
	// Now is the clock of pauses, Wall the one that secondaries check signatures by.
	Now, Wall func() time.Time
	// Every is how often serials are compared with what secondaries have been told:
	// changes that come together are told together.
	Every time.Duration
	// Wait bounds one try, and is the pause before the second; each further pause is
	// twice the one before, up to a minute (RFC 1996 section 3.6).
	Wait time.Duration
	// Tries bounds how often a secondary is told of one serial.
	Tries int
	// Log is told of secondaries that do not want to hear or cannot be reached. Calls
	// do not overlap.
	Log func(zone string, to netip.AddrPort, err error)
}

// maxPause bounds the pause between two tries.
const maxPause = time.Minute

// Notifier tells secondaries when the serial of a zone has changed. Make one with
// [NewNotifier].
type Notifier struct {
	o   NotifyOptions
	set atomic.Pointer[Set]

	told map[target]*told // used by Run alone
	done chan outcome

	acknowledged, refused, unanswered atomic.Uint64
	behind                            atomic.Int64
}

// NotifyStats are what a [Notifier] has counted.
type NotifyStats struct {
	// Acknowledged, Refused and Unanswered count messages sent, by how the secondary
	// took them.
	Acknowledged, Refused, Unanswered uint64
	// Behind is how many secondaries of zones have not acknowledged the serial that is
	// served, and will not be told of it again.
	Behind int
}

// Stats returns what has been counted. Safe for concurrent use.
func (n *Notifier) Stats() NotifyStats {
	return NotifyStats{n.acknowledged.Load(), n.refused.Load(), n.unanswered.Load(), int(n.behind.Load())}
}

// target is a secondary of a zone.
type target struct {
	zone string
	to   netip.AddrPort
}

// told is what a secondary has been told.
type told struct {
	serial uint32
	known  bool // it has acknowledged serial, or is not to be told again
	behind bool // is not to be told again, and has not acknowledged
	named  bool // by the zones of the last look
	tries  int
	next   time.Time
	busy   bool
}

// outcome is the end of one try.
type outcome struct {
	target
	serial uint32
	err    error
	final  bool // it answered, and trying again would not help
}

// NewNotifier returns a Notifier that tells nobody until [Notifier.Set].
func NewNotifier(o NotifyOptions) *Notifier {
	return &Notifier{o: o, told: make(map[target]*told), done: make(chan outcome)}
}

// Set replaces the zones; nil for none. Safe for concurrent use.
func (n *Notifier) Set(s *Set) { n.set.Store(s) }

// Run tells secondaries until ctx ends. Call it once.
func (n *Notifier) Run(ctx context.Context) {
	tick := time.NewTicker(n.o.Every)
	defer tick.Stop()
	busy := 0
	for {
		select {
		case <-ctx.Done():
			for ; busy > 0; busy-- { // tries end with ctx
				<-n.done
			}
			return
		case o := <-n.done:
			busy--
			n.end(o)
		case <-tick.C:
			busy += n.look(ctx)
		}
	}
}

// look begins a try for each secondary that has to be told now, and returns how many.
func (n *Notifier) look(ctx context.Context) (begun int) {
	var zones map[string]*Zone
	if s := n.set.Load(); s != nil {
		zones = s.zones
	}
	now := n.o.Now()
	defer n.forget()
	for _, z := range zones {
		for _, to := range z.Notify {
			key := target{z.Name, to}
			t := n.told[key]
			if t == nil {
				t = &told{}
				n.told[key] = t
			}
			t.named = true
			serial := z.Serial()
			if t.serial != serial {
				t.serial, t.known, t.behind, t.tries, t.next = serial, false, false, 0, now
			}
			if t.known || t.busy || now.Before(t.next) {
				continue
			}
			t.busy = true
			begun++
			go n.try(ctx, z, key, serial) // ends with ctx or after Wait; Run waits for it
		}
	}
	return begun
}

// forget drops the secondaries that the last look did not find any more, and counts
// those that are behind.
func (n *Notifier) forget() {
	behind := int64(0)
	for key, t := range n.told {
		if !t.named && !t.busy {
			delete(n.told, key)
			continue
		}
		if t.named = false; t.behind {
			behind++
		}
	}
	n.behind.Store(behind)
}

// end takes in how a try has ended.
func (n *Notifier) end(o outcome) {
	t := n.told[o.target]
	t.busy = false
	switch {
	case o.err == nil:
		n.acknowledged.Add(1)
	case o.final:
		n.refused.Add(1)
	default:
		n.unanswered.Add(1)
	}
	if o.err != nil {
		n.o.Log(o.zone, o.to, o.err)
	}
	if t.serial != o.serial {
		return
	}
	t.tries++
	if o.err == nil || o.final || t.tries >= n.o.Tries {
		t.known, t.behind = true, o.err != nil
		return
	}
	pause := min(n.o.Wait<<min(t.tries-1, 16), maxPause)
	t.next = n.o.Now().Add(pause)
}

// try sends one NOTIFY and waits for its response.
func (n *Notifier) try(ctx context.Context, z *Zone, to target, serial uint32) {
	ctx, cancel := context.WithTimeout(ctx, n.o.Wait)
	defer cancel()
	o := outcome{target: to, serial: serial}
	o.final, o.err = exchange(ctx, to.to, z.notify(uint16(rand.Uint32()), n.o.Wall().Unix())) //nolint:gosec // an ID, checked with the address
	n.done <- o
}

// notify is the message that tells of a change: the question is the zone's SOA record
// (RFC 1996 section 3.7). It holds no record, so that nothing in it can be believed.
func (z *Zone) notify(id uint16, now int64) []byte {
	msg := make([]byte, 0, wire.HeaderLen+len(z.Apex)+4)
	for _, v := range []uint16{id, dns.OpcodeNotify<<11 | wire.FlagAA, 1, 0, 0, 0} {
		msg = binary.BigEndian.AppendUint16(msg, v)
	}
	msg = append(msg, z.Apex...)
	msg = binary.BigEndian.AppendUint16(msg, dns.TypeSOA)
	msg = binary.BigEndian.AppendUint16(msg, dns.ClassINET)
	if z.Key == nil {
		return msg
	}
	signed, _, err := z.Key.sign(msg, "", false, now)
	if err != nil {
		return msg // not reached: the key has been checked
	}
	return signed
}

// exchange sends a message over UDP and waits for the response. final says that the
// other side has answered, for good or ill.
func exchange(ctx context.Context, to netip.AddrPort, msg []byte) (final bool, err error) {
	conn, err := new(net.Dialer).DialContext(ctx, "udp", to.String())
	if err != nil {
		return false, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := conn.Write(msg); err != nil {
		return false, err
	}
	buf := make([]byte, 4096)
	for {
		size, err := conn.Read(buf)
		if err != nil {
			return false, fmt.Errorf("no answer to NOTIFY: %w", err)
		}
		if size < wire.HeaderLen || string(buf[:2]) != string(msg[:2]) || buf[2]&0xf8 != 0x80|dns.OpcodeNotify<<3 {
			continue // not the response
		}
		if rcode := int(buf[3] & 0xf); rcode != dns.RcodeSuccess {
			return true, fmt.Errorf("the answer to NOTIFY is %s: allow it there for this server", dns.RcodeToString[rcode])
		}
		return true, nil
	}
}
