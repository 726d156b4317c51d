//go:build linux

package differential

import (
	"bytes"
	"math/rand/v2"
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

// raw sends octets and returns the response code that comes back in time.
func (d *daemon) raw(t *testing.T, msg []byte, within time.Duration) int {
	t.Helper()
	c, err := dns.DialTimeout("udp", d.addr, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 65535)
	if _, err := c.Conn.Write(msg); err != nil {
		t.Fatal(err)
	}
	n, err := c.Conn.Read(buf)
	if err != nil || n < 12 || len(msg) < 2 || !bytes.Equal(buf[:2], msg[:2]) {
		return silence
	}
	return int(buf[3] & 0xf)
}

func (p portolan) raw(msg []byte) int {
	out := p.w.Answer(nil, msg, netip.MustParseAddrPort("127.0.0.1:5353"), 0)
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
	ours := newPortolan(t, z)
	count := 120
	if os.Getenv("PORTOLAN_LONG") != "" {
		count = 3000
	}
	for _, start := range []func(*testing.T, *zones) *daemon{startNSD, startKnot} {
		d := start(t, z)
		t.Run(d.name, func(t *testing.T) {
			reasons := make(map[string]int)
			for range count {
				how, msg := g.mutated(t, z.files[g.origin])
				a, b := ours.raw(msg), d.raw(t, msg, 40*time.Millisecond)
				if a == b {
					continue
				}
				if reason := mutatedReason(how, a); reason != "" {
					reasons[reason]++
					continue
				}
				if b == silence { // or it was only slow
					if b = d.raw(t, msg, 20*time.Second); a == b {
						continue
					}
				}
				t.Errorf("%s: %s here, %s there\n%x", how, rcodeText(a), rcodeText(b), msg)
			}
			t.Logf("differences explained: %v", reasons)
		})
	}
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
	how    string
	ours   int
	reason string
}{
	{"a pointer for a name", dns.RcodeFormatError, "others are silent; a header that is whole is answered here"},
	{"cut", dns.RcodeFormatError, "others are silent; a header that is whole is answered here"},
	{"two questions", dns.RcodeFormatError, "others are silent; RFC 9619 section 4 says FORMERR"},
	{"no question", dns.RcodeFormatError, "others are silent; RFC 9619 section 4 says FORMERR"},
	{"an answer announced", dns.RcodeFormatError, "others are silent, or do not look; no query has an answer"},
	{"flags", dns.RcodeSuccess, "others refuse AA or TC in a query, which mean nothing there"},
	{"flags", dns.RcodeNameError, "others refuse AA or TC in a query, which mean nothing there"},
	{"meta type", dns.RcodeFormatError, "OPT is no type of questions (RFC 6891 section 6.1.1); others look it up"},
	{"meta type", dns.RcodeNotImplemented, "meta types are NOTIMP here; others look them up"},
	{"meta type", dns.RcodeRefused, "a transfer by UDP is NOTAUTH or NOTIMP there, REFUSED here as for everybody who may not have it"},
	{"opcode", dns.RcodeNotImplemented, "others know NOTIFY and UPDATE, or say FORMERR to what they do not know"},
}

// mutatedReason returns why the response code to a spoiled query may be another one, or
// "".
func mutatedReason(how string, ours int) string {
	for _, r := range mutatedReasons {
		if r.how == how && r.ours == ours {
			return r.reason
		}
	}
	return ""
}
