//go:build linux

package differential

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"portolan.dev/config"
	"portolan.dev/geo/embedded"
	"portolan.dev/resolver"
	"portolan.dev/resolver/compile"
	"portolan.dev/resolver/wire"
)

// portolan is two workers that serve the zones, for datagrams and for streams.
type portolan struct{ w, stream *resolver.Worker }

func newPortolan(t *testing.T, z *zones) portolan {
	t.Helper()
	var b strings.Builder
	b.WriteString("server: {listen: [\"127.0.0.1:0\"], udp_size: 4096, rate_limit: {enabled: false}}\nzones:\n")
	for _, origin := range z.origins {
		fmt.Fprintf(&b, "  %s: {records: %s}\n", strings.TrimSuffix(origin, "."), origin)
	}
	c, err := config.Parse("test.yaml", []byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	table, err := embedded.Table()
	if err != nil {
		t.Fatal(err)
	}
	result, err := compile.Compile(c, compile.Options{
		Table: table, Slots: compile.NewSlots(), Seed: 7, Now: time.Unix(1_800_000_000, 0),
		ReadFile: func(name string) ([]byte, error) { return []byte(z.files[name]), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	r := resolver.New(result.Snapshot, wire.CookieSecret{})
	return portolan{r.Worker(resolver.UDP), r.Worker(resolver.TCP)}
}

// over returns the worker for a network.
func (p portolan) over(network string) *resolver.Worker {
	if network == "tcp" {
		return p.stream
	}
	return p.w
}

func (p portolan) ask(t *testing.T, network string, m *dns.Msg) *dns.Msg {
	t.Helper()
	msg, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	out := p.over(network).Answer(nil, msg, netip.MustParseAddrPort("127.0.0.1:5353"), 0)
	r := new(dns.Msg)
	if err := r.Unpack(out); err != nil {
		t.Fatalf("%v: %x: %v", m.Question, out, err)
	}
	return r
}

// size is how many zones are made and how many questions are asked about each.
func size() (zones, questions int) {
	if os.Getenv("PORTOLAN_LONG") != "" {
		return 300, 400
	}
	return 100, 110
}

// leastPairs is how many pairs of a zone and a question have to be compared with each
// server, whatever the variant.
const leastPairs = 10_000

func seed(t *testing.T) uint64 {
	t.Helper()
	if text := os.Getenv("PORTOLAN_SEED"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if os.Getenv("PORTOLAN_LONG") != "" {
		return rand.Uint64()
	}
	return 1
}

func TestDifferential(t *testing.T) {
	start := seed(t)
	t.Logf("PORTOLAN_SEED=%d", start)
	rng := rand.New(rand.NewPCG(start, 0))
	count, questions := size()
	z := &zones{files: make(map[string]string)}
	for i := range count {
		g := &generator{rng, fmt.Sprintf("z%d.test.", i)}
		z.origins = append(z.origins, g.origin)
		z.files[g.origin] = g.zoneFile(t)
	}
	ours := newPortolan(t, z)
	for _, start := range []func(*testing.T, *zones) *daemon{startNSD, startKnot} {
		d := start(t, z)
		t.Run(d.name, func(t *testing.T) { compareAll(t, ours, d, z, rng, questions) })
	}
	t.Run("gdnsd", func(t *testing.T) {
		z := forGdnsd(t, z)
		compareAll(t, newPortolan(t, z), startGdnsd(t, z), z, rng, questions)
	})
}

func compareAll(t *testing.T, ours portolan, d *daemon, z *zones, rng *rand.Rand, questions int) {
	t.Helper()
	reasons := make(map[string]int)
	asked, unexplained := 0, 0
	for _, origin := range z.origins {
		g, owners := &generator{rng, origin}, ownersOf(origin, z.files[origin])
		for range questions {
			m := g.question(z.files[origin])
			asked++
			network := []string{"udp", "udp", "udp", "tcp"}[rng.IntN(4)]
			theirs, err := d.ask(network, m)
			if err != nil { // an idle or used up connection, or a lost datagram: once more
				theirs, err = d.ask(network, m)
			}
			if err != nil {
				t.Fatalf("%v: %v\n%s", m.Question, err, d.out)
			}
			own := ours.ask(t, network, m)
			diff := compare(own, theirs)
			if len(diff) == 0 {
				continue
			}
			if reason := explain(d.name, owners, m, own, theirs, diff); reason != "" {
				reasons[reason]++
				continue
			}
			t.Errorf("%s over %s\n%s\n--- ours:\n%s\n--- %s:\n%s\n--- zone:\n%s", question(m), network, strings.Join(diff, "\n"), text(own), d.name, text(theirs), z.files[origin])
			if unexplained++; unexplained == 8 {
				t.Fatal("and perhaps more")
			}
		}
	}
	if asked < leastPairs {
		t.Errorf("%d pairs of a zone and a question are compared, want %d", asked, leastPairs)
	}
	t.Logf("%d questions, differences explained: %v", asked, reasons)
}

func question(m *dns.Msg) string {
	return m.Question[0].Name + " " + dns.Type(m.Question[0].Qtype).String()
}

// text is a response, short.
func text(m *dns.Msg) string {
	return fmt.Sprintf("%s aa=%t tc=%t\nanswer: %s\nauthority: %s\nadditional: %s", dns.RcodeToString[m.Rcode], m.Authoritative, m.Truncated,
		set(m.Answer), set(m.Ns), set(m.Extra))
}

// compare lists in what two responses differ.
func compare(a, b *dns.Msg) (diff []string) {
	for _, c := range []struct {
		what string
		a, b any
	}{
		{"rcode", a.Rcode, b.Rcode},
		{"aa", a.Authoritative, b.Authoritative},
		{"tc", a.Truncated, b.Truncated},
		{"rd", a.RecursionDesired, b.RecursionDesired},
		{"ra", a.RecursionAvailable, b.RecursionAvailable},
		{"ad", a.AuthenticatedData, b.AuthenticatedData},
		{"answer", set(a.Answer), set(b.Answer)},
		{"authority", set(a.Ns), set(b.Ns)},
		{"additional", set(a.Extra), set(b.Extra)},
	} {
		if c.a != c.b {
			diff = append(diff, fmt.Sprintf("%s: %v / %v", c.what, c.a, c.b))
		}
	}
	return diff
}

// set is a section without order, repetitions and case.
func set(rrs []dns.RR) string {
	out := make([]string, 0, len(rrs))
	for _, rr := range rrs {
		if rr.Header().Rrtype != dns.TypeOPT {
			out = append(out, strings.ToLower(rr.String()))
		}
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), "\n")
}
