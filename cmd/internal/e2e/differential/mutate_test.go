//go:build linux

package differential

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// silence stands for no response among response codes.
const silence = -1

// mutations are ways to spoil a query, by name.
var mutations = []struct {
	name string
	do   func(rng *rand.Rand, msg []byte) []byte
}{
	{"opcode", func(rng *rand.Rand, msg []byte) []byte {
		msg[2] = msg[2]&0x87 | byte(1+rng.IntN(15))<<3
		return msg
	}},
	{"response", func(_ *rand.Rand, msg []byte) []byte {
		msg[2] |= 0x80
		return msg
	}},
	{"flags", func(rng *rand.Rand, msg []byte) []byte {
		msg[2], msg[3] = msg[2]^byte(rng.IntN(8)), byte(rng.IntN(256))
		return msg
	}},
	{"no question", func(_ *rand.Rand, msg []byte) []byte { return append(msg[:4:4], make([]byte, 8)...) }},
	{"two questions", func(_ *rand.Rand, msg []byte) []byte {
		msg[5] = 2
		return append(slices.Clip(msg), msg[12:]...)
	}},
	{"an answer announced", func(rng *rand.Rand, msg []byte) []byte {
		msg[7+2*rng.IntN(2)] = byte(1 + rng.IntN(3))
		return msg
	}},
	{"cut", func(rng *rand.Rand, msg []byte) []byte { return msg[:rng.IntN(len(msg)-1)] }},
	{"a pointer for a name", func(_ *rand.Rand, msg []byte) []byte {
		return append(msg[:12:12], 0xc0, 12, 0, 1, 0, 1)
	}},
	{"class", func(rng *rand.Rand, msg []byte) []byte {
		msg[len(msg)-1] = byte(2 + rng.IntN(250))
		return msg
	}},
	{"meta type", func(rng *rand.Rand, msg []byte) []byte {
		msg[len(msg)-3] = []byte{41, 249, 250, 251, 252, 253, 254}[rng.IntN(7)]
		return msg
	}},
}

// mutated is a query about a zone, without EDNS, that has been spoiled.
func (g *generator) mutated(tb testing.TB, file string) (name string, msg []byte) {
	tb.Helper()
	m := g.question(file)
	m.Extra = nil
	m.Question[0].Qtype = dns.TypeA
	msg, err := m.Pack()
	if err != nil {
		tb.Fatal(err)
	}
	how := mutations[g.rng.IntN(len(mutations))]
	return how.name, how.do(g.rng, msg)
}

// raw sends octets over UDP or TCP and returns the response code that comes back in
// time.
func (d *daemon) raw(t *testing.T, network string, msg []byte, within time.Duration) int {
	t.Helper()
	c, err := net.DialTimeout(network, d.addr, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 65535)
	sent, start := msg, 0
	if network == "tcp" {
		sent, start = append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...), 2
	}
	if _, err := c.Write(sent); err != nil { // too late
		return silence
	}
	n, err := io.ReadAtLeast(c, buf, start+4)
	if err != nil || n < start+4 || len(msg) < 2 || !bytes.Equal(buf[start:start+2], msg[:2]) {
		return silence
	}
	return int(buf[start+3] & 0xf)
}

func (p portolan) raw(network string, msg []byte) int {
	out := p.over(network).Answer(nil, msg, netip.MustParseAddrPort("127.0.0.1:5353"), 0)
	if len(out) < 12 {
		return silence
	}
	return int(out[3] & 0xf)
}

// Spoiled queries get the response code that other servers give, or one of the table
// with its reason.
func TestMutated(t *testing.T) {
	start := seed(t)
	t.Logf("PORTOLAN_SEED=%d", start)
	rng := rand.New(rand.NewPCG(start, 1))
	g := &generator{rng, "m.test."}
	z := &zones{origins: []string{g.origin}, files: map[string]string{}}
	z.files[g.origin] = g.zoneFile(t)
	for _, server := range []struct {
		name  string
		start func(*testing.T, *zones) *daemon
	}{{"nsd", startNSD}, {"knot", startKnot}, {"gdnsd", startGdnsd}} {
		t.Run(server.name, func(t *testing.T) {
			z := z
			if server.name == "gdnsd" {
				z = forGdnsd(t, z)
			}
			ours, d := newPortolan(t, z), server.start(t, z)
			for _, network := range []string{"udp", "tcp"} {
				t.Run(network, func(t *testing.T) {
					reasons := make(map[string]int)
					for range mutatedCount() {
						how, msg := g.mutated(t, z.files[g.origin])
						compareMutated(t, ours, d, network, how, msg, reasons)
					}
					t.Logf("differences explained: %v", reasons)
				})
			}
		})
	}
}

// mutatedCount is how many spoiled queries each server gets over each network.
func mutatedCount() int {
	if os.Getenv("PORTOLAN_LONG") != "" {
		return 3000
	}
	return 120
}

// compareMutated sends one spoiled query and counts the reason of a difference.
func compareMutated(t *testing.T, ours portolan, d *daemon, network, how string, msg []byte, reasons map[string]int) {
	t.Helper()
	a, b := ours.raw(network, msg), d.raw(t, network, msg, 40*time.Millisecond)
	if a == b {
		return
	}
	if reason := mutatedReason(d.name, how, a); reason != "" {
		reasons[reason]++
		return
	}
	if b == silence { // or it was only slow
		if b = d.raw(t, network, msg, 2*time.Second); a == b {
			return
		}
	}
	t.Errorf("%s: %s here, %s there\n%x", how, rcodeText(a), rcodeText(b), msg)
}

func rcodeText(rcode int) string {
	if rcode == silence {
		return "silence"
	}
	return dns.RcodeToString[rcode]
}

// mutatedReasons are the ways in which spoiled queries are known to be answered
// differently: by mutation and our response code.
var mutatedReasons = []struct {
	server string // "" for any
	how    string
	ours   int
	reason string
}{
	{"", "a pointer for a name", dns.RcodeFormatError, "others are silent; a header that is whole is answered here"},
	{"", "cut", dns.RcodeFormatError, "others are silent; a header that is whole is answered here"},
	{"", "two questions", dns.RcodeFormatError, "others are silent; RFC 9619 section 4 says FORMERR"},
	{"", "no question", dns.RcodeFormatError, "others are silent; RFC 9619 section 4 says FORMERR"},
	{"", "an answer announced", dns.RcodeFormatError, "others are silent, or do not look; no query has an answer"},
	{"", "flags", dns.RcodeSuccess, "others refuse AA or TC in a query, which mean nothing there"},
	{"", "flags", dns.RcodeNameError, "others refuse AA or TC in a query, which mean nothing there"},
	{"", "meta type", dns.RcodeFormatError, "OPT is no type of questions (RFC 6891 section 6.1.1); others look it up"},
	{"", "meta type", dns.RcodeNotImplemented, "meta types are NOTIMP here; others look them up"},
	{"", "meta type", dns.RcodeRefused, "a transfer by UDP is NOTAUTH or NOTIMP there, REFUSED here as for everybody who may not have it"},
	{"gdnsd", "class", dns.RcodeRefused, "gdnsd says what it is to every question of class CHAOS"},
	{"", "opcode", dns.RcodeNotImplemented, "others know NOTIFY and UPDATE, or say FORMERR to what they do not know"},
}

// mutatedReason returns why the response code to a spoiled query may be another one, or
// "".
func mutatedReason(server, how string, ours int) string {
	for _, r := range mutatedReasons {
		if (r.server == "" || r.server == server) && r.how == how && r.ours == ours {
			return r.reason
		}
	}
	return ""
}
