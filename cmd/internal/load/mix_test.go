package load

import (
	"bytes"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

var contoso = Names{Name: "myregistry.example.io", Regions: []string{"westus", "eastus"}}

// ask writes the query i of a mix and reads it back.
func ask(t *testing.T, m *Mix, i uint32, rng *rand.PCG) *dns.Msg {
	t.Helper()
	q := &m.queries[i]
	wire := make([]byte, len(q.msg))
	nonce := uint32(rng.Uint64())
	q.write(wire, 0x1234, nonce, rng)
	if !q.asked(wire, nonce) {
		t.Error("a query does not repeat its own question")
	}
	m2 := new(dns.Msg)
	if err := m2.Unpack(wire); err != nil {
		t.Fatalf("a query that cannot be read: %v: %x", err, wire)
	}
	if again, err := m2.Pack(); err != nil || !bytes.Equal(again, wire) {
		t.Errorf("packed again it is %x, want %x (%v)", again, wire, err)
	}
	return m2
}

// Every kind makes queries that others can read, in the shares that it says.
func TestKinds(t *testing.T) {
	t.Parallel()
	for _, kind := range Kinds() {
		m, err := BuiltIn(kind, &contoso)
		if err != nil {
			t.Fatal(err)
		}
		rng := rand.NewPCG(5, 6)
		for range 2000 {
			msg := ask(t, m, m.draw(rng), rng)
			if msg.Id != 0x1234 || len(msg.Question) != 1 || !strings.HasSuffix(msg.Question[0].Name, ".example.io.") {
				t.Fatalf("%s asks %s", kind, msg)
			}
			for _, o := range msg.IsEdns0().Option {
				s, ok := o.(*dns.EDNS0_SUBNET)
				if !ok || !s.Address.IsGlobalUnicast() || s.Address.IsPrivate() || s.Address.IsLoopback() {
					t.Fatalf("%s asks with client subnet %s", kind, o)
				}
			}
		}
	}
}

// What a mix asks for comes in the shares of its weights.
func TestMixShares(t *testing.T) {
	t.Parallel()
	text := `
# a comment
10 a.example.io
30 *.b.example.io AAAA random6/48 # more
60 c.example.io TXT 198.51.100.77/24
0.5 d.example.io A -
`
	m, err := ParseMix(strings.NewReader(text), "mix.txt", &Names{})
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.NewPCG(7, 8)
	counts, labels := map[string]float64{}, map[string]bool{}
	const n = 100_000
	for range n {
		msg := ask(t, m, m.draw(rng), rng)
		name := msg.Question[0].Name
		if label, rest, _ := strings.Cut(name, "."); strings.HasPrefix(rest, "b.") {
			labels[label] = true
			name = "*." + rest
		}
		for _, o := range msg.IsEdns0().Option {
			name = strings.Join([]string{name, o.String()[:4]}, " ")
		}
		counts[name]++
	}
	for name, weight := range map[string]float64{"a.example.io.": 10, "c.example.io. 198.": 60, "d.example.io.": 0.5} {
		want := n * weight / 100.5
		if math.Abs(counts[name]-want) > 5*math.Sqrt(want) {
			t.Errorf("%s was asked %v times, want about %v", name, counts[name], want)
		}
	}
	if len(labels) < 0.29*n {
		t.Errorf("%d different random labels", len(labels))
	}
}

func TestParseMixErrors(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                               "nothing is asked",
		"global":                         `mix.txt:1: weight "global"`,
		"1":                              "say what is asked",
		"-1 global":                      "begin the line with a number above 0",
		"NaN global":                     "begin the line with a number above 0",
		"1 globe":                        "is no kind of query: use one of global, ",
		"1 a.example.io B":               `type "B" is not known`,
		"1 a.example.io A 0.0.0.0/0":     "use a prefix such as",
		"1 a.example.io A random4/33":    "the length is 8 to 32",
		"1 a.example.io A - x":           "5 words",
		"1 a..example.io":                "is not a domain name",
		"1 regional":                     "name the regions",
		"\n\n1 x\n2 y":                   "mix.txt:4:",
		"1 " + strings.Repeat("a.", 200): "is not a domain name",
	} {
		names := Names{Name: "myregistry.example.io"}
		if _, err := ParseMix(strings.NewReader(text), "mix.txt", &names); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
	}
	for _, names := range []Names{{}, {Name: "example"}, {Name: "a.example.io", Zone: "example.net"}} {
		if _, err := BuiltIn("global", &names); err == nil {
			t.Errorf("no error for %+v", names)
		}
	}
}

// A registry at the apex of its zone has regional names of its own.
func TestRegionalNames(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, zone, want string }{
		{"myregistry.example.io", "", "myregistry.westus.geo.example.io."},
		{"team.myregistry.example.io", "example.io.", "team.myregistry.westus.geo.example.io."},
		{"myregistry.example.io", "myregistry.example.io", "westus.geo.myregistry.example.io."},
	} {
		patterns, err := regional(&Names{Name: c.name, Zone: c.zone, Regions: []string{"westus"}})
		if err != nil {
			t.Fatal(err)
		}
		if got := patterns[0].name; got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

// The octets of an answer are foreign: only the question of the query in flight counts.
func TestAsked(t *testing.T) {
	t.Parallel()
	m, err := BuiltIn("random", &contoso)
	if err != nil {
		t.Fatal(err)
	}
	q := &m.queries[0]
	wire := make([]byte, len(q.msg))
	q.write(wire, 1, 0xdeadbeef, rand.NewPCG(1, 1))
	if !bytes.Contains(wire, []byte("\x08deadbeef\x0amyregistry")) {
		t.Fatalf("the label is not the nonce: %q", wire)
	}
	for name, other := range map[string][]byte{
		"cut":            wire[:headerLen+5],
		"other nonce":    bytes.Replace(wire, []byte("deadbeef"), []byte("deadbeee"), 1),
		"other name":     bytes.Replace(wire, []byte("example"), []byte("Example"), 1),
		"no question":    slices.Replace(bytes.Clone(wire), 4, 6, 0, 0),
		"two questions":  slices.Replace(bytes.Clone(wire), 4, 6, 0, 2),
		"only a header":  wire[:headerLen],
		"nothing at all": nil,
	} {
		if q.asked(other, 0xdeadbeef) {
			t.Errorf("%s is taken for the answer", name)
		}
	}
}

// FuzzParseMix feeds foreign text to the parser of mixes. What it accepts must make
// queries that can be drawn and read.
func FuzzParseMix(f *testing.F) {
	for _, seed := range []string{
		"1 global", "70 mixed\n5 random\n", "3 www.example.io AAAA random6/56", "1 *.example.io A 2001:db8::/32 # c", "0.1 regional",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		m, err := ParseMix(strings.NewReader(text), "fuzz", &contoso)
		if err != nil {
			return
		}
		rng := rand.NewPCG(1, 2)
		for range min(len(m.queries), 50) {
			q := &m.queries[m.draw(rng)]
			wire := make([]byte, len(q.msg))
			q.write(wire, 7, 9, rng)
			if !q.asked(wire, 9) || len(wire) > maxQuery {
				t.Fatalf("%q asks %x", text, wire)
			}
		}
	})
}
