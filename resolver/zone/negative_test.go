package zone_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/miekg/dns"

	"portolan.dev/resolver/wire"
	"portolan.dev/resolver/zone"
)

// response packs what miekg/dns makes of a question and records.
func response(tb testing.TB, qname string, qtype uint16, answer, authority, additional []dns.RR) []byte {
	tb.Helper()
	m := new(dns.Msg)
	m.SetQuestion(qname, qtype)
	m.Id, m.RecursionDesired, m.Compress = 0x1234, false, true
	m.Answer, m.Ns, m.Extra = answer, authority, additional
	out, err := m.Pack()
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

func rr(tb testing.TB, text string) dns.RR {
	tb.Helper()
	r, err := dns.NewRR(text)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// The SOA record of negative answers is the one that miekg/dns packs, octet for
// octet, where no name in it shares more with another than the apex (only
// pointers to the apex are made), and says the same where one does.
func TestNegativeAnswers(t *testing.T) {
	for _, tt := range []struct {
		apex, mname, rname string
		qnames             []string
		exact              bool
	}{
		{"example.io.", "ns1.example.io.", "hostmaster.example.io.", []string{"example.io.", "nowhere.example.io.", "a.b.c.example.io."}, true},
		{"example.io.", "ns1.example.net.", "hostmaster.example.org.", []string{"example.io.", "x.example.io."}, true},
		{"example.io.", "ns1.example.net.", "hostmaster.example.io.", []string{"example.io.", "x.example.io."}, true},
		{"example.io.", "ns1.example.io.", "hostmaster.example.net.", []string{"x.y.example.io."}, true},
		{"example.io.", "example.io.", "example.io.", []string{"x.example.io."}, true},
		{"example.io.", ".", ".", []string{"x.example.io."}, true},
		{".", "a.root.example.", "b.root2.test.", []string{".", "com.", "a.b.c."}, true},
		{"io.", "ns1.io.", "nobody.test.", []string{"io.", "x.io."}, true},
		// One label that ends in the octets of the apex, and is not in the zone.
		{"example.io.", `a\007example\002io.`, "host.test.", []string{"x.example.io."}, true},
		{"example.io.", "ns1.notexample.io.", "host.test.", []string{"x.example.io."}, false},
		{"example.io.", "ns1.sub.example.io.", "host.sub.example.io.", []string{"x.example.io.", "ns1.sub.example.io."}, false},
		{".", "a.root.example.", "b.root.example.", []string{".", "root.example."}, false},
	} {
		for _, qname := range tt.qnames {
			for _, serial := range []uint32{0, 1, 1_800_000_000, 1<<32 - 1} {
				b := zone.NewBuilder(1)
				if _, err := b.AddZone(name(t, tt.apex), soaOf(t, tt.mname, tt.rname)); err != nil {
					t.Fatal(err)
				}
				z := &finish(t, b).Zones()[0]
				record := rr(t, fmt.Sprintf("%s 60 IN SOA %s %s %d 7200 900 1209600 60", tt.apex, tt.mname, tt.rname, serial))
				want := response(t, qname, dns.TypeA, nil, []dns.RR{record}, nil)
				got := want[: 12+len(name(t, qname))+4 : 12+len(name(t, qname))+4]
				got = z.AppendNegative(got, len(name(t, qname)), serial)
				if tt.exact && !bytes.Equal(got, want) {
					t.Errorf("%s %s %s, asked for %s:\n got %x\nwant %x", tt.apex, tt.mname, tt.rname, qname, got, want)
				}
				m := new(dns.Msg)
				if err := m.Unpack(got); err != nil {
					t.Fatalf("%s asked for %s: %v", tt.apex, qname, err)
				}
				if len(m.Ns) != 1 || m.Ns[0].String() != record.String() {
					t.Errorf("asked for %s: %v, want %v", qname, m.Ns, record)
				}
			}
		}
	}
}

// The TTL of a negative answer is the lesser of that of the SOA record and its
// MINIMUM.
func TestNegativeTTL(t *testing.T) {
	for _, tt := range []struct{ ttl, minimum, want uint32 }{{3600, 60, 60}, {30, 60, 30}, {60, 60, 60}} {
		soa := soaOf(t, "ns1.example.io.", "h.example.io.")
		soa.TTL, soa.Minimum = tt.ttl, tt.minimum
		b := zone.NewBuilder(1)
		if _, err := b.AddZone(name(t, "example.io."), soa); err != nil {
			t.Fatal(err)
		}
		z := &finish(t, b).Zones()[0]
		got := z.AppendNegative(response(t, "x.example.io.", dns.TypeA, nil, []dns.RR{rr(t, ". 0 IN A 0.0.0.0")}, nil)[:12+14+4], 14, 5)
		m := new(dns.Msg)
		if err := m.Unpack(got); err != nil {
			t.Fatal(err)
		}
		if m.Ns[0].Header().Ttl != tt.want {
			t.Errorf("TTL %d, MINIMUM %d: %d, want %d", tt.ttl, tt.minimum, m.Ns[0].Header().Ttl, tt.want)
		}
	}
}

// find1 returns the only RRset of a type that a name has.
func find1(tb testing.TB, table *zone.Table, qname string, qtype uint16) *zone.RRset {
	tb.Helper()
	node, _, found := find(tb, table, name(tb, qname))
	if found != zone.Hit {
		tb.Fatalf("%s: %d", qname, found)
	}
	sets := table.Sets(node)
	for i := range sets {
		if sets[i].Type == qtype {
			return &sets[i]
		}
	}
	tb.Fatalf("%s has no type %d", qname, qtype)
	return nil
}

// Glue goes along while there is room and is left out, whole, when one octet is
// missing; the answer itself never is.
func TestGlue(t *testing.T) {
	ns1 := name(t, "ns1.example.io.")
	ns := zone.Set{Type: wire.TypeNS, TTL: 300, Data: [][]byte{ns1, name(t, "ns.example.net.")}}
	ns.Additional = []wire.RR{
		{Owner: ns1, Type: wire.TypeA, Class: wire.ClassIN, TTL: 300, Data: []byte{192, 0, 2, 53}},
		{Owner: ns1, Type: wire.TypeAAAA, Class: wire.ClassIN, TTL: 300, Data: bytes.Repeat([]byte{0x20}, 16)},
	}
	b := zone.NewBuilder(1)
	addZone(t, b, "example.io.", ns)
	table := finish(t, b)
	set := find1(t, table, "example.io.", wire.TypeNS)
	answer := []dns.RR{rr(t, "example.io. 300 IN NS ns1.example.io."), rr(t, "example.io. 300 IN NS ns.example.net.")}
	glue := []dns.RR{rr(t, "ns1.example.io. 300 IN A 192.0.2.53"), rr(t, "ns1.example.io. 300 IN AAAA 2020:2020:2020:2020:2020:2020:2020:2020")}
	full := response(t, "example.io.", dns.TypeNS, answer, nil, glue)
	bare := response(t, "example.io.", dns.TypeNS, answer, nil, nil)
	const question = 12 + 12 + 4
	for limit, want := range map[int][]byte{len(full): full, len(full) + 1: full, len(full) - 1: bare, len(bare): bare, 0: bare} {
		got, counts := table.Append(bytes.Clone(want[:question]), set, 7, limit)
		if !bytes.Equal(got, want) {
			t.Errorf("limit %d:\n got %x\nwant %x", limit, got, want)
		}
		if glued := bytes.Equal(want, full); counts.Answer != 2 || (counts.Additional == 2) != glued || !glued && counts.Additional != 0 {
			t.Errorf("limit %d: counts %+v", limit, counts)
		}
	}
}

// Answers are the octets of miekg/dns: the SOA with the serial of the moment, an
// alias with what follows from it, and sets of every compression.
func TestPositiveAnswers(t *testing.T) {
	b := zone.NewBuilder(1)
	z, err := b.AddZone(name(t, "example.io."), soaOf(t, "ns1.example.io.", "hostmaster.example.io."))
	if err != nil {
		t.Fatal(err)
	}
	alias := zone.Set{Type: wire.TypeCNAME, TTL: 60, Data: [][]byte{name(t, "b.example.io.")}, Chain: []wire.RR{
		{Owner: name(t, "b.example.io."), Type: wire.TypeA, Class: wire.ClassIN, TTL: 5, Data: []byte{192, 0, 2, 1}},
	}}
	mx := zone.Set{Type: wire.TypeMX, TTL: 60, Data: [][]byte{append([]byte{0, 10}, name(t, "mx.example.io.")...)}}
	for n, sets := range map[string][]zone.Set{"a.example.io.": {alias}, "m.example.io.": {mx}} {
		if err := b.Define(z, name(t, n), zone.Static, 0, sets...); err != nil {
			t.Fatal(err)
		}
	}
	table := finish(t, b)
	for _, tt := range []struct {
		qname   string
		qtype   uint16
		records []string
	}{
		{"example.io.", dns.TypeSOA, []string{"example.io. 3600 IN SOA ns1.example.io. hostmaster.example.io. 4000000001 7200 900 1209600 60"}},
		{"a.example.io.", dns.TypeCNAME, []string{"a.example.io. 60 IN CNAME b.example.io.", "b.example.io. 5 IN A 192.0.2.1"}},
		{"m.example.io.", dns.TypeMX, []string{"m.example.io. 60 IN MX 10 mx.example.io."}},
	} {
		var records []dns.RR
		for _, line := range tt.records {
			records = append(records, rr(t, line))
		}
		want := response(t, tt.qname, tt.qtype, records, nil, nil)
		got, counts := table.Append(bytes.Clone(want[:12+len(name(t, tt.qname))+4]), find1(t, table, tt.qname, tt.qtype), 4_000_000_001, 512)
		if !bytes.Equal(got, want) || int(counts.Answer) != len(records) {
			t.Errorf("%s: counts %+v\n got %x\nwant %x", tt.qname, counts, got, want)
		}
	}
}
