//go:build linux

package e2e

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// tap sees the packets on loopback of a namespace. What a program has been
// answered lies in the tap before the program can say anything itself: loopback
// delivers to taps first.
type tap struct {
	t  *testing.T
	fd int
	// total is how many queries take has taken in all.
	total int
	mu    sync.Mutex
	// past are the queries that times has taken.
	past map[string][]time.Time
}

// newTap opens a tap. Only what is received is seen, so each packet once.
func newTap(t *testing.T, n *netns) *tap {
	t.Helper()
	protocol := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_IP))
	fd := -1
	err := n.do(func() (err error) {
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, int(protocol))
		return err
	})
	if err != nil {
		missing(t, "no tap can be opened: %v", err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return &tap{t: t, fd: fd, past: make(map[string][]time.Time)}
}

// take returns the queries that reached the server since the last call, as
// "name type subnet".
func (w *tap) take() []string {
	w.t.Helper()
	var queries []string
	packet := make([]byte, 65536)
	for {
		size, _, err := unix.Recvfrom(w.fd, packet, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if errors.Is(err, unix.EAGAIN) {
			return queries
		}
		if err != nil {
			w.t.Fatalf("tap: %v", err)
		}
		if q := queryIn(packet[:size]); q != "" {
			w.total++
			queries = append(queries, q)
		}
	}
}

// times returns when a query has reached the server, as "name type subnet", as far as
// calls of times can tell. It keeps others for other calls, but not for take.
func (w *tap) times(query string) []time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	for _, q := range w.take() {
		w.past[q] = append(w.past[q], now)
	}
	return slices.Clone(w.past[query])
}

// queryIn describes the DNS query to the server in an IPv4 packet; "" if there is
// none.
func queryIn(packet []byte) string {
	const udpHeader = 8
	if len(packet) < 20 {
		return ""
	}
	at := int(packet[0]&15) * 4
	if packet[9] != unix.IPPROTO_UDP || len(packet) < at+udpHeader {
		return ""
	}
	to, _ := netip.AddrFromSlice(packet[16:20])
	if to.String() != authorityAddr || binary.BigEndian.Uint16(packet[at+2:]) != 53 {
		return ""
	}
	m := new(dns.Msg)
	if err := m.Unpack(packet[at+udpHeader:]); err != nil || len(m.Question) != 1 {
		return fmt.Sprintf("no query: %x", packet[at+udpHeader:])
	}
	q := m.Question[0]
	text := strings.TrimSuffix(strings.ToLower(q.Name), ".") + " " + dns.TypeToString[q.Qtype]
	if o, ok := optionOf[*dns.EDNS0_SUBNET](m); ok {
		text += fmt.Sprintf(" %v/%d", o.Address, o.SourceNetmask)
	}
	return text
}
